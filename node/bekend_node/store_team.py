"""Who of the own organisation works on a case, and whom a mail is still to tell that something waits, in `node.db`.

member        who signed in with a role, and the address that the provider gave: none has to stand in node.yaml
case_member   who works on a case (a keyed hash) beside the officer who asked, and who said so
to_be_told    officers whom something waits for, per purpose: no case, no partner and no outcome

The last is written in the transaction that writes down what came: no fault of mail, and no restart, loses it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sqlite3 import Connection

from bekend_proto.durable import Database

DDL = """
CREATE TABLE member (
  user TEXT PRIMARY KEY, name TEXT NOT NULL, roles TEXT NOT NULL, mail TEXT NOT NULL, seen INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE case_member (
  case_tag TEXT NOT NULL, user TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (case_tag, user)
) WITHOUT ROWID;
CREATE INDEX case_member_of ON case_member (user);
CREATE TABLE to_be_told (
  user TEXT NOT NULL, purpose TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (user, purpose)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody of the own organisation, with the roles of node.yaml or of the last sign-in. `mail` may be empty."""

    user: str
    name: str
    roles: frozenset[str]
    mail: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """Something waits for the officer who asked under this purpose, and for all who work on the case."""

    case_tag: str
    officer: str
    purpose: str


class TeamStore:
    """The rows. Moments are milliseconds since 1970. Every write is durable when it returns; or StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def signed_in(self, one: Member, at: int) -> None:
        """Somebody signed in: what was known of this person before is replaced."""
        row = (one.user, one.name, json.dumps(sorted(one.roles)), one.mail, at)
        await self._database.write(lambda conn: conn.execute("REPLACE INTO member VALUES (?, ?, ?, ?, ?)", row))

    def all(self) -> list[Member]:
        """Who has signed in."""
        rows = self._database.read(lambda conn: conn.execute("SELECT user, name, roles, mail FROM member").fetchall())
        return [Member(user, name, frozenset(json.loads(roles)), mail) for user, name, roles, mail in rows]

    async def add(self, case_tag: str, user: str, by: str, at: int) -> None:
        """Somebody works on a case from now on."""
        row = (case_tag, user, by, at)
        await self._database.write(
            lambda conn: conn.execute("INSERT INTO case_member VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
        )

    async def remove(self, case_tag: str, user: str) -> None:
        """And no longer."""
        await self._database.write(
            lambda conn: conn.execute("DELETE FROM case_member WHERE case_tag = ? AND user = ?", (case_tag, user))
        )

    def on_case(self, case_tag: str) -> list[str]:
        """Users who were added to a case."""
        return self._users("SELECT user FROM case_member WHERE case_tag = ? ORDER BY at, user", case_tag)

    def cases_of(self, user: str) -> frozenset[str]:
        """The cases (keyed hashes) that a user was added to."""
        return frozenset(self._users("SELECT case_tag FROM case_member WHERE user = ?", user))

    async def forget_case(self, case_tag: str) -> None:
        """The case was not taken in."""
        await self._database.write(lambda conn: conn.execute("DELETE FROM case_member WHERE case_tag = ?", (case_tag,)))

    async def forget(self, before: int) -> None:
        """Who has not signed in since then, and who was added to a case before it."""

        def write(conn: Connection) -> None:
            conn.execute("DELETE FROM member WHERE seen < ?", (before,))
            conn.execute("DELETE FROM case_member WHERE at < ?", (before,))

        await self._database.write(write)

    async def wait(self, waits: Iterable[Waits], at: int) -> None:
        """Something waits."""
        found = list(waits)

        def write(conn: Connection) -> None:
            for one in found:
                note_waits(conn, one, at)

        await self._database.write(write)

    def to_be_told(self) -> dict[str, frozenset[str]]:
        """Whom something waits for, and under which purposes."""
        rows = self._database.read(lambda conn: conn.execute("SELECT user, purpose FROM to_be_told").fetchall())
        return {user: frozenset(purpose for it, purpose in rows if it == user) for user, _ in rows}

    async def told(self, user: str, purposes: Sequence[str] | frozenset[str]) -> None:
        """A mail was taken for this user, or the user looked."""
        rows = [(user, purpose) for purpose in purposes]
        await self._database.write(
            lambda conn: conn.executemany("DELETE FROM to_be_told WHERE user = ? AND purpose = ?", rows)
        )

    def _users(self, query: str, value: str) -> list[str]:
        return [user for (user,) in self._database.read(lambda conn: conn.execute(query, (value,)).fetchall())]


def note_waits(conn: Connection, one: Waits, at: int) -> None:
    """Write in the transaction under way that something waits for all who work on the case."""
    conn.execute(
        "INSERT INTO to_be_told SELECT user, ?, ? FROM"
        " (SELECT user FROM case_member WHERE case_tag = ? AND case_tag <> '' UNION SELECT ?)"
        " WHERE TRUE ON CONFLICT DO NOTHING",
        (one.purpose, at, one.case_tag, one.officer),
    )
