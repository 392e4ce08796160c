"""Budgets as they are counted: persons on a day, per requester and budget."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from bekend_proto.sql import Connection

_KEEP_DAYS: Final = timedelta(days=8)
"""How long the counts of a day outlive it: for the operator's report, not for the budget."""


@dataclass(frozen=True, slots=True)
class Account:
    """One requester's count of one budget on one day."""

    day: date
    requester: str
    budget: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Its row."""
        return self.day.isoformat(), self.requester, self.budget


def spend(connection: Connection, account: Account, count: int, limit: int) -> bool:
    """Count `count` on a day's budget, unless that would exceed `limit`; says whether it was counted."""
    if count > limit:
        return False
    cursor = connection.execute(
        "INSERT INTO spent (day, requester, budget, count) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (day, requester, budget) DO UPDATE SET count = spent.count + excluded.count"
        " WHERE spent.count + excluded.count <= ?",
        (*account.key, count, limit),
    )
    return cursor.rowcount == 1


def give_back(connection: Connection, account: Account, count: int) -> None:
    """Take `count` off a day's budget again."""
    connection.execute(
        "UPDATE spent SET count = count - ? WHERE day = ? AND requester = ? AND budget = ? AND count >= ?",
        (count, *account.key, count),
    )


def forget_days(connection: Connection, day: date) -> None:
    """Remove the counts of days long past."""
    connection.execute("DELETE FROM spent WHERE day < ?", ((day - _KEEP_DAYS).isoformat(),))


def spent_on(connection: Connection, day: date) -> dict[tuple[str, str], int]:
    """Persons counted on a day, per requester and budget."""
    rows = connection.execute("SELECT requester, budget, count FROM spent WHERE day = ?", (day.isoformat(),)).fetchall()
    return {(requester, budget): count for requester, budget, count in rows}
