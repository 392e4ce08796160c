"""A source's filter, over the first replica that works: what the shelf calls when it has none at hand."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, RefusedError, UnreachableError
from bekend_proto.v1 import broker_pb2

from bekend_node.ask import fetch
from bekend_node.ask.asking import Asking
from bekend_node.ask.broker_line import BrokerLine, patience_beside
from bekend_node.ask.filters_held import Expected, HeldFilter
from bekend_node.classes import FilterId, name_of

AT_ONCE: Final = 48
"""Filters on their way to this node: fewer than a broker lets one requester have (`fetches_per_requester`)."""


@dataclass(frozen=True)
class Fetching:
    """Fetches filters in the name of this node; `in_order` gives the replicas, the likeliest to answer first."""

    asking: Callable[[], Asking]
    in_order: Callable[[Collection[str]], Sequence[BrokerLine]]
    clock: Clock
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def fetch(self, id_: FilterId, source: str, on_behalf_of: str | None) -> HeldFilter:
        """The filter of a source that the covenant lets this node ask, verified.

        Raises RefusedError when it does not, or something is suspended; UnreachableError when no replica works; what
        `fetch.receive` raises for a filter that is not as it should be.
        """
        async with self.places:
            return await self._fetch(id_, source, on_behalf_of)

    async def _fetch(self, id_: FilterId, source: str, on_behalf_of: str | None) -> HeldFilter:
        asking, purpose = self.asking(), id_.purpose
        asking.heads.check()
        expected = self._expected(asking, id_, source)
        asking.suspensions.check(
            asking.covenant, purpose, self.clock.now(), requester=asking.oin, source=source, principal=on_behalf_of
        )
        manifest = await asking.manifest_of(source)
        last: BekendError = UnreachableError("no replica of the broker can be reached")
        lines = self.in_order([source])
        for number, line in enumerate(lines, start=1):
            if not await line.ready():
                continue
            order = fetch.make_order(
                asking.key,
                asking.oin,
                expected,
                manifest_number=asking.manifest.number,
                on_behalf_of=on_behalf_of,
                now=self.clock.now(),
            )
            pieces = line.fetch(broker_pb2.FetchRequest(order=order.signed), fetch.FETCH_SECONDS)
            first_within = patience_beside(lines[number:], fetch.FETCH_SECONDS)
            try:
                held = await fetch.receive(
                    pieces, order, manifest.signing_keys, expected, now=self.clock.now(), first_within=first_within
                )
            except (UnreachableError, fetch.NothingCameError) as error:
                last = error
                continue
            tags = len(held.tags) if held.tags is not None else 0
            kinds = name_of(id_.kind_class)
            logs.log(logs.FILTER_HELD, source=source, purpose=purpose, kinds=kinds, version=held.version, tags=tags)
            return held
        raise last

    @staticmethod
    def _expected(asking: Asking, id_: FilterId, source: str) -> Expected:
        purpose, kind_class = id_
        terms = asking.covenant.sources(purpose).get(source)
        if terms is None or not terms.kinds_of(kind_class):
            raise RefusedError("geen-bron", "Deze partner beantwoordt dit doel niet.")
        return Expected(
            source,
            purpose,
            asking.covenant.hash,
            terms.max_list_age,
            kind_class,
            mode=terms.mode_of(kind_class),
            interval=asking.covenant.interval_of(purpose),
        )
