"""The newest of what is signed off line, as it was seen: an older one is refused, also after a restart."""

from bekend_proto.incarnation import Incarnation
from bekend_proto.sql import Connection


def all_manifests(connection: Connection) -> dict[str, tuple[int, bytes]]:
    """Number and note of the newest manifest of each OIN that was ever accepted."""
    rows = connection.execute("SELECT oin, number, note FROM manifest").fetchall()
    return {oin: (number, note) for oin, number, note in rows}


def all_suspensions(connection: Connection) -> list[bytes]:
    """The newest note of each signer about each thing."""
    return [bytes(row[0]) for row in connection.execute("SELECT note FROM suspension").fetchall()]


def newest_manifest(connection: Connection, oin: str) -> tuple[int, bytes] | None:
    """Number and note of the newest manifest of an OIN, or None."""
    row = connection.execute("SELECT number, note FROM manifest WHERE oin = ?", (oin,)).fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


def keep_manifest(connection: Connection, oin: str, number: int, note: bytes) -> None:
    """Remember a manifest as the newest of its OIN."""
    connection.execute(
        "INSERT INTO manifest (oin, number, note) VALUES (?, ?, ?)"
        " ON CONFLICT (oin) DO UPDATE SET number = excluded.number, note = excluded.note",
        (oin, number, note),
    )


def newest_suspension(connection: Connection, key: tuple[str, str, str, str]) -> tuple[int, bytes] | None:
    """Number and note of the newest suspension under this key, or None."""
    row = connection.execute(
        "SELECT number, note FROM suspension WHERE covenant = ? AND signer = ? AND what = ? AND about = ?", key
    ).fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


def keep_suspension(connection: Connection, key: tuple[str, str, str, str], number: int, note: bytes) -> None:
    """Remember a suspension or withdrawal as the newest under its key."""
    connection.execute(
        "INSERT INTO suspension (covenant, signer, what, about, number, note) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (covenant, signer, what, about) DO UPDATE SET number = excluded.number, note = excluded.note",
        (*key, number, note),
    )


def incarnations(connection: Connection) -> dict[str, Incarnation]:
    """The newest machine of each node that ever attached."""
    rows = connection.execute("SELECT oin, number, instance FROM incarnation").fetchall()
    return {oin: Incarnation(int(number), instance, oin) for oin, number, instance in rows}


def keep_incarnation(connection: Connection, it: Incarnation) -> None:
    """Remember a machine as the newest of its node."""
    connection.execute(
        "INSERT INTO incarnation (oin, number, instance) VALUES (?, ?, ?)"
        " ON CONFLICT (oin) DO UPDATE SET number = excluded.number, instance = excluded.instance",
        (it.oin, it.number, it.instance),
    )


def keep_covenant(connection: Connection, covenant_id: str, version: int) -> None:
    """Remember the version of a covenant that comes into service."""
    connection.execute(
        "INSERT INTO covenant (id, version) VALUES (?, ?)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version WHERE excluded.version > covenant.version",
        (covenant_id, version),
    )


def newest_covenant(connection: Connection, covenant_id: str) -> int:
    """The highest version of a covenant that ever served here; 0 for none."""
    row = connection.execute("SELECT version FROM covenant WHERE id = ?", (covenant_id,)).fetchone()
    return int(row[0]) if row else 0
