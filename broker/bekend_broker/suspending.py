"""The kill switch at the broker: notes that nodes publish, and those that the operator puts down at the broker itself.

`bekend broker suspend NOTE` writes the note into <data>/suspensions/inbox; a running broker takes it from there within
a second, one that is started takes it before it serves. So the operator needs no partner's certificate, and no restart.
"""

import asyncio
import time
from pathlib import Path
from typing import Final

from bekend_policy.sign import write_atomic
from bekend_proto import logs
from bekend_proto.errors import BekendError, StorageError

from bekend_broker.directory import Directory
from bekend_broker.register import Register

LOOK_SECONDS: Final = 0.5


async def suspend(directory: Directory, register: Register, note: bytes) -> int:
    """Put a suspension or withdrawal into force here, and let every node know. Raises as `Directory.suspend`."""
    number, is_new = await directory.suspend(note)
    if is_new:
        register.directory_changed()
    return number


def hand_over(data: Path, note: bytes, seconds: float = 5.0) -> bool:
    """Give a note to the broker of this data folder; says whether it put it into force within so many seconds."""
    path = put_into_inbox(data, note)
    deadline = time.monotonic() + seconds
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not path.exists() and not path.with_suffix(".refused").exists()


def put_into_inbox(data: Path, note: bytes) -> Path:
    """Leave a note for the broker; the file goes when it was taken, or is called .refused."""
    folder = _inbox(data)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    numbers = [int(path.stem) for path in folder.iterdir() if path.stem.isdigit()]
    path = folder / f"{max(numbers, default=0) + 1:06}.note"
    write_atomic(path, note)
    return path


class Inbox:
    """The folder that is looked at."""

    def __init__(self, data: Path, directory: Directory, register: Register) -> None:
        self._folder = _inbox(data)
        self._directory = directory
        self._register = register

    async def watch(self) -> None:
        """Take what comes until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.empty()
            except OSError:
                continue
            except Exception as fault:
                # The kill switch must outlive a note that nobody foresaw.
                detail = f"{type(fault).__name__} at {logs.place_of(fault.__traceback__)}"
                logs.log(logs.SUSPENSION_SKIPPED, detail=detail)

    async def empty(self) -> None:
        """Take what is there, oldest first. A note that cannot count is put aside and logged."""
        for path in sorted(self._folder.glob("*.note")):
            try:
                note = path.read_bytes()
                await self._directory.check_no_gap(note)
                await suspend(self._directory, self._register, note)
            except StorageError as fault:
                # It stays there and is tried again.
                logs.log(logs.SUSPENSION_SKIPPED, detail=f"{path.name}: {fault.detail}")
                return
            except BekendError as fault:
                logs.log(logs.SUSPENSION_SKIPPED, detail=f"{path.name}: {fault.detail}")
                path.replace(path.with_suffix(".refused"))
            else:
                path.unlink()


def _inbox(data: Path) -> Path:
    return data / "suspensions" / "inbox"
