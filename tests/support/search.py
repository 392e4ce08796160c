"""Searching files and the memory of processes for many exact byte strings at once.

Every string has at least eight octets. Its first eight are looked for at every place as one number in a set; where one
is found, the whole string is compared.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

HASHES: Mapping[str, Callable[[bytes], bytes]] = {
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "md5": lambda data: hashlib.md5(data).digest(),
    "blake2b": lambda data: hashlib.blake2b(data).digest(),
    "blake2b-256": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
}
KEYED: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    "hmac-sha256": lambda key, data: hmac.digest(key, data, "sha256"),
    "blake2b keyed": lambda key, data: hashlib.blake2b(data, key=key[:64], digest_size=32).digest(),
}

_PAGE = 4096
_ZEROS = bytes(_PAGE)
_TEXT = re.compile(rb"[0-9A-Za-z+/=_:-]{8,}")


class Needles:
    """What is looked for. Each string goes by a name, so that a finding can be told without its value."""

    def __init__(self, strings: Mapping[bytes, str]) -> None:
        self._names = dict(strings)
        assert all(len(string) >= 8 for string in self._names)
        self._by_front: dict[int, list[bytes]] = {}
        for string in self._names:
            self._by_front.setdefault(_number(string[:8]), []).append(string)
        self._fronts = frozenset(self._by_front)

    def __len__(self) -> int:
        return len(self._names)

    def within(self, data: bytes, *, step: int = 1) -> set[str]:
        """Names of the strings in `data`; with `step` 8 only of those that begin at a multiple of eight."""
        view = memoryview(data)
        fronts: set[int] = set()
        for start in range(0, 8, step):
            part = view[start:]
            fronts |= self._fronts.intersection(part[: len(part) // 8 * 8].cast("Q"))
        return {self._names[string] for front in fronts for string in self._by_front[front] if string in data}

    def in_files(self, files: Iterable[Path]) -> dict[str, set[str]]:
        """Per file, by its path, what stands in it."""
        found = {}
        for path in files:
            if names := self.within(path.name.encode() + b"\0" + path.read_bytes()):
                found[str(path)] = names
        return found

    def in_living(self, files: Callable[[], Iterable[Path]]) -> dict[str, set[str]]:
        """The same while processes write: what comes meanwhile is read too, and what goes leaves nothing to find."""
        found, seen = dict[str, set[str]](), set[Path]()
        while fresh := [path for path in files() if path not in seen]:
            seen.update(fresh)
            for path in fresh:
                with suppress(FileNotFoundError):
                    found |= self.in_files([path])
        return found

    def in_memory(self, pid: int) -> set[str]:
        """What stands in the writable memory of a process: text at any place, octets where objects begin.

        Raises OSError when the system does not let us look.
        """
        found: set[str] = set()
        for region in _regions(pid):
            found |= self.within(region, step=8)
            found |= self.within(b"\0".join(set(_TEXT.findall(region))))
        return found


def _number(octets: bytes) -> int:
    return memoryview(octets).cast("Q")[0]


def _regions(pid: int) -> Iterator[bytes]:
    """The writable memory of a process, less its pages of zeros."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            addresses, mode, *_ = line.split()
            if not mode.startswith("rw"):
                continue
            first, last = (int(address, 16) for address in addresses.split("-"))
            memory.seek(first)
            try:
                region = memory.read(last - first)
            except OSError:
                # A page of a device, or one that went away since the list was read.
                continue
            pages = (region[at : at + _PAGE] for at in range(0, len(region), _PAGE))
            yield b"".join(page for page in pages if page != _ZEROS)


def forms(value: bytes, name: str) -> Iterator[tuple[bytes, str]]:
    """A number as it could stand somewhere: plain, backwards, hex of both, base64 at each of the three offsets."""
    for shown, how in ((value, "plain"), (value[::-1], "backwards")):
        yield shown, f"{name} {how}"
        yield shown.hex().encode(), f"{name} {how} hex"
        for offset in range(3):
            # Only the characters that no neighbour changes.
            encoded = base64.b64encode(bytes(offset) + shown)
            kept = encoded[-(-offset * 8 // 6) : (offset + len(shown)) * 8 // 6]
            yield kept, f"{name} {how} base64 at {offset}"


def hashes(value: bytes, name: str, salts: Iterable[bytes] = ()) -> Iterator[tuple[bytes, str]]:
    """Hashes of a text, plain and under salts that somebody knows; raw, hex and base64."""
    for algorithm, digest in HASHES.items():
        yield from _shown(digest(value), f"{name} {algorithm}")
        for salt in salts:
            yield from _shown(digest(salt + value), f"{name} {algorithm} salt before")
            yield from _shown(digest(value + salt), f"{name} {algorithm} salt after")
    for algorithm, keyed in KEYED.items():
        for salt in salts:
            yield from _shown(keyed(salt, value), f"{name} {algorithm}")


def _shown(digest: bytes, name: str) -> Iterator[tuple[bytes, str]]:
    yield digest, name
    yield digest.hex().encode(), f"{name} hex"
    yield base64.b64encode(digest).rstrip(b"="), f"{name} base64"


def files_under(folder: Path, *, but: Iterable[Path] = ()) -> list[Path]:
    """Every file below a folder, less those in `but`."""
    left_out = {path.resolve() for path in but}
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.resolve() not in left_out
    ]
