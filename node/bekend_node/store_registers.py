"""What is enrolled, in `registers.db`, written by the enrolling process and read by the serving one.

    generation   per register, purpose, epoch and kind of identifier the pseudonym file in service (pseudonym_file.py)
    import       an import under way: what it reads, in which order, so that it can go on after a crash
    part         its half per purpose: the import id towards the broker, the number of chunks
    staged       finished chunks, until the switch; staged_records what each holds, per kind of identifier
    canary       the canary's pseudonym per purpose and epoch, apart from all registers
    imported     which imports were put into service, and when: for the log of processing
    shielding    purposes under which somebody is shielded: remembered when an epoch's rows are destroyed

One transaction switches a register over all its purposes: readers see the old generation or the new one, never a mix.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from sqlite3 import Connection

from bekend_proto.durable import Database, Migration
from bekend_proto.errors import StorageError

from bekend_node import pseudonym_file
from bekend_node.config import SHIELDED

_START = """
CREATE TABLE generation (
  id INTEGER PRIMARY KEY AUTOINCREMENT, register TEXT NOT NULL, purpose TEXT NOT NULL, epoch TEXT NOT NULL,
  as_of TEXT NOT NULL, imported_at INTEGER NOT NULL, persons INTEGER NOT NULL, kind TEXT NOT NULL,
  UNIQUE (register, purpose, epoch)
);
CREATE TABLE import (
  id INTEGER PRIMARY KEY AUTOINCREMENT, register TEXT NOT NULL, epoch TEXT NOT NULL, fingerprint BLOB NOT NULL,
  seed BLOB NOT NULL, UNIQUE (register, epoch)
);
CREATE TABLE part (
  import INTEGER NOT NULL REFERENCES import ON DELETE CASCADE, purpose TEXT NOT NULL, import_id BLOB NOT NULL,
  PRIMARY KEY (import, purpose)
) WITHOUT ROWID;
CREATE TABLE staged (
  import INTEGER NOT NULL, purpose TEXT NOT NULL, chunk INTEGER NOT NULL, records BLOB NOT NULL, canary BLOB,
  PRIMARY KEY (import, purpose, chunk),
  FOREIGN KEY (import, purpose) REFERENCES part ON DELETE CASCADE
);
CREATE TABLE shielding (purpose TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE canary (
  purpose TEXT NOT NULL, epoch TEXT NOT NULL, pseudonym BLOB NOT NULL, kind TEXT NOT NULL,
  PRIMARY KEY (purpose, epoch)
) WITHOUT ROWID;
"""
_IMPORTED = """
CREATE TABLE imported (
  at INTEGER NOT NULL, import_id BLOB NOT NULL, register TEXT NOT NULL, purpose TEXT NOT NULL, is_full INTEGER NOT NULL
);
CREATE INDEX imported_at ON imported (at);
"""
_RESTORED = "ALTER TABLE generation ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;"
_KINDS = """
ALTER TABLE generation RENAME TO generation_3;
CREATE TABLE generation (
  id INTEGER PRIMARY KEY AUTOINCREMENT, register TEXT NOT NULL, purpose TEXT NOT NULL, epoch TEXT NOT NULL,
  as_of TEXT NOT NULL, imported_at INTEGER NOT NULL, persons INTEGER NOT NULL, kind TEXT NOT NULL,
  restored INTEGER NOT NULL DEFAULT 0,
  UNIQUE (register, purpose, epoch, kind)
);
INSERT INTO generation SELECT id, register, purpose, epoch, as_of, imported_at, persons, kind, restored
  FROM generation_3;
DELETE FROM sqlite_sequence WHERE name = 'generation';
INSERT INTO sqlite_sequence SELECT 'generation', seq FROM sqlite_sequence WHERE name = 'generation_3';
DROP TABLE generation_3;
DROP TABLE staged;
DELETE FROM part;
DELETE FROM import;
CREATE TABLE staged (
  import INTEGER NOT NULL, purpose TEXT NOT NULL, chunk INTEGER NOT NULL, canary BLOB,
  PRIMARY KEY (import, purpose, chunk),
  FOREIGN KEY (import, purpose) REFERENCES part ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE staged_records (
  import INTEGER NOT NULL, purpose TEXT NOT NULL, kind TEXT NOT NULL, chunk INTEGER NOT NULL, records BLOB NOT NULL,
  PRIMARY KEY (import, purpose, kind, chunk),
  FOREIGN KEY (import, purpose, chunk) REFERENCES staged ON DELETE CASCADE
);
"""
MIGRATIONS = (
    Migration(1, "start", _START),
    Migration(2, "imports put into service", _IMPORTED),
    Migration(3, "generations put back from a backup", _RESTORED),
    # What was staged did not say of which kind it was: an import under way is begun anew.
    Migration(4, "a generation per kind of identifier", _KINDS),
    Migration(5, "a digest per pseudonym file", "ALTER TABLE generation ADD COLUMN digest BLOB;"),
)

_COLUMNS = "id, register, purpose, epoch, as_of, imported_at, persons, kind, restored, digest"


@dataclass(frozen=True)
class Generation:
    """One register's set for one purpose, epoch and kind of identifier, in service. `imported_at` in seconds.

    `restored`: it came back from a backup, and who was added, removed or shielded since is not in it. `digest` is that
    of its file, BLAKE2b-256; None where it was imported before files had one.
    """

    id: int
    register: str
    purpose: str
    epoch: str
    as_of: date
    imported_at: int
    persons: int
    kind: str
    restored: bool = False
    digest: bytes | None = None


@dataclass(frozen=True)
class Import:
    """An import under way. `seed` (32 bytes) fixes its order; `import_ids` are per purpose, 16 bytes each."""

    id: int
    seed: bytes = field(repr=False)
    import_ids: Mapping[str, bytes]


@dataclass(frozen=True)
class Imported:
    """An import that was put into service for one purpose. `at` in milliseconds; `import_id`: as at the broker."""

    at: int
    import_id: bytes
    register: str
    purpose: str
    full: bool


class Registers:
    """The database of registers and the folder of pseudonym files."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    @classmethod
    def open(cls, folder: Path) -> "Registers":
        """Open or create `registers.db` and the folder `pseudonyms` in the data folder."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "pseudonyms").mkdir(mode=0o700, exist_ok=True)
        return cls(Database.open(folder / "registers.db", MIGRATIONS), folder / "pseudonyms")

    @staticmethod
    def peek(folder: Path) -> tuple[Generation, ...]:
        """What is in service, read without writing anything; nothing where this release has no tables yet."""
        path = folder / "registers.db"
        # A database that nobody has open is read as it lies there: SQLite would make files beside it otherwise.
        how = "mode=ro" if path.with_name("registers.db-wal").exists() else "mode=ro&immutable=1"
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)) as connection:
                rows = connection.execute(f"SELECT {_COLUMNS} FROM generation ORDER BY id")  # noqa: S608 - fixed names
                return tuple(map(_generation, rows))
        except sqlite3.Error:
            return ()

    def close(self) -> None:
        """Finish writing and close."""
        self._database.close()

    # --- what is in service

    def generations(self) -> tuple[Generation, ...]:
        """All generations in service, at one moment."""
        query = f"SELECT {_COLUMNS} FROM generation ORDER BY id"  # noqa: S608 - fixed names
        return tuple(map(_generation, self._database.rows(query)))

    def file(self, generation: int) -> Path:
        """The pseudonym file of a generation."""
        return self._folder / f"{generation}.pseudonyms"

    def canaries(self, purpose: str, epoch: str) -> tuple[bytes, ...]:
        """The pseudonyms of the canaries, each by itself; none when no register was enrolled."""
        joined = self.canary(purpose, epoch) or b""
        return tuple(joined[start : start + 32] for start in range(0, len(joined), 32))

    def canary(self, purpose: str, epoch: str) -> bytes | None:
        """The canary's pseudonym (32 bytes), or None before the first import."""

        def read(conn: Connection) -> bytes | None:
            row = conn.execute(
                "SELECT pseudonym FROM canary WHERE purpose = ? AND epoch = ?", (purpose, epoch)
            ).fetchone()
            return bytes(row[0]) if row else None

        return self._database.read(read)

    def is_shielding(self) -> bool:
        """Whether `afgeschermd` held somebody when it was enrolled last, in whichever epoch, for whichever purpose."""
        return self._database.read(lambda conn: conn.execute("SELECT 1 FROM shielding LIMIT 1").fetchone() is not None)

    # --- an import under way

    def find_import(self, register: str, epoch: str, fingerprint: bytes) -> Import | None:
        """The interrupted import of exactly this (same file, mapping, purposes and date), if there is one."""

        def read(conn: Connection) -> Import | None:
            row = conn.execute(
                "SELECT id, seed FROM import WHERE register = ? AND epoch = ? AND fingerprint = ?",
                (register, epoch, fingerprint),
            ).fetchone()
            if row is None:
                return None
            parts = conn.execute("SELECT purpose, import_id FROM part WHERE import = ?", (row[0],))
            return Import(row[0], row[1], {purpose: bytes(import_id) for purpose, import_id in parts})

        return self._database.read(read)

    def start_import(
        self, register: str, epoch: str, fingerprint: bytes, seed: bytes, import_ids: Mapping[str, bytes]
    ) -> Import:
        """Begin an import; one of this register and epoch that was interrupted and is another is forgotten."""

        def write(conn: Connection) -> int:
            conn.execute("DELETE FROM import WHERE register = ? AND epoch = ?", (register, epoch))
            number = conn.execute(
                "INSERT INTO import (register, epoch, fingerprint, seed) VALUES (?, ?, ?, ?) RETURNING id",
                (register, epoch, fingerprint, seed),
            ).fetchone()[0]
            conn.executemany(
                "INSERT INTO part VALUES (?, ?, ?)",
                [(number, purpose, import_id) for purpose, import_id in import_ids.items()],
            )
            return int(number)

        return Import(self._database.write_sync(write), seed, dict(import_ids))

    async def stage(
        self, number: int, purpose: str, chunk: int, records: Mapping[str, bytes], canaries: Mapping[int, bytes]
    ) -> None:
        """Keep a finished chunk and the pseudonyms of the canaries in it, durably.

        `records` are per kind of identifier, sorted and joined.
        """
        found = b"".join(bytes([which]) + pseudonym for which, pseudonym in canaries.items()) or None

        def write(conn: Connection) -> None:
            conn.execute("INSERT INTO staged VALUES (?, ?, ?, ?)", (number, purpose, chunk, found))
            conn.executemany(
                "INSERT INTO staged_records VALUES (?, ?, ?, ?, ?)",
                [(number, purpose, kind, chunk, joined) for kind, joined in records.items()],
            )

        await self._database.write(write)

    def staged_chunks(self, number: int, purpose: str) -> frozenset[int]:
        """Chunks that are finished."""
        return self._database.read(
            lambda conn: frozenset(
                row[0]
                for row in conn.execute("SELECT chunk FROM staged WHERE import = ? AND purpose = ?", (number, purpose))
            )
        )

    def staged_records(self, number: int, purpose: str, kind: str) -> Iterator[bytes]:
        """Each finished chunk's records of one kind of identifier, joined, one chunk at a time."""
        for chunk in sorted(self.staged_chunks(number, purpose)):
            row = self._database.read(
                lambda conn, chunk=chunk: conn.execute(  # type: ignore[misc]
                    "SELECT records FROM staged_records WHERE import = ? AND purpose = ? AND kind = ? AND chunk = ?",
                    (number, purpose, kind, chunk),
                ).fetchone()
            )
            if row is not None:
                yield bytes(row[0])

    def staged_canary(self, number: int, purpose: str) -> bytes | None:
        """The canaries' pseudonyms as this import computed them, joined in the order of the configuration."""

        def read(conn: Connection) -> bytes | None:
            rows = conn.execute(
                "SELECT canary FROM staged WHERE import = ? AND purpose = ? AND canary IS NOT NULL", (number, purpose)
            ).fetchall()
            staged = b"".join(bytes(row[0]) for row in rows)
            parts = sorted(staged[start : start + 33] for start in range(0, len(staged), 33))
            return b"".join(part[1:] for part in parts) or None

        return self._database.read(read)

    # --- the switch

    def next_file(self) -> int:
        """A number for a new generation's file that no generation has."""
        row = self._database.read(
            lambda conn: conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'generation'").fetchone()
        )
        taken = [int(path.stem) for path in self._folder.glob("*.pseudonyms") if path.stem.isdigit()]
        return 1 + max(row[0] if row else 0, *taken, 0)

    def switch(
        self,
        register: str,
        epoch: str,
        fresh: Sequence[Generation],
        canaries: Mapping[str, bytes],
        finished: int | None,
        *,
        full: bool = True,
    ) -> None:
        """Put new generations, whose files are written, into service over all their purposes, in one transaction.

        A full import takes the place of all kinds of identifier that the register had for these purposes, changes that
        of the kinds that they hold. `canaries` are the canary's pseudonyms per purpose, `finished` the import that is
        done. Afterwards the superseded files are destroyed and no byte of a deleted row is left.
        """

        def write(conn: Connection) -> list[int]:
            old = _superseded(conn, register, epoch, fresh, full=full)
            for new in fresh:
                conn.execute(
                    f"INSERT INTO generation ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",  # noqa: S608 - fixed names
                    (
                        new.id,
                        register,
                        new.purpose,
                        epoch,
                        new.as_of.isoformat(),
                        new.imported_at,
                        new.persons,
                        new.kind,
                        new.digest,
                    ),
                )
                if new.purpose in canaries:
                    conn.execute(
                        "INSERT OR REPLACE INTO canary VALUES (?, ?, ?, ?)",
                        (new.purpose, epoch, canaries[new.purpose], new.kind),
                    )
            if register == SHIELDED:
                _remember_shielding(conn, epoch, {new.purpose for new in fresh})
            conn.execute(
                "INSERT INTO imported SELECT ?, import_id, ?, purpose, ? FROM part WHERE import = ?",
                (max(new.imported_at for new in fresh) * 1000, register, full, finished),
            )
            conn.execute("DELETE FROM import WHERE id = ?", (finished,))
            return old

        for number in self._database.write_sync(write):
            pseudonym_file.destroy(self.file(number))
        self._scrub()

    def imported_between(self, first: int, until: int) -> list[Imported]:
        """The imports that were put into service in a span of time (milliseconds), oldest first."""
        return self._database.read(
            lambda conn: [
                Imported(at, bytes(import_id), register, purpose, bool(full))
                for at, import_id, register, purpose, full in conn.execute(
                    "SELECT at, import_id, register, purpose, is_full FROM imported WHERE at >= ? AND at < ?"
                    " ORDER BY at, purpose",
                    (first, until),
                )
            ]
        )

    def forget_imported(self, before: int) -> None:
        """Forget imports that were put into service before a moment (milliseconds)."""
        self._database.write_sync(lambda conn: conn.execute("DELETE FROM imported WHERE at < ?", (before,)))

    def mark_restored(self) -> None:
        """All that is here came back from a backup: it answers nothing until it is imported anew.

        `afgeschermd` too, also where it was not there: somebody may have been shielded since. Imports that were under
        way are over: the broker may have seen more of them.
        """

        def write(conn: Connection) -> None:
            conn.execute("INSERT OR IGNORE INTO shielding SELECT DISTINCT purpose FROM generation")
            conn.execute("UPDATE generation SET restored = 1")
            conn.execute("DELETE FROM import")

        self._database.write_sync(write)
        self._scrub()

    def forget_epochs(self, keep: Iterable[str]) -> None:
        """Destroy all that belongs to epochs that are over: generations, canaries, imports (protocol section 4)."""
        kept = set(keep)

        def write(conn: Connection) -> tuple[list[int], int]:
            epochs = {row[0] for row in conn.execute("SELECT epoch FROM generation UNION SELECT epoch FROM import")}
            old: list[int] = []
            for epoch in epochs - kept:
                old += [row[0] for row in conn.execute("DELETE FROM generation WHERE epoch = ? RETURNING id", (epoch,))]
                conn.execute("DELETE FROM canary WHERE epoch = ?", (epoch,))
                conn.execute("DELETE FROM import WHERE epoch = ?", (epoch,))
            return old, len(epochs - kept)

        old, epochs = self._database.write_sync(write)
        for number in old:
            pseudonym_file.destroy(self.file(number))
        if epochs:
            self._scrub()

    def sweep(self) -> None:
        """Destroy files that no generation names: what a crash between file and switch, or after it, left."""
        named = {generation.id for generation in self.generations()}
        for path in self._folder.iterdir():
            if path.suffix == ".partial" or not (path.stem.isdigit() and int(path.stem) in named):
                pseudonym_file.destroy(path)

    def quick_check(self) -> None:
        """Raise DamagedError when the database is damaged, as far as a start can wait for it."""
        self._database.quick_check()

    def check(self) -> None:
        """Raise StorageError when the database or a pseudonym file is damaged."""
        self._database.check()
        for generation in self.generations():
            self.check_file(generation)
            if not pseudonym_file.is_sorted(self.file(generation.id)):
                raise _damaged(generation)

    def check_file(self, generation: Generation) -> None:
        """Raise StorageError unless its file is, octet for octet, the one that was put into service.

        One that lost records, or an octet, would make persons unknown in silence. A second per gigabyte.
        """
        path = self.file(generation.id)
        whole = pseudonym_file.count(path) == generation.persons
        if not whole or (generation.digest is not None and pseudonym_file.digest(path) != generation.digest):
            raise _damaged(generation)

    def _scrub(self) -> None:
        self._database.scrub()


def _superseded(conn: Connection, register: str, epoch: str, fresh: Sequence[Generation], *, full: bool) -> list[int]:
    """Take the generations out of service whose place the fresh ones take; their ids."""
    here = conn.execute(
        "SELECT id, purpose, kind FROM generation WHERE register = ? AND epoch = ?", (register, epoch)
    ).fetchall()
    purposes, parts = {new.purpose for new in fresh}, {(new.purpose, new.kind) for new in fresh}
    old = [row[0] for row in here if (row[1] in purposes if full else (row[1], row[2]) in parts)]
    conn.executemany("DELETE FROM generation WHERE id = ?", [(number,) for number in old])
    return old


def _remember_shielding(conn: Connection, epoch: str, purposes: Iterable[str]) -> None:
    """Under which of these purposes `afgeschermd`, as it is now in service, holds somebody, by whichever kind."""
    for purpose in purposes:
        conn.execute("DELETE FROM shielding WHERE purpose = ?", (purpose,))
        conn.execute(
            "INSERT INTO shielding SELECT DISTINCT purpose FROM generation"
            " WHERE register = ? AND purpose = ? AND epoch = ? AND persons > 0",
            (SHIELDED, purpose, epoch),
        )


def _damaged(generation: Generation) -> StorageError:
    return StorageError(f"the file of register {generation.register} is damaged: import it again, as a whole")


def _generation(row: Sequence[object]) -> Generation:
    number, register, purpose, epoch, as_of, imported_at, persons, kind, restored, digest = row
    assert isinstance(number, int)
    assert isinstance(imported_at, int)
    assert isinstance(persons, int)
    assert digest is None or isinstance(digest, bytes)
    return Generation(
        number,
        str(register),
        str(purpose),
        str(epoch),
        date.fromisoformat(str(as_of)),
        imported_at,
        persons,
        str(kind),
        bool(restored),
        digest,
    )
