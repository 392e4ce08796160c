"""Reading misuse signals: by who may read the log, on the record, for internal control (FG-19, FG-30)."""

from collections.abc import Callable, Sequence
from typing import Any

from bekend_policy.log_use import INTERNAL_CONTROL, Days, check_use
from bekend_policy.model import Covenant
from bekend_proto import logs
from bekend_proto.clock import AMSTERDAM, Clock, from_milliseconds, milliseconds
from bekend_proto.errors import RefusedError
from bekend_proto.read_table import LogRead

from bekend_node.ask.emergency import Emergencies
from bekend_node.config import LogReader
from bekend_node.store_decisions import Decisions
from bekend_node.store_signals import Signal, SignalStore

FORM = "signals"
EMERGENCY_FORM = "emergencies"


class SignalReading:
    """Serves readings. Nothing is shown before the reading itself is durable."""

    def __init__(
        self,
        signals: SignalStore,
        decisions: Decisions,
        covenant: Callable[[], Covenant],
        *,
        readers: Sequence[LogReader],
        clock: Clock,
    ) -> None:
        self._signals = signals
        self._decisions = decisions
        self._covenant = covenant
        self._readers = {one.user for one in readers}
        self._clock = clock

    async def read(self, user: str, days: Days) -> list[dict[str, Any]]:
        """The signals of these days. Raises RefusedError (FG-30: not this user; periode), StorageError."""
        await self._on_record(user, FORM, days)
        return [to_json(one) for one in self._signals.between(days.first, days.last)]

    async def listed(self, user: str, days: Days) -> list[int]:
        """Which signals there are of these days: for who opens some of them. Raises as `read` does."""
        await self._on_record(user, FORM, days)
        return self._signals.numbers(days.first, days.last)

    def opened(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """These of what was listed."""
        return [to_json(one) for one in self._signals.opened(numbers)]

    async def emergencies(self, user: str, days: Days, of: Emergencies) -> list[int]:
        """Which noodgrepen there are of these days, and which wait for a review, the newest first. Raises as `read`."""
        await self._on_record(user, EMERGENCY_FORM, days)
        return of.listed(*(from_milliseconds(one) for one in days.span))

    async def _on_record(self, user: str, form: str, days: Days) -> None:
        """The reading itself, durable. Raises RefusedError when this user may not read, StorageError."""
        if user not in self._readers:
            raise RefusedError("FG-30", f"De gebruiker '{user}' staat niet bij 'log_readers' in node.yaml.")
        if days.last < days.first:
            raise RefusedError("periode", "De laatste dag ligt voor de eerste.")
        used_for = check_use(self._covenant(), INTERNAL_CONTROL)
        await self._decisions.keep_read(LogRead(milliseconds(self._clock.now()), user, form, used_for, *days.span))
        logs.log(logs.LOG_READ, user=user, form=form, used_for=used_for)


def to_json(one: Signal) -> dict[str, Any]:
    """A signal as JSON values."""
    return {
        "number": one.number,
        "day": one.day.isoformat(),
        "kind": one.kind,
        "officer": one.officer,
        "case": one.case,
        "times": one.times,
        "last": from_milliseconds(one.last).astimezone(AMSTERDAM).isoformat(timespec="minutes"),
    }
