"""Stopping a purpose here until its next switch, so that somebody can be shielded at once (FG-36).

    halt ------> geen antwoord to every question, naming and collect under this purpose
     |               |
     | shield        | next switch, at its fixed moment: a filter built since
     v               v
    afgeschermd      answers again, without who was shielded

Whoever asks sees a fault like another: not why, nor about whom. The own privacy officer and operator may do it; it is
on the record with who and why, and holds over a restart. A suspension (`suspending.py`) is for anything that lasts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bekend_policy.justification import check_reason
from bekend_proto import logs
from bekend_proto.clock import Clock, milliseconds
from bekend_proto.errors import RefusedError

from bekend_node.filters import Filters
from bekend_node.rules import Rules
from bekend_node.store_filters import HaltRow, KeptFilters


@dataclass(frozen=True)
class Halting:
    """Halts purposes that this node answers."""

    filters: Filters
    kept: KeptFilters
    rules: Callable[[], Rules]
    clock: Clock

    async def halt(self, purpose: str, reason: str, by: str) -> datetime | None:
        """Answer nothing under a purpose until its next switch; gives that moment, None before the first filter.

        Again while it is halted: what was built meanwhile is built anew. Raises RefusedError (rule, Dutch reason), and
        StorageError: then it is halted, until a restart at the longest.
        """
        if purpose not in self.rules().answered():
            raise RefusedError("onbekend-doel", "Onder dit doel antwoordt uw organisatie niet.")
        why = check_reason(reason, "stilzetten")
        version = await self.filters.halt(purpose)
        if version > self.kept.halts().get(purpose, -1):
            at = milliseconds(self.clock.now())
            await self.kept.halt(HaltRow(at, purpose, version, by, why))
            logs.log(logs.PURPOSE_HALTED, purpose=purpose, version=version, by=by)
        return self.until(purpose)

    def until(self, purpose: str) -> datetime | None:
        """When a purpose switches next; None before its first filter."""
        seconds = self.filters.answers_again(purpose)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    def halted(self) -> dict[str, datetime | None]:
        """The purposes that are halted now, and until when."""
        return {one: self.until(one) for one in self.rules().answered() if self.filters.is_halted(one)}
