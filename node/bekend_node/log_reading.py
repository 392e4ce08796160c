"""Reading this node's log in the forms of the standards: on the record, for a lawful purpose, by who may."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, Literal

from bekend_policy.bulletin import Bulletin, Quarter
from bekend_policy.decision_log import decision_records
from bekend_policy.log_use import Days, check_use
from bekend_policy.model import Covenant
from bekend_policy.processing_log import access_record, answered_records, import_record, lookup_records
from bekend_proto import logs, trace
from bekend_proto.clock import Clock, milliseconds
from bekend_proto.errors import RefusedError
from bekend_proto.read_table import LogRead

from bekend_node.bulletin import make_bulletin
from bekend_node.config import LogReader
from bekend_node.store_decisions import Decisions
from bekend_node.store_registers import Registers

Form = Literal["ldv", "adl", "reads"]
Record = dict[str, Any]
BULLETIN: Final = "kwartaalbulletin"
"""What a count is recorded as being for: reporting on the processing as a whole (WGS 1.7(4), 1.12). It shows no row."""


class LogReading:
    """Serves readings. Nothing is shown before the reading itself is durable."""

    def __init__(
        self,
        decisions: Decisions,
        registers: Registers,
        covenant: Callable[[], Covenant],
        oin: str,
        *,
        readers: Sequence[LogReader],
        clock: Clock,
    ) -> None:
        self._decisions = decisions
        self._registers = registers
        self._covenant = covenant
        self._oin = oin
        self._readers = {one.user for one in readers}
        self._clock = clock

    async def read(
        self, user: str, form: Form, days: Days, used_for: str, *, trace_id: str = ""
    ) -> AsyncIterator[list[Record]]:
        """The records of these days, a day at a time; with a trace id, those of that trace.

        Raises RefusedError (FG-30: not this user, not for this; periode), StorageError.
        """
        self._check(user)
        single = days.each()
        purpose = check_use(self._covenant(), used_for)
        first, until = days.span
        await self._decisions.keep_read(
            LogRead(milliseconds(self._clock.now()), user, form, purpose, first, until, trace_id)
        )
        logs.log(logs.LOG_READ, user=user, form=form, used_for=purpose)
        make = {"ldv": self._ldv, "adl": self._adl, "reads": self._reads}[form]
        for day in single:
            found = await asyncio.to_thread(_all, make, day.span)
            yield [one for one in found if trace_id in {"", one.get("trace_id")}]

    async def bulletin(self, user: str, quarter: Quarter) -> Bulletin:
        """The protected counts of a quarter that is over. Counting is a reading of the log, and on the record as one.

        Raises RefusedError (FG-30: not this user; kwartaal), StorageError.
        """
        self._check(user)
        now = self._clock.now()
        quarter.check_over(now)
        first, until = quarter.days.span
        await self._decisions.keep_read(LogRead(milliseconds(now), user, "bulletin", BULLETIN, first, until))
        logs.log(logs.LOG_READ, user=user, form="bulletin", used_for=BULLETIN)
        return await asyncio.to_thread(make_bulletin, self._decisions, self._covenant(), self._oin, quarter)

    def _check(self, user: str) -> None:
        if user not in self._readers:
            raise RefusedError("FG-30", f"De gebruiker '{user}' staat niet bij 'log_readers' in node.yaml.")

    def _adl(self, first: int, until: int) -> Iterator[Record]:
        for one, _ in self._decisions.own(first, until):
            yield from decision_records(one, trace.REQUESTER, self._oin)
        for one in self._decisions.of_others(first, until):
            yield from decision_records(one, trace.SOURCE, self._oin)

    def _ldv(self, first: int, until: int) -> Iterator[Record]:
        for one, ended in self._decisions.own(first, until):
            yield from lookup_records(one, self._oin, ended)
        broker = self._covenant().broker_oin
        for one in self._decisions.of_others(first, until):
            yield from answered_records(one, self._oin, broker)
        for entry, at in self._decisions.exports(first, until):
            yield access_record(self._oin, entry, at, trace.SOURCE)
        for it in self._registers.imported_between(first, until):
            yield import_record(
                oin=self._oin, trace_id=it.import_id, register=it.register, purpose=it.purpose, at=it.at, full=it.full
            )

    def _reads(self, first: int, until: int) -> Iterator[Record]:
        for one in self._decisions.reads(first, until):
            yield {
                "at": one.at,
                "user": one.user,
                "log": one.log,
                "used_for": one.used_for,
                "first": one.first,
                "until": one.until,
                "trace_id": one.detail,
            }


def _all(make: Callable[[int, int], Iterator[Record]], span: tuple[int, int]) -> list[Record]:
    return list(make(*span))
