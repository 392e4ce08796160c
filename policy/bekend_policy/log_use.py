"""What a log may be read for: a closed list (FG-30), and the days that a reading is about."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from bekend_proto.clock import day_end, day_start, milliseconds
from bekend_proto.errors import RefusedError

from bekend_policy.model import Covenant

INTERNAL_CONTROL: Final = "interne controle"
LAWFUL: Final = ("rechtmatigheidscontrole", INTERNAL_CONTROL, "beveiliging", "gerechtelijke procedure")
"""WGS 1.8(4): what the record of disclosures is for, and nothing else."""

LONGEST: Final = 3_653
"""Days that one reading is about, at most: ten years, more than any log is kept."""


def uses(covenant: Covenant) -> tuple[str, ...]:
    """The purposes for which this covenant lets a log be read: its `gebruik_log`, never more than the law's four."""
    general = covenant.agreement.general
    return LAWFUL if general is None else tuple(one for one in LAWFUL if one in general.log_use)


def check_use(covenant: Covenant, used_for: str) -> str:
    """The purpose as it is recorded. Raises RefusedError (rule FG-30) for any other: no statistics, no supervision."""
    known = uses(covenant)
    if used_for not in known:
        raise RefusedError("FG-30", f"Het logboek wordt alleen gelezen voor: {', '.join(known)}.")
    return used_for


@dataclass(frozen=True, slots=True)
class Days:
    """Days in Europe/Amsterdam, both included."""

    first: date
    last: date

    @property
    def span(self) -> tuple[int, int]:
        """As milliseconds: the first moment, and the first moment after it."""
        return milliseconds(day_start(self.first)), milliseconds(day_end(self.last))

    def each(self) -> list["Days"]:
        """Day by day, so that a long period is not read at once.

        Raises RefusedError when it ends before it begins, or is longer than any log is kept.
        """
        if self.last < self.first:
            raise RefusedError("periode", "De laatste dag ligt voor de eerste.")
        count = (self.last - self.first).days + 1
        if count > LONGEST:
            raise RefusedError("periode", "De periode is langer dan tien jaar: controleer de eerste en de laatste dag.")
        days = (self.first + timedelta(days=number) for number in range(count))
        return [Days(day, day) for day in days]
