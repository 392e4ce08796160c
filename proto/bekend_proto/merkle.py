"""The Merkle tree of a log, as RFC 9162 section 2.1 (and RFC 6962) writes it, over SHA-256.

    leaf     SHA-256(0x00 || entry)
    node     SHA-256(0x01 || left || right)
    root     of n entries: split at the largest power of two below n

Kept are the hashes of perfect subtrees alone, each once, in the order in which they become complete:

    entry        0   1       2   3               4
    position     0   1   2   3   4   5   6       7
    subtree     0    1  0-1  2   3  2-3 0-3      4

So a store of them only grows at its end, an append writes two hashes on average (never more than log2(n) + 1) and reads
one, and root and proofs read O(log n). All functions here are pure; `Read` gives the hash at a position.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, TypeAlias

from bekend_proto.errors import ProofError

HASH_LENGTH: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a log without entries."""

Read: TypeAlias = Callable[[int], bytes]
"""The stored hash at a position."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def position(level: int, index: int) -> int:
    """Where the hash of the perfect subtree over entries [index * 2^level, (index + 1) * 2^level) is stored."""
    last = ((index + 1) << level) - 1
    return 2 * last - last.bit_count() + level


def stored(size: int) -> int:
    """How many hashes are stored for a log of so many entries."""
    return 2 * size - size.bit_count()


def completed(index: int, leaf: bytes, read: Read) -> list[bytes]:
    """The hashes that entry `index` adds, leaf first; their positions follow on `stored(index)`."""
    hashes = [leaf]
    level = 0
    while index & 1:
        hashes.append(node_hash(read(position(level, index - 1)), hashes[-1]))
        index >>= 1
        level += 1
    return hashes


def subtrees(first: int, end: int) -> list[tuple[int, int]]:
    """(level, index) of the fewest perfect subtrees that cover the entries [first, end), from left to right."""
    found = []
    while first < end:
        level = (end - first).bit_length() - 1
        if first:
            level = min(level, (first & -first).bit_length() - 1)
        found.append((level, first >> level))
        first += 1 << level
    return found


def root(size: int, read: Read) -> bytes:
    """The root over the first `size` entries."""
    return _hash_of(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """Audit path of entry `index` in the log of `size` entries (RFC 9162 section 2.1.3.1).

    Raises ValueError when there is no such entry.
    """
    if not 0 <= index < size:
        raise ValueError("no such entry")
    path: list[bytes] = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(_hash_of(middle, end, read))
            end = middle
        else:
            path.append(_hash_of(first, middle, read))
            first = middle
    return path[::-1]


def consistency_proof(older: int, newer: int, read: Read) -> list[bytes]:
    """That the first `older` of `newer` entries are what they were (RFC 9162 section 2.1.4.1). Empty from nothing.

    Raises ValueError when `newer` is the smaller one.
    """
    if not 0 <= older <= newer:
        raise ValueError("a log does not shrink")
    if older in {0, newer}:
        return []
    path: list[bytes] = []
    first, end, whole = 0, newer, True
    while older != end:
        middle = first + _split(end - first)
        if older <= middle:
            path.append(_hash_of(middle, end, read))
            end = middle
        else:
            path.append(_hash_of(first, middle, read))
            first, whole = middle, False
    return ([] if whole else [_hash_of(first, end, read)]) + path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root_hash: bytes) -> None:
    """RFC 9162 section 2.1.3.2. Raises ProofError unless `leaf` is entry `index` of the log with this size and root."""
    if not 0 <= index < size:
        raise ProofError("the log has no such entry")
    found = leaf
    for sibling, on_the_left in _climb(index, size - 1, path):
        found = node_hash(sibling, found) if on_the_left else node_hash(found, sibling)
    if found != root_hash:
        raise ProofError("the entry is not in the log under this root")


def verify_consistency(older: int, older_root: bytes, newer: int, newer_root: bytes, path: Sequence[bytes]) -> None:
    """RFC 9162 section 2.1.4.2. Raises ProofError unless the log of `newer` entries goes on from that of `older`."""
    if not 0 <= older <= newer:
        raise ProofError("a log does not shrink")
    if older in {0, newer}:
        if path or older_root != (newer_root if older else EMPTY_ROOT):
            raise ProofError("two roots over the same entries differ")
        return
    # The old log ends where a perfect subtree ends: climb from there.
    level = (older & -older).bit_length() - 1
    is_perfect = older == 1 << level
    if not path:
        raise ProofError("a consistency proof without hashes")
    of_older = of_newer = older_root if is_perfect else path[0]
    rest = path if is_perfect else path[1:]
    for sibling, on_the_left in _climb((older - 1) >> level, (newer - 1) >> level, rest):
        if on_the_left:
            of_older = node_hash(sibling, of_older)
        of_newer = node_hash(sibling, of_newer) if on_the_left else node_hash(of_newer, sibling)
    if of_older != older_root or of_newer != newer_root:
        raise ProofError("the log does not go on from what it was")


class Frontier:
    """The perfect subtrees of a log that is read from its beginning to its end: enough for every root on the way."""

    def __init__(self, hashes: Iterable[tuple[int, bytes]] = ()) -> None:
        """`hashes`: level and hash of each subtree so far, from left to right."""
        self._stack: list[tuple[int, bytes]] = []
        for level, value in hashes:
            self.add(level, value)

    def add(self, level: int, value: bytes) -> None:
        """The next subtree on the right; aligned, so that it joins those of its own size."""
        while self._stack and self._stack[-1][0] == level:
            value = node_hash(self._stack.pop()[1], value)
            level += 1
        self._stack.append((level, value))

    def root(self) -> bytes:
        """The root over all that was added."""
        if not self._stack:
            return EMPTY_ROOT
        value = self._stack[-1][1]
        for _, left in reversed(self._stack[:-1]):
            value = node_hash(left, value)
        return value


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _hash_of(first: int, end: int, read: Read) -> bytes:
    """The hash over entries [first, end) of a subtree of the whole."""
    hashes = [read(position(level, index)) for level, index in subtrees(first, end)]
    value = hashes.pop()
    while hashes:
        value = node_hash(hashes.pop(), value)
    return value


def _climb(place: int, last: int, path: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The hashes of a proof from `place` up, and whether each stands on the left; `last` is the row's last place.

    Raises ProofError unless the path ends at the root.
    """
    if any(len(one) != HASH_LENGTH for one in path):
        raise ProofError("the hashes of a proof have 32 octets")
    for sibling in path:
        if last == 0:
            raise ProofError("a proof with too many hashes")
        on_the_left = bool(place & 1) or place == last
        yield sibling, on_the_left
        while on_the_left and not place & 1 and place:
            place, last = place >> 1, last >> 1
        place, last = place >> 1, last >> 1
    if last:
        raise ProofError("a proof with too few hashes")
