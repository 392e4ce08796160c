"""The closed filter (section 6): sorted tags of 8 octets that are noise without the source's own multiplication.

    W   = m * P                                          needs the source: once per question, on record
    tag = BLAKE2b(size 8, key W, source, purpose, version)
    body = tags, and random ones up to a size class, sorted as byte strings and joined

A requester holds the body as one bytes object, or as a mapped file, and searches it in place: no object per
tag, so that many filters of many partners fit in memory.
"""

import hashlib
import mmap
import operator
import secrets
import sys
from array import array
from collections.abc import Callable, Iterable
from itertools import islice

from bekend_proto.errors import MalformedError
from bekend_proto.octets import i2osp, lp
from bekend_proto.v1.signed_pb2 import KIND_CLASS_CERTAIN, FetchOrder, FilterHeader, KindClass

TAG_LENGTH = 8
"""Octets of a tag: false hits stay below 5e-13 at five million tags (protocol section 12)."""

SMALLEST_CLASS = 1024
"""Tags in the smallest size class; each next one has twice as many."""

_WINDOW = 1 << 16


def class_of_filter(message: FetchOrder | FilterHeader) -> "KindClass.ValueType":
    """Which questions the filter answers that is ordered, or that a header stands in front of.

    Absent is certain, and the only way to say so: a message that says it otherwise is not parsed (`shape.py`).
    """
    return message.kind_class or KIND_CLASS_CERTAIN


def tag_context(source: str, purpose: str, version: int) -> bytes:
    """What a tag is bound to besides W: a tag of one filter says nothing about another."""
    names = b"".join(lp(name.encode("ascii")) for name in ("bekend/1", source, purpose))
    return names + i2osp(version, 8)


def tag(w: bytes, source: str, purpose: str, version: int) -> bytes:
    """The 8-octet tag of W in one version of a filter."""
    return tagger(source, purpose, version)(w)


def tagger(source: str, purpose: str, version: int) -> Callable[[bytes], bytes]:
    """A function from W to its tag, for building a whole filter: the context is encoded once."""
    context = tag_context(source, purpose, version)
    blake2b = hashlib.blake2b

    def tag_of(w: bytes) -> bytes:
        return blake2b(context, digest_size=TAG_LENGTH, key=w, person=b"bekend1-tag").digest()

    return tag_of


def size_class(count: int) -> int:
    """The smallest 1024 * 2^n that holds `count` tags: all that a filter's length tells."""
    size = SMALLEST_CLASS
    while size < count:
        size *= 2
    return size


def pad_and_sort(tags: Iterable[bytes], count: int) -> bytes:
    """The body of a filter: `tags`, filled up with random tags to `count`, sorted as byte strings, joined.

    Raises ValueError if there are more tags than `count` or one has another length than 8 octets.
    """
    joined = b"".join(tags)
    missing = count * TAG_LENGTH - len(joined)
    if missing < 0 or missing % TAG_LENGTH:
        raise ValueError("the tags do not fit: each has 8 octets, and there are at most as many as the size class")
    numbers = _numbers(joined + secrets.token_bytes(missing))
    del joined
    # Big-endian numbers sort as the octets do, at a third of the memory of a list of octet strings.
    body = array("Q", sorted(numbers))
    if sys.byteorder == "little":
        body.byteswap()
    return body.tobytes()


def body_hash(body: bytes | mmap.mmap | memoryview) -> bytes:
    """BLAKE2b-256 of a filter's body, as its header names it."""
    return hashlib.blake2b(body, digest_size=32).digest()


def m_hash(m: bytes) -> bytes:
    """BLAKE2b-256 of M = m*k*G, as an Answer names it."""
    return hashlib.blake2b(m, digest_size=32).digest()


class ClosedFilter:
    """The body of one filter version, searched in place. Immutable, so it may be shared by threads.

    Raises MalformedError when the body is not sorted or its length is no size class: a search in it could
    miss, and a silent miss is the worst failure of all.
    """

    __slots__ = ("_body", "_count")

    def __init__(self, body: bytes | mmap.mmap | memoryview) -> None:
        self._body = body
        self._count, rest = divmod(len(body), TAG_LENGTH)
        if rest or self._count != size_class(self._count):
            raise MalformedError("a filter's body holds 1024 * 2^n tags of 8 octets")
        if not self._is_sorted():
            raise MalformedError("a filter's tags are sorted")

    def __len__(self) -> int:
        return self._count

    @property
    def hash(self) -> bytes:
        """BLAKE2b-256 of the body."""
        return body_hash(self._body)

    def contains(self, wanted: bytes) -> bool:
        """Whether the tag stands in the filter: at most 30 comparisons, whatever comes out."""
        low, high = 0, self._count
        body = self._body
        while low < high:
            middle = (low + high) // 2
            if bytes(body[middle * TAG_LENGTH : (middle + 1) * TAG_LENGTH]) < wanted:
                low = middle + 1
            else:
                high = middle
        return bytes(body[low * TAG_LENGTH : (low + 1) * TAG_LENGTH]) == wanted

    def _is_sorted(self) -> bool:
        last = 0
        for start in range(0, len(self._body), _WINDOW):
            numbers = _numbers(self._body[start : start + _WINDOW])
            if numbers[0] < last or not all(map(operator.le, numbers, islice(numbers, 1, None))):
                return False
            last = numbers[-1]
        return True


def _numbers(tags: bytes | memoryview) -> "array[int]":
    numbers = array("Q")
    numbers.frombytes(tags)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
