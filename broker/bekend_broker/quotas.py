"""Budgets: how much a requester may ask and a node may enrol. Each is charged in the transaction that logs the act.

    one person in one Begin     per requester and purpose, and per requester over all purposes, a day (Amsterdam)
    one person, asked to itself 24 per purpose a day: the canary's sole budget (protocol section 7)
    one element enrolled        per node, purpose and register: two full imports a month, each a quarter above the
                                stated size; changes a day at most max(64, 5 %) (protocol section 5)

The broker limits the whole organisation; the requester's own node limits each officer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from bekend_policy.model import Covenant
from bekend_proto.clock import day_of, month_of
from bekend_proto.epochs import quarter_of
from bekend_proto.errors import BudgetError, StaleError
from bekend_proto.sql import Connection
from bekend_proto.v1.signed_pb2 import ENROLMENT_KIND_FULL

from bekend_broker import store_imports
from bekend_broker.metrics import ALL
from bekend_broker.store_budgets import Account, forget_days, give_back, spend
from bekend_broker.store_imports import ImportId, ImportRow

CANARY_A_DAY = 24
FULL_IMPORTS_A_MONTH = 2
CHUNK = 1024
"""Elements in a chunk of an import."""
SPARE_CHUNKS = 4
"""Chunks above the size that one import may lose to interruptions: as many as are in flight."""
CHANGES_FLOOR = 64

_TOTAL = "*"
"""Budget over all purposes; no purpose id reads so."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, for which purpose, on which day (Amsterdam)."""

    requester: str
    purpose: str
    day: date

    @property
    def for_purpose(self) -> Account:
        """The budget of this purpose."""
        return Account(self.day, self.requester, self.purpose)

    @property
    def in_all(self) -> Account:
        """The budget over all purposes."""
        return Account(self.day, self.requester, _TOTAL)

    @property
    def canary(self) -> Account:
        """The budget for questions to itself."""
        return Account(self.day, self.requester, f"{self.purpose} kanarie")


def charge_begin(connection: Connection, covenant: Covenant, asker: Asker, persons: int) -> None:
    """Count the persons of a Begin. Raises BudgetError when a budget is used up; undo what was counted then."""
    forget_days(connection, asker.day)
    who, when = asker.requester, f"on {asker.day}: wait until tomorrow"
    limit = covenant.purposes[asker.purpose].limits.per_organisation
    if not spend(connection, asker.for_purpose, persons, limit):
        raise BudgetError(f"{who} has used up its {limit} persons for {asker.purpose} {when}")
    total = covenant.totals.per_organisation
    if not spend(connection, asker.in_all, persons, total):
        raise BudgetError(f"{who} has used up its {total} persons over all purposes {when}")


def return_begin(connection: Connection, asker: Asker, persons: int) -> None:
    """Take the persons of a Begin off again: it asked about a canary only, which has a budget of its own."""
    give_back(connection, asker.for_purpose, persons)
    give_back(connection, asker.in_all, persons)


def charge_canary(connection: Connection, asker: Asker, persons: int) -> None:
    """Count a question of an organisation to itself. Raises BudgetError above 24 a day and purpose."""
    if not spend(connection, asker.canary, persons, CANARY_A_DAY):
        raise BudgetError(f"{asker.requester} has asked itself {CANARY_A_DAY} times for {asker.purpose} on {asker.day}")


@dataclass(frozen=True, slots=True)
class Import:
    """An import that a node has opened, and the size that its manifest states for the register."""

    name: ImportId
    epoch: str
    kind: int
    stated: int

    @property
    def full(self) -> bool:
        """Whether a whole register is imported, not a day's changes."""
        return self.kind == ENROLMENT_KIND_FULL

    @property
    def limit(self) -> int:
        """Elements: of this one import when it is full, of all changes of a day otherwise."""
        if self.full:
            return (-(-self.stated * 5 // (4 * CHUNK)) + SPARE_CHUNKS) * CHUNK
        return max(CHANGES_FLOOR, self.stated // 20)

    def charge(self, connection: Connection, elements: int, now: datetime) -> int:
        """Count elements before they are evaluated; gives how many are left. With 0 it only says what is left.

        Raises BudgetError when they are not left, StaleError when the id was used for another epoch or kind.
        """
        row = store_imports.find_import(connection, self.name)
        if row is not None and (row.epoch, row.kind) != (self.epoch, self.kind):
            raise StaleError("this import id was used for another epoch or kind: begin a new import")
        period = row.period if row else self._period(now)
        count, together = store_imports.imports_in(connection, self.name, self.kind, period)
        if row is None and self.full and count >= FULL_IMPORTS_A_MONTH:
            raise BudgetError(f"{self._what()} had its {FULL_IMPORTS_A_MONTH} full imports of {period}")
        spent = together if not self.full else row.spent if row else 0
        if spent + elements > self.limit:
            raise BudgetError(f"{self._what()} may have {self.limit} elements evaluated, {spent} are used up")
        if elements:
            if row is None:
                store_imports.begin_import(connection, self.name, ImportRow(self.epoch, self.kind, period, 0), now)
            store_imports.spend_import(connection, self.name, elements)
        return self.limit - spent - elements

    def _period(self, now: datetime) -> str:
        """What an import counts in. Keys that were renewed within a quarter ask all lists anew: they count apart."""
        period = month_of(now) if self.full else day_of(now).isoformat()
        return period if quarter_of(self.epoch) == self.epoch else f"{period} {self.epoch}"

    def _what(self) -> str:
        return f"register {self.name.register} of {self.name.source} for {self.name.purpose}"


def shares(spent: Mapping[tuple[str, str], int], covenant: Covenant) -> dict[str, float]:
    """Per purpose, and ALL, the largest share of a day's budget that a requester has used: whose stays here."""
    limits = {purpose: terms.limits.per_organisation for purpose, terms in covenant.purposes.items()}
    found = dict.fromkeys((*limits, ALL), 0.0)
    for (_, budget), count in spent.items():
        purpose = ALL if budget == _TOTAL else budget
        limit = covenant.totals.per_organisation if budget == _TOTAL else limits.get(budget)
        if limit:
            found[purpose] = max(found[purpose], count / limit)
    return found
