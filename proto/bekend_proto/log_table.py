"""The tables of a log that can be proved: entries, the hashes of its tree, checkpoints, and what was seen of others.

    log          one row per entry; append-only
    tree         the hashes of perfect subtrees, in the order of merkle.py; append-only
    checkpoint   the own signed checkpoints, one for each hour kept for ever
    cosignature  what witnesses added to them
    log_seen     the last checkpoint of each other log that was proved to go on from the one before
    log_closed   own logs that ended in a restore, with the head that was put back; append-only
    alarm        what did not agree, with its evidence; append-only, as is who cleared it and why

Entry and hashes are written in the transaction of what they record (durable.py), so a commit that many share syncs
their hashes too. Broker and nodes have the same tables.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from bekend_proto import merkle
from bekend_proto.checkpoint import Checkpoint
from bekend_proto.clock import FRESHNESS, from_milliseconds
from bekend_proto.errors import LogError
from bekend_proto.migrations import statements
from bekend_proto.note import NoteSignature, parse_note
from bekend_proto.octets import blake, i2osp, lp
from bekend_proto.sql import Connection

if TYPE_CHECKING:
    import sqlite_utils

LOG_DDL: Final = """
CREATE TABLE log (
  seq  INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  hash BLOB NOT NULL CHECK (typeof(hash) = 'blob' AND length(hash) = 32),
  at   INTEGER NOT NULL
);
CREATE TRIGGER log_keeps_rows BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_keeps_values BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_replaces_nothing BEFORE INSERT ON log
WHEN EXISTS (SELECT 1 FROM log WHERE seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_has_no_gaps AFTER INSERT ON log
WHEN NEW.seq <> 1 AND NOT EXISTS (SELECT 1 FROM log WHERE seq = NEW.seq - 1)
BEGIN SELECT RAISE(ABORT, 'the log has no gaps'); END;
"""
"""The append-only log, for a migration: entry i of the log (from 0) is row i + 1. `at` is in milliseconds."""

TREE_DDL: Final = """
CREATE TABLE tree (
  position INTEGER PRIMARY KEY,
  hash     BLOB NOT NULL CHECK (typeof(hash) = 'blob' AND length(hash) = 32)
);
CREATE TRIGGER tree_keeps_rows BEFORE DELETE ON tree
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER tree_keeps_values BEFORE UPDATE ON tree
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER tree_replaces_nothing BEFORE INSERT ON tree
WHEN EXISTS (SELECT 1 FROM tree WHERE position = NEW.position)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER tree_has_no_gaps AFTER INSERT ON tree
WHEN NEW.position <> 0 AND NOT EXISTS (SELECT 1 FROM tree WHERE position = NEW.position - 1)
BEGIN SELECT RAISE(ABORT, 'the log has no gaps'); END;
CREATE TABLE checkpoint (
  size INTEGER PRIMARY KEY,
  at   INTEGER NOT NULL,
  note BLOB NOT NULL
);
CREATE TABLE cosignature (
  size      INTEGER NOT NULL REFERENCES checkpoint ON DELETE CASCADE,
  name      TEXT NOT NULL,
  key_id    BLOB NOT NULL,
  signature BLOB NOT NULL,
  PRIMARY KEY (size, name, key_id)
) WITHOUT ROWID;
CREATE TABLE log_seen (
  origin TEXT PRIMARY KEY,
  size   INTEGER NOT NULL,
  root   BLOB NOT NULL,
  note   BLOB NOT NULL,
  at     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE alarm (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  origin   TEXT NOT NULL,
  kind     TEXT NOT NULL,
  stops    INTEGER NOT NULL,
  detail   TEXT NOT NULL,
  evidence BLOB NOT NULL
);
CREATE TRIGGER alarm_keeps_rows BEFORE DELETE ON alarm
BEGIN SELECT RAISE(ABORT, 'alarms are append-only'); END;
CREATE TRIGGER alarm_keeps_values BEFORE UPDATE ON alarm
BEGIN SELECT RAISE(ABORT, 'alarms are append-only'); END;
CREATE TABLE alarm_cleared (
  id     INTEGER PRIMARY KEY REFERENCES alarm,
  at     INTEGER NOT NULL,
  by     TEXT NOT NULL,
  reason TEXT NOT NULL
);
CREATE TRIGGER alarm_cleared_keeps_rows BEFORE DELETE ON alarm_cleared
BEGIN SELECT RAISE(ABORT, 'alarms are append-only'); END;
CREATE TRIGGER alarm_cleared_keeps_values BEFORE UPDATE ON alarm_cleared
BEGIN SELECT RAISE(ABORT, 'alarms are append-only'); END;
"""

CLOSED_DDL: Final = """
CREATE TABLE log_closed (
  origin TEXT PRIMARY KEY,
  size   INTEGER NOT NULL,
  root   BLOB NOT NULL,
  taken  INTEGER NOT NULL,
  at     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER log_closed_keeps_rows BEFORE DELETE ON log_closed
BEGIN SELECT RAISE(ABORT, 'a log stays closed'); END;
CREATE TRIGGER log_closed_keeps_values BEFORE UPDATE ON log_closed
BEGIN SELECT RAISE(ABORT, 'a log stays closed'); END;
"""

RESTORED: Final = "restored"
"""Kind of log entry: the log before this one was closed by a restore. Its hash commits to what `Closed` holds."""

QUIET: Final = 2 * FRESHNESS
"""After a restore nothing is evaluated or answered for so long. Ids that were seen since the backup are forgotten: a
message from before the restore may be dated a minute ahead, and is fresh for another.
"""

_HOUR: Final = 3_600_000
_KEEP_ALL: Final = 48 * _HOUR
"""Checkpoints younger than this (milliseconds) are all kept; of older ones the first of each hour."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a leaf commits to: the kind of message, between whom, its hash, and when (milliseconds) it was logged.

    `requester` and `source` are OINs; empty where the kind of message has none.
    """

    kind: str
    hash: bytes
    at: int
    requester: str = ""
    source: str = ""

    def octets(self) -> bytes:
        """The leaf, as proto/README.md writes it."""
        names = (
            b"bekend/1 entry",
            self.kind.encode("ascii"),
            self.requester.encode("ascii"),
            self.source.encode("ascii"),
        )
        return b"".join(map(lp, names)) + self.hash + i2osp(self.at, 8)

    def leaf(self) -> bytes:
        """The hash of the leaf."""
        return merkle.leaf_hash(self.octets())


class Alarm(NamedTuple):
    """Something that did not agree."""

    id: int
    at: int
    origin: str
    kind: str
    stops: bool
    detail: str
    evidence: bytes
    cleared: bool


class Closed(NamedTuple):
    """A log of this party that ended in a restore: its head as it was put back. Moments in milliseconds.

    `taken`: when the backup was made; `at`: when it was put back. What was logged in between is with others alone.
    """

    origin: str
    size: int
    root: bytes
    taken: int
    at: int

    def hash(self) -> bytes:
        """What the first new entry of the log after it commits to (proto/README.md)."""
        facts = lp(self.origin.encode("ascii")) + i2osp(self.size, 8) + self.root
        return blake(32, b"bekend1-restored", facts + i2osp(self.taken, 8) + i2osp(self.at, 8))


def add_tree(database: "sqlite_utils.Database") -> None:
    """A step of a migration: the tree of a log, over the entries that it has, and the tables beside it."""
    connection = database.conn
    connection.execute("ALTER TABLE log ADD COLUMN requester TEXT NOT NULL DEFAULT ''")
    connection.execute("ALTER TABLE log ADD COLUMN source TEXT NOT NULL DEFAULT ''")
    for statement in statements(TREE_DDL):
        connection.execute(statement)
    size = log_size(connection)
    for first in range(0, size, 1024):
        _grow(connection, first, entries(connection, first, min(first + 1024, size)))


def append(connection: Connection, added: Sequence[Entry]) -> int:
    """Append entries inside a write, beside what they record; returns the index of the first, from 0.

    Raises ValueError for a hash that has not 32 bytes.
    """
    if any(len(entry.hash) != 32 for entry in added):
        raise ValueError("a log entry is a hash of 32 bytes")
    first = log_size(connection)
    connection.executemany(
        "INSERT INTO log (seq, kind, hash, at, requester, source) VALUES (?, ?, ?, ?, ?, ?)",
        [(seq, e.kind, e.hash, e.at, e.requester, e.source) for seq, e in enumerate(added, first + 1)],
    )
    _grow(connection, first, added)
    return first


def append_log(
    connection: Connection, kind: str, entry_hash: bytes, at: int, *, requester: str = "", source: str = ""
) -> int:
    """As `append`, one entry: the 32-byte hash of a message, `at` in milliseconds since 1970-01-01 UTC."""
    return append(connection, [Entry(kind, entry_hash, at, requester, source)])


def log_size(connection: Connection) -> int:
    """How many entries the log has."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0])


def entries(connection: Connection, first: int, end: int) -> list[Entry]:
    """The entries [first, end)."""
    rows = connection.execute(
        "SELECT kind, hash, at, requester, source FROM log WHERE seq > ? AND seq <= ? ORDER BY seq", (first, end)
    )
    return [Entry(*row) for row in rows]


def reader(connection: Connection) -> merkle.Read:
    """The stored hashes of the tree."""

    def read(position: int) -> bytes:
        row = connection.execute("SELECT hash FROM tree WHERE position = ?", (position,)).fetchone()
        return bytes(row[0])

    return read


def span(connection: Connection, since: int, until: int) -> tuple[int, int]:
    """First and end of the entries of a period (milliseconds), with one entry more on either side where there is one.

    The neighbours show that nothing of the period was left out.
    """
    size = log_size(connection)
    first = connection.execute("SELECT min(seq) FROM log WHERE at >= ?", (since,)).fetchone()[0]
    last = connection.execute("SELECT max(seq) FROM log WHERE at < ?", (until,)).fetchone()[0]
    begin = size if first is None else first - 1
    return max(min(begin, last or 0) - 1, 0), min(max(last or 0, begin) + 1, size)


def keep_checkpoint(connection: Connection, size: int, note: bytes, at: int) -> None:
    """Keep an own signed checkpoint, and let go those of before that are not the first of their hour."""
    connection.execute(
        "INSERT INTO checkpoint (size, at, note) VALUES (?, ?, ?) ON CONFLICT (size) DO NOTHING", (size, at, note)
    )
    connection.execute(
        "DELETE FROM checkpoint WHERE at < ? AND EXISTS"
        " (SELECT 1 FROM checkpoint AS c WHERE c.size < checkpoint.size AND c.at / ? = checkpoint.at / ?)",
        (at - _KEEP_ALL, _HOUR, _HOUR),
    )


def newest_checkpoint(connection: Connection) -> tuple[int, bytes] | None:
    """Size and note of the newest own checkpoint."""
    row = connection.execute("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


def checkpoints(connection: Connection, first: int, end: int) -> list[tuple[int, int, bytes]]:
    """Size, time and note of the own checkpoints of these sizes, both ends included."""
    rows = connection.execute(
        "SELECT size, at, note FROM checkpoint WHERE size >= ? AND size <= ? ORDER BY size", (first, end)
    )
    return [(int(size), int(at), bytes(note)) for size, at, note in rows]


def keep_cosignature(connection: Connection, size: int, line: NoteSignature) -> bool:
    """Keep a verified cosignature of an own checkpoint, one of each witness; False when that is no longer kept."""
    if connection.execute("SELECT 1 FROM checkpoint WHERE size = ?", (size,)).fetchone() is None:
        return False
    rows = connection.execute("SELECT key_id FROM cosignature WHERE size = ? AND name = ?", (size, line.name))
    held = [bytes(key) for (key,) in rows.fetchall()]
    if not held:
        row = size, line.name, line.key_id, line.signature
        connection.execute("INSERT INTO cosignature (size, name, key_id, signature) VALUES (?, ?, ?, ?)", row)
        return True
    # In its place, also under another key: else a witness with ever new keys would make the note too long to be read.
    replaced = line.key_id if line.key_id in held else held[0]
    connection.execute(
        "UPDATE cosignature SET key_id = ?, signature = ? WHERE size = ? AND name = ? AND key_id = ?",
        (line.key_id, line.signature, size, line.name, replaced),
    )
    return True


def own_origin(connection: Connection) -> str | None:
    """Under which name this log was signed last; None when it never was, since it began or was put back."""
    found = newest_checkpoint(connection)
    return None if found is None else parse_note(found[1]).text.partition("\n")[0]


def close_log(connection: Connection, origin: str, *, taken: int, at: int) -> Closed:
    """End a log that was put back from a backup of `taken`, at `at` (milliseconds): it goes on under another name.

    The entries stay, as the first ones of the log after it, and the next one says so.
    """
    size = log_size(connection)
    found = Closed(origin, size, merkle.root(size, reader(connection)), taken, at)
    connection.execute("INSERT INTO log_closed VALUES (?, ?, ?, ?, ?)", found)
    connection.execute("DELETE FROM checkpoint")
    append(connection, [Entry(RESTORED, found.hash(), at)])
    return found


def closed(connection: Connection) -> list[Closed]:
    """The own logs that ended in a restore, oldest first."""
    rows = connection.execute("SELECT origin, size, root, taken, at FROM log_closed ORDER BY at, origin")
    return [Closed(origin, size, bytes(root), taken, at) for origin, size, root, taken, at in rows]


def quiet_until(connection: Connection) -> datetime:
    """Before this moment nothing is evaluated or answered: long ago, unless the data was put back a moment ago."""
    last = connection.execute("SELECT max(at) FROM log_closed").fetchone()[0]
    return from_milliseconds(last or 0) + QUIET


def check_origin(connection: Connection, origin: str) -> None:
    """Raise LogError unless this log may be signed under this name."""
    if any(one.origin == origin for one in closed(connection)):
        raise LogError(
            f"the log {origin} was closed by a restore: give `log` in the configuration a name that was never used, "
            "make a manifest and have it signed"
        )
    named = own_origin(connection)
    if named not in {None, origin}:
        raise LogError(f"this database holds the log {named}, the configuration says {origin}: set `log` back")


def cosignatures(connection: Connection, size: int) -> list[NoteSignature]:
    """What witnesses added to an own checkpoint."""
    rows = connection.execute("SELECT name, key_id, signature FROM cosignature WHERE size = ? ORDER BY name", (size,))
    return [NoteSignature(name, bytes(key), bytes(signature)) for name, key, signature in rows]


def seen(connection: Connection) -> dict[str, tuple[Checkpoint, bytes]]:
    """The last checkpoint of each other log, and its note."""
    rows = connection.execute("SELECT origin, size, root, note FROM log_seen")
    return {origin: (Checkpoint(origin, size, bytes(root)), bytes(note)) for origin, size, root, note in rows}


def keep_seen(connection: Connection, checkpoint: Checkpoint, note: bytes, at: int) -> None:
    """Put a checkpoint in the place of the last one seen; a smaller one never replaces a larger."""
    connection.execute(
        "INSERT INTO log_seen (origin, size, root, note, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE SET"
        " size = excluded.size, root = excluded.root, note = excluded.note, at = excluded.at"
        " WHERE excluded.size >= log_seen.size",
        (checkpoint.origin, checkpoint.size, checkpoint.root, note, at),
    )


def forget_seen(connection: Connection, origin: str) -> None:
    """Begin with a log anew: the next checkpoint is taken as it comes."""
    connection.execute("DELETE FROM log_seen WHERE origin = ?", (origin,))


def alarms(connection: Connection, *, open_only: bool = True) -> list[Alarm]:
    """Alarms, oldest first."""
    rows = connection.execute(
        "SELECT a.id, a.at, a.origin, a.kind, a.stops, a.detail, a.evidence, c.id FROM alarm AS a"
        " LEFT JOIN alarm_cleared AS c ON c.id = a.id ORDER BY a.id"
    )
    found = [
        Alarm(number, at, origin, kind, bool(stops), detail, bytes(evidence), cleared is not None)
        for number, at, origin, kind, stops, detail, evidence, cleared in rows
    ]
    return [one for one in found if not (open_only and one.cleared)]


def open_alarms_about(connection: Connection, origin: str) -> int:
    """How many alarms about a log nobody looked into yet."""
    row = connection.execute(
        "SELECT count(*) FROM alarm AS a LEFT JOIN alarm_cleared AS c ON c.id = a.id"
        " WHERE c.id IS NULL AND a.origin = ?",
        (origin,),
    ).fetchone()
    return int(row[0])


def raise_alarm(connection: Connection, alarm: Alarm) -> int:
    """Keep an alarm (its `id` is given here); one that is open already with the same words is not kept twice."""
    row = connection.execute(
        "SELECT a.id FROM alarm AS a LEFT JOIN alarm_cleared AS c ON c.id = a.id"
        " WHERE c.id IS NULL AND a.origin = ? AND a.kind = ? AND a.detail = ?",
        (alarm.origin, alarm.kind, alarm.detail),
    ).fetchone()
    if row is not None:
        return int(row[0])
    connection.execute(
        "INSERT INTO alarm (at, origin, kind, stops, detail, evidence) VALUES (?, ?, ?, ?, ?, ?)",
        (alarm.at, alarm.origin, alarm.kind, alarm.stops, alarm.detail, alarm.evidence),
    )
    return int(connection.execute("SELECT max(id) FROM alarm").fetchone()[0])


def clear_alarm(connection: Connection, number: int, *, at: int, by: str, reason: str) -> None:
    """Put on the record that somebody looked into an alarm, and that it no longer stops anything."""
    connection.execute("INSERT INTO alarm_cleared (id, at, by, reason) VALUES (?, ?, ?, ?)", (number, at, by, reason))


def _grow(connection: Connection, first: int, added: Iterable[Entry]) -> None:
    """The tree's hashes of these entries, the first of which has index `first`."""
    stored = reader(connection)
    fresh: dict[int, bytes] = {}

    def read(position: int) -> bytes:
        return fresh[position] if position in fresh else stored(position)

    place = merkle.stored(first)
    for index, entry in enumerate(added, first):
        for value in merkle.completed(index, entry.leaf(), read):
            fresh[place] = value
            place += 1
    connection.executemany("INSERT INTO tree (position, hash) VALUES (?, ?)", fresh.items())
