"""The own clients' W of one filter for answering by hand, sealed: what a D is compared with (protocol section 9).

    chunk    SecretBox of up to 8,192 W of 32 bytes, sorted over the whole file
    nonce    number of the chunk, and of all chunks: none can be left out, moved or cut off
    key      BLAKE2b(key m, source, purpose, version): when m is destroyed the file is noise

W = m * P says nothing to who has no m, and everything to who has it: it touches the disk sealed only.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bekend_proto.errors import StorageError
from bekend_proto.filter import tag_context
from bekend_proto.octets import blake, i2osp
from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

LENGTH = 32
CHUNK = 8192
"""W per chunk: what a worker holds at once."""
_SEALED = 16 + LENGTH * CHUNK


def compare_key(m: bytes, source: str, purpose: str, version: int) -> bytes:
    """The key of one version's file. One m serves one version, so no nonce under this key ever comes back."""
    return blake(32, b"bekend1-compare", tag_context(source, purpose, version), m)


def seal(key: bytes, joined: Iterable[bytes]) -> Iterator[bytes]:
    """The sealed chunks of these W (joined in pieces of any number)."""
    clients = sorted(w for piece in joined for w in split(piece))
    count = -(-len(clients) // CHUNK)
    for number in range(count):
        chunk = b"".join(clients[number * CHUNK : (number + 1) * CHUNK])
        yield crypto_secretbox(chunk, _nonce(number, count), key)


def count_chunks(path: Path) -> int:
    """Chunks in a file, from its size. Raises StorageError when it is not there."""
    try:
        return -(-path.stat().st_size // _SEALED)
    except OSError as fault:
        raise StorageError(f"{path} cannot be read ({fault.strerror}): the filter is built again") from fault


def count(path: Path) -> int:
    """W in a file, the canary's among them, from its size. Raises StorageError when it is not there."""
    chunks = count_chunks(path)
    return (path.stat().st_size - 16 * chunks) // LENGTH


def read_chunk(path: Path, key: bytes, number: int, count: int) -> list[bytes]:
    """The W of one chunk out of `count`. Raises StorageError when it does not open: never a smaller set."""
    try:
        with path.open("rb") as file:
            file.seek(number * _SEALED)
            return split(crypto_secretbox_open(file.read(_SEALED), _nonce(number, count), key))
    except (OSError, CryptoError, ValueError) as fault:
        raise StorageError(f"{path} is damaged or gone: the filter is built again") from fault


def read(path: Path, key: bytes) -> Iterator[list[bytes]]:
    """The W of every chunk. Raises StorageError."""
    count = count_chunks(path)
    for number in range(count):
        yield read_chunk(path, key, number, count)


def split(joined: bytes) -> list[bytes]:
    """W by W."""
    return [joined[at : at + LENGTH] for at in range(0, len(joined), LENGTH)]


def _nonce(number: int, count: int) -> bytes:
    return i2osp(number, 12) + i2osp(count, 12)
