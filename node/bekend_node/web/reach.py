"""When each partner of a purpose would answer: looked at when the form opens, before a person is named.

filter at hand, by machine      antwoordt direct
filter at hand, by hand         antwoordt uiterlijk ...
no line to the partner          onbereikbaar sinds ...: when this node first noticed, in memory alone
no usable filter                kan nu niet antwoorden
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bekend_policy.model import Purpose, Requester, Source
from bekend_policy.words import Mode
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, RefusedError, code_name
from bekend_proto.v1 import errors_pb2 as codes

from bekend_node.ask.asker import Asker
from bekend_node.ask.opening import expectations, is_open
from bekend_node.ask.rules import OfficerRef

OPEN_SECONDS: Final = 1.5
"""How long the form waits for a partner: what comes later is shown as under way."""

_AWAY: Final = frozenset({code_name(codes.ERROR_CODE_UNREACHABLE), code_name(codes.ERROR_CODE_DEADLINE)})


@dataclass(frozen=True, slots=True)
class When:
    """A key of the texts, and the values that go into it."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)


class Reach:
    """Looks at the partners. One per node: who could not be reached is remembered until it can be."""

    def __init__(self, asker: Asker, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock
        self._away: dict[str, datetime] = {}
        self._looking: set[asyncio.Task[When]] = set()

    async def of(
        self, purpose: Purpose, sources: Mapping[str, Source], officer: OfficerRef, principals: Sequence[str | None]
    ) -> dict[str, When]:
        """Per source of the purpose what is known of it now, or within OPEN_SECONDS.

        `principals`: for whom may be asked. A source is looked at for the first of these for which it may be asked.
        """
        found = {oin: _unasked(one) for oin, one in sources.items()}
        openable: dict[str, str | None] = {}
        for principal in principals:
            with contextlib.suppress(RefusedError):
                for oin in self._asker.openable(purpose.id, tuple(sources), principal, officer.role):
                    openable.setdefault(oin, principal)
        looking = {self._begin(purpose.id, oin, principal): oin for oin, principal in openable.items()}
        if looking:
            done, _ = await asyncio.wait(looking, timeout=OPEN_SECONDS)
            found |= {oin: task.result() if task in done else When("partner.onderweg") for task, oin in looking.items()}
        return found

    def warm(self, purpose: str, sources: Sequence[str], principal: str | None) -> None:
        """Begin to fetch what is not at hand, without waiting for it."""
        for oin in sources:
            if not is_open(self._asker.asking(), self._asker.shelf, purpose, oin):
                self._begin(purpose, oin, principal)

    def _begin(self, purpose: str, oin: str, principal: str | None) -> "asyncio.Task[When]":
        task = asyncio.create_task(self._look(purpose, oin, principal))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)
        return task

    async def _look(self, purpose: str, oin: str, principal: str | None) -> When:
        try:
            code = (await self._asker.open_purpose(purpose, [oin], principal))[oin]
        except BekendError as fault:
            code = code_name(fault.code)
        if code in _AWAY:
            return When("partner.onbereikbaar", {"moment": self._away.setdefault(oin, self._clock.now())})
        self._away.pop(oin, None)
        if code is not None:
            return When("partner.niet_klaar")
        expected = (await expectations(self._asker.asking(), self._asker.shelf, purpose, [oin]))[oin]
        if expected["until"] is None:
            return When("partner.direct")
        return When("partner.uiterlijk", {"moment": expected["until"]})


def principals_of(requester: Requester) -> tuple[str | None, ...]:
    """For whom this organisation may ask: itself (None) first, then each that it may ask on behalf of."""
    return (*((None,) if requester.for_itself else ()), *sorted(requester.on_behalf_of))


def _unasked(source: Source) -> When:
    if source.mode is Mode.NEVER:
        return When("partner.nooit", {"reden": source.reason or ""})
    return When("partner.niet_nu")
