"""One register's pseudonyms for one purpose and epoch: an immutable file of sorted records.

    header   34 bytes: "bekend/1 pseudonyms", padded with zero bytes
    record   34 bytes: P (32 bytes) || month in which the registration ends (2 bytes, big-endian, 12 * year + month - 1)

Sorted by P, which is uniformly distributed: the order tells nothing about the list that it came from (protocol
section 5, step 3). A file is written whole, synced, then named in the database; it is never changed. When it is
superseded its bytes are overwritten before it is removed. The database holds its number of records and its digest.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b, file_digest
from itertools import pairwise
from mmap import ACCESS_READ, mmap
from pathlib import Path

from bekend_proto.disk import sync
from bekend_proto.errors import StorageError

RECORD = 34
HEADER = b"bekend/1 pseudonyms".ljust(RECORD, b"\0")
_blake = partial(blake2b, digest_size=32, person=b"bekend1-file")
NEVER_ENDS = 0xFFFF
"""Month of a registration without an end: shielding lasts until it is lifted."""
PIECE = 4096
"""Records that are read or copied at once."""


def month_number(month: str) -> int:
    """A calendar month `YYYY-MM` as it is stored: months since the year 0."""
    return 12 * int(month[:4]) + int(month[5:]) - 1


def record(pseudonym: bytes, end_month: int) -> bytes:
    """One record: P (32 bytes) and its end month."""
    return pseudonym + end_month.to_bytes(2, "big")


def merge_sorted(records: Iterable[bytes]) -> Iterator[bytes]:
    """Records sorted by P, each P once, with the later of its end months: sorted records put that one last."""
    last = b""
    for entry in records:
        if last and last[:32] != entry[:32]:
            yield last
        last = entry
    if last:
        yield last


def write(path: Path, records: Iterable[bytes]) -> int:
    """Write records (sorted, each P once) to a new file of mode 0600, durably; returns their number.

    Each piece is a record, or a run of them that stood in a file in this order. Raises StorageError when the disk fails
    or the order is wrong; then no file is left.
    """
    temporary = path.with_suffix(".partial")
    count = 0
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb", buffering=1 << 20) as file:
            file.write(HEADER)
            last = b""
            for entry in records:
                if entry[:32] <= last or len(entry) % RECORD:
                    raise StorageError(f"{path}: records out of order")
                last = entry[-RECORD:][:32]
                file.write(entry)
                count += len(entry) // RECORD
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} could not be written ({fault.strerror}): make room and run again") from fault
    except StorageError:
        temporary.unlink(missing_ok=True)
        raise
    return count


def count(path: Path) -> int:
    """Number of records, from the file's size. Raises StorageError when the file is missing or damaged."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(RECORD)
    except OSError as fault:
        raise StorageError(f"{path} cannot be read ({fault.strerror}): import the register again") from fault
    if header != HEADER or size % RECORD:
        raise StorageError(f"{path} is damaged: import the register again")
    return size // RECORD - 1


def read(path: Path, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Records number `start` to `stop` (all when None), in pieces: bounded memory whatever the size."""
    total = count(path)
    left = (total if stop is None else min(stop, total)) - start
    with path.open("rb") as file:
        file.seek(RECORD * (start + 1))
        while left > 0:
            piece = file.read(min(PIECE, left) * RECORD)
            if not piece:
                raise StorageError(f"{path} became shorter while it was read")
            left -= len(piece) // RECORD
            for at in range(0, len(piece), RECORD):
                yield piece[at : at + RECORD]


@contextmanager
def mapped(path: Path) -> Iterator[memoryview]:
    """All records, joined, in place. Raises StorageError when the file is missing or damaged."""
    count(path)
    with (
        path.open("rb") as file,
        mmap(file.fileno(), 0, access=ACCESS_READ) as whole,
        memoryview(whole) as view,
        view[RECORD:] as records,
    ):
        yield records


def find(path: Path, pseudonym: bytes) -> int:
    """Position of the first record that is not below `pseudonym` (or a prefix of one)."""
    low, high = 0, count(path)
    with path.open("rb") as file:
        while low < high:
            middle = (low + high) // 2
            file.seek(RECORD * (middle + 1))
            if file.read(32) < pseudonym:
                low = middle + 1
            else:
                high = middle
    return low


def digest(path: Path) -> bytes:
    """BLAKE2b-256 of the whole file. Raises StorageError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file_digest(file, _blake).digest()
    except OSError as fault:
        raise StorageError(f"{path} cannot be read ({fault.strerror}): import the register again") from fault


def is_sorted(path: Path) -> bool:
    """Whether the records ascend: `check` reads every file once."""
    return all(left[:32] < right[:32] for left, right in pairwise(read(path)))


def destroy(path: Path) -> None:
    """Overwrite a superseded file with zero bytes, then remove it. A file that is gone already is fine."""
    try:
        with path.open("r+b") as file:
            left = os.fstat(file.fileno()).st_size
            while left > 0:
                left -= file.write(bytes(min(left, 1 << 20)))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync(path.parent)
    except FileNotFoundError:
        return
    except OSError as fault:
        raise StorageError(f"{path} could not be destroyed ({fault.strerror})") from fault
