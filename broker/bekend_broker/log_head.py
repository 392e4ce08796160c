"""The last head of the log that a replica signed or saw signed, in a file of its own: whether a database went back.

    replica a: data/log-head ----+
                                 +--- at each new connection: is that head in the log? ---- PostgreSQL
    replica b: data/log-head ----+

A server that was put back to an older state, or a standby that took over without the last commits, cut every
connection; so each new one is looked at before anything is done on it. Nothing is written or read on one whose log
does not hold that head, until the owner of the tables closed the log (`bekend broker database restored`). With SQLite
no head is kept: it would lie beside the database, and go back with it. A head beside `broker.db` says that the log went
on in PostgreSQL (`bekend broker database move`), and that a broker with this file would fork it.
"""

from pathlib import Path
from typing import Final

from bekend_policy.sign import write_atomic
from bekend_proto import log_table, merkle
from bekend_proto.checkpoint import Checkpoint
from bekend_proto.errors import BekendError, StorageError
from bekend_proto.sql import Connection

FILE: Final = "log-head"


class LogHead:
    """The file in a replica's data folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def keep(self, head: Checkpoint) -> None:
        """Keep a head that is in the database for good. Raises StorageError."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._path, head.text().encode())
        except OSError as fault:
            raise StorageError(
                f"{self._path} cannot be written ({fault.strerror}): make room, or set its mode"
            ) from None

    def check(self, connection: Connection, name: str, origin: str) -> None:
        """Raise StorageError when the log `origin` in the database called `name` does not go on from the head kept."""
        kept = self._read()
        if kept is None or kept.origin in {one.origin for one in log_table.closed(connection)}:
            return
        if kept.origin != origin:
            raise StorageError(
                f"this replica signed the log {kept.origin} last, and database {name} does not know it: see `database` "
                f"and `log` in the configuration; remove {self._path} when this is a new broker"
            )
        if log_table.log_size(connection) < kept.size or (
            merkle.root(kept.size, log_table.reader(connection)) != kept.root
        ):
            raise StorageError(
                f"database {name} went back: this replica signed {origin} at {kept.size} entries, and its log does not "
                "hold them. Let the server serve what it held; or stop every replica, give `log` a new name and run "
                "`bekend broker database restored` (docs/backup.md)"
            )

    def check_file(self, connection: Connection) -> None:
        """Raise StorageError when the log of the file in this folder went on in PostgreSQL."""
        # Read first: from here on nobody can move the file, which has to be the only one who opened it.
        held = log_table.log_size(connection)
        kept = self._read()
        if kept is not None:
            raise StorageError(
                f"the log of {held} entries in this data folder went on in PostgreSQL ({self._path}): served from here "
                "it would fork, and nodes stop. Name `database` in the configuration. If `bekend broker database move` "
                f"did not end well, run it again; remove {self._path} only if no replica ever ran on the database"
            )

    def check_moved(self, file: Path) -> None:
        """Raise StorageError when a broker kept this file, whose log did not go on in the database."""
        if file.exists() and not self._path.exists():
            raise StorageError(
                f"{file} was not moved into the database: its log would begin anew, and nodes stop. Run `bekend broker "
                "database move`; or, for a log under a name that was never used, move the file away"
            )

    def _read(self) -> Checkpoint | None:
        try:
            return Checkpoint.parse(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, BekendError):
            raise StorageError(f"{self._path} cannot be read: set its mode, or take it from a backup") from None
