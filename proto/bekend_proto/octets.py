"""Octet strings as all rooms write them: lengths in front, integers big-endian, one hash with a name per use."""

import hashlib


def i2osp(number: int, length: int) -> bytes:
    """I2OSP of RFC 8017 section 4.1: `number`, big-endian, in exactly `length` octets (OverflowError if larger)."""
    return number.to_bytes(length, "big")


def lp(data: bytes) -> bytes:
    """`data` behind its length in two octets, so that joined fields have one reading only."""
    return len(data).to_bytes(2, "big") + data


def blake(size: int, person: bytes, data: bytes, key: bytes = b"") -> bytes:
    """BLAKE2b (RFC 7693) of `size` octets under `key`, personalised per use: no hash serves two purposes."""
    return hashlib.blake2b(data, digest_size=size, key=key, person=person).digest()
