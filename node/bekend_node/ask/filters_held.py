"""The closed filters that this node holds: fetched when an officer opens a purpose, before a person is named.

Per purpose, source and class of identifier it keeps the current version and, for ten seconds after a switch, the
previous one, in memory only (protocol section 6). Without the source's own multiplication by `m` they are noise. A
source that answers by hand publishes the header alone: it says under which `M` the source evaluates, and for how long.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from bekend_policy.terms import Mode
from bekend_proto.clock import FRESHNESS, Clock
from bekend_proto.epochs import is_served, quarter_of
from bekend_proto.errors import (
    BekendError,
    CovenantError,
    DeadlineError,
    KeysError,
    MalformedError,
    NotReadyError,
    StaleError,
)
from bekend_proto.filter import ClosedFilter, body_hash, class_of_filter, m_hash, size_class
from bekend_proto.group import decode_element
from bekend_proto.identifiers import CERTAIN_KINDS, POSSIBLE_KINDS
from bekend_proto.v1 import signed_pb2

from bekend_node.classes import CERTAIN, FilterId, KindClass
from bekend_node.schedule import LONGEST_INTERVAL, interval_of

WAIT_SECONDS: Final = 5.0
"""How long a lookup, or an officer who opens a purpose, waits for a filter."""
KEEP_PREVIOUS: Final = timedelta(seconds=10)
MAXIMUM_TAGS: Final = 1024 << 14
"""16.8 million tags, 128 MiB: above that a source is not believed."""
_NO_TAGS: Final = body_hash(b"")


@dataclass(frozen=True, slots=True)
class HeldFilter:
    """One version of one source's filter for one purpose, verified. `m` is the element M, 32 bytes.

    `tags` is None while the source answers by hand: nothing can be looked up then (protocol section 9).
    """

    source: str
    purpose: str
    kind_class: KindClass
    epoch: str
    version: int
    m: bytes
    m_hash: bytes
    as_of: date
    kinds: frozenset[str]
    end: datetime
    body_hash: bytes
    """As the source signed it with M: two bodies under one version are two filters."""
    tags: ClosedFilter | None = field(repr=False)

    @property
    def by_hand(self) -> bool:
        """Whether a colleague at the source decides about each question asked under this version."""
        return self.tags is None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a header must say, known before it arrives."""

    source: str
    purpose: str
    covenant_hash: bytes
    max_list_age: timedelta
    kind_class: KindClass
    mode: Mode
    """For this class, as the covenant has it: what one that answers by hand may not, and one by machine need not."""
    interval: timedelta | None
    """Between two switches, as the covenant sets it; None where the number of tags decides."""


def check_header(header: signed_pb2.FilterHeader, expected: Expected, now: datetime) -> None:
    """Hold a header, whose signature is verified, against what must stand in it.

    Raises MalformedError, CovenantError, KeysError (epoch), StaleError (end, version or a date to come) or
    NotReadyError (over-aged list; by hand, where the covenant has it by machine only).
    """
    if header.protocol_version != 1 or header.source != expected.source or header.purpose != expected.purpose:
        raise MalformedError("the filter is of another source, purpose or protocol version")
    if class_of_filter(header) != expected.kind_class:
        raise MalformedError("the filter is for another class of identifier than was ordered")
    if header.covenant_hash != expected.covenant_hash:
        raise CovenantError("the filter was built under another covenant")
    _check_epoch(header.epoch, now)
    decode_element(header.m)
    if len(header.body_hash) != 32 or list(header.kinds) != sorted(set(header.kinds)):
        raise MalformedError("the filter's header has a wrong hash length or list of kinds")
    _check_kinds(header, expected.kind_class)
    _check_mode(header, expected.mode)
    _check_moments(header, expected, now)


def hold(header: signed_pb2.FilterHeader, body: bytes | bytearray) -> HeldFilter:
    """Join a checked header with its body. Raises MalformedError for another length, hash or an unsorted body."""
    if len(body) != 8 * header.tags:
        raise MalformedError("the filter has another length than its header says")
    tags = ClosedFilter(bytes(body)) if header.mode == signed_pb2.FILTER_MODE_AUTOMATIC else None
    if tags is not None and tags.hash != header.body_hash:
        raise MalformedError("the filter has another hash than its header says")
    return HeldFilter(
        source=header.source,
        purpose=header.purpose,
        kind_class=class_of_filter(header),
        epoch=header.epoch,
        version=header.version,
        m=header.m,
        m_hash=m_hash(header.m),
        as_of=date.fromisoformat(header.as_of),
        kinds=frozenset(header.kinds),
        end=datetime.fromtimestamp(header.end, UTC),
        body_hash=header.body_hash,
        tags=tags,
    )


def _check_kinds(header: signed_pb2.FilterHeader, kind_class: KindClass) -> None:
    """Kinds of one class alone. A source may say that it enrolled no combination; it always has a certain kind."""
    if kind_class == CERTAIN and not header.kinds:
        raise MalformedError("the filter's header names no kind of identifier")
    if not (POSSIBLE_KINDS if kind_class == CERTAIN else CERTAIN_KINDS).isdisjoint(header.kinds):
        raise MalformedError("the filter's header names kinds of two classes: these are never in one filter")


def _check_mode(header: signed_pb2.FilterHeader, agreed: Mode) -> None:
    """The header says how the source answers now; the covenant says what it may."""
    if header.mode == signed_pb2.FILTER_MODE_AUTOMATIC:
        if not agreed.by_machine:
            raise MalformedError("the source publishes tags where the covenant lets a person decide")
        if not 0 < header.tags <= MAXIMUM_TAGS or header.tags != size_class(header.tags):
            raise MalformedError("the number of tags is no size class")
    elif agreed is Mode.AUTOMATIC:
        raise NotReadyError("the source does not answer this purpose automatically now")
    elif header.tags or header.body_hash != _NO_TAGS:
        raise MalformedError("a source that answers by hand publishes no tags")


def _check_epoch(epoch: str, now: datetime) -> None:
    try:
        quarter_of(epoch)
    except ValueError as error:
        raise MalformedError("the filter's epoch is no quarter") from error
    if not is_served(epoch, now):
        raise KeysError("the filter is of an epoch that is not served now")


def _check_moments(header: signed_pb2.FilterHeader, expected: Expected, now: datetime) -> None:
    try:
        as_of = date.fromisoformat(header.as_of)
        version = datetime.fromtimestamp(header.version, UTC)
        end = datetime.fromtimestamp(header.end, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedError("the filter's header has an impossible date") from error
    if as_of.isoformat() != header.as_of:
        raise MalformedError("the date of the list must read YYYY-MM-DD")
    if not version < end or version > now + FRESHNESS:
        raise StaleError("the filter begins in the future or ends before it begins")
    if end <= now - FRESHNESS:
        raise StaleError("the filter has ended")
    if end > now + _longest(header, expected.interval) + FRESHNESS:
        # It would be believed, with the date of its list, for as long as it says.
        raise StaleError("the filter says that it holds longer than the covenant lets any filter hold")
    # The header rounds to a day (FG-25), so a day of grace: the source itself counts to the second.
    if now.date() - as_of > expected.max_list_age + timedelta(days=1):
        raise NotReadyError("the source's list is older than the covenant allows")
    # The source counts in Dutch days, which begin up to two hours before those of UTC.
    if as_of - now.date() > timedelta(days=1):
        raise StaleError("the source's list is of a day to come")


def _longest(header: signed_pb2.FilterHeader, agreed: timedelta | None) -> timedelta:
    """How long a filter may hold from now at most. By hand the header does not say which size decided."""
    if header.mode == signed_pb2.FILTER_MODE_AUTOMATIC:
        return interval_of(header.tags, agreed)
    return agreed or LONGEST_INTERVAL


@dataclass(slots=True)
class _Place:
    current: HeldFilter | None = None
    previous: HeldFilter | None = None
    switched: datetime | None = None
    fetching: "asyncio.Task[HeldFilter] | None" = None


Fetcher = Callable[[FilterId, str, str | None], Awaitable[HeldFilter]]
"""Brings the present filter of a source, verified, on behalf of an OIN or None. Raises BekendError."""


class FilterShelf:
    """The filters at hand, per purpose, class and source. Simultaneous requests for one filter share one fetch."""

    def __init__(self, fetch: Fetcher, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._places: dict[tuple[FilterId, str], _Place] = {}

    def at_hand(self, id_: FilterId, source: str) -> HeldFilter | None:
        """The current version if it has not ended, without fetching."""
        held = self._place(id_, source).current
        return held if held is not None and held.end > self._clock.now() else None

    def version(self, id_: FilterId, source: str, version: int) -> HeldFilter | None:
        """The version that an Answer names, if it is the current one or the previous one of at most 10 seconds ago."""
        place = self._place(id_, source)
        self._forget(place)
        for held in (place.current, place.previous):
            if held is not None and held.version == version:
                return held
        return None

    async def current(self, id_: FilterId, source: str, on_behalf_of: str | None = None) -> HeldFilter:
        """The current version, fetched when it is not at hand or has ended. Raises BekendError.

        A source that is slow keeps nobody waiting: after WAIT_SECONDS a DeadlineError is raised, and the fetch goes on.
        """
        if (held := self.at_hand(id_, source)) is not None:
            return held
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await self.refresh(id_, source, on_behalf_of)
        except TimeoutError:
            raise DeadlineError("the filter did not come in time") from None

    async def refresh(self, id_: FilterId, source: str, on_behalf_of: str | None = None) -> HeldFilter:
        """Fetch what the source has now, whatever is at hand. Raises BekendError; StaleError for an older version."""
        place = self._place(id_, source)
        if place.fetching is None:
            place.fetching = asyncio.create_task(self._bring(place, id_, source, on_behalf_of))
            place.fetching.add_done_callback(_fetched)
        # Shielded: one caller that goes away does not take the filter from the others.
        return await asyncio.shield(place.fetching)

    def sizes(self) -> dict[tuple[str, str], int]:
        """Bytes held per purpose and source, the previous version included."""
        held: dict[tuple[str, str], int] = {}
        for (id_, source), place in self._places.items():
            self._forget(place)
            bodies = [one.tags for one in (place.current, place.previous) if one is not None and one.tags is not None]
            key = id_.purpose, source
            held[key] = held.get(key, 0) + sum(8 * len(tags) for tags in bodies)
        return held

    def sweep(self) -> None:
        """Drop the filters that have ended: nobody has opened their purpose since."""
        now = self._clock.now()
        for key, place in list(self._places.items()):
            ended = place.current is None or place.current.end + KEEP_PREVIOUS < now
            if ended and place.fetching is None:
                del self._places[key]

    def forget_covenant(self) -> None:
        """Drop everything: the covenant changed."""
        self._places.clear()

    async def close(self) -> None:
        """Cancel what is being fetched and drop everything."""
        tasks = [place.fetching for place in self._places.values() if place.fetching is not None]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, BekendError):
                await task
        self._places.clear()

    async def _bring(self, place: _Place, id_: FilterId, source: str, on_behalf_of: str | None) -> HeldFilter:
        try:
            held = await self._fetch(id_, source, on_behalf_of)
        finally:
            place.fetching = None
        self._put(place, held)
        return held

    def _put(self, place: _Place, held: HeldFilter) -> None:
        current = place.current
        if current is not None and held.version < current.version:
            raise StaleError("the source offers an older filter than it did before")
        if current is not None and held.version == current.version:
            if (held.m_hash, held.body_hash) != (current.m_hash, current.body_hash):
                raise MalformedError("the source has two filters under one version")
            # The same filter; under a covenant that has it switch sooner it was fetched before its end.
            place.current = held
            return
        place.previous, place.current, place.switched = current, held, self._clock.now()

    def _place(self, id_: FilterId, source: str) -> _Place:
        return self._places.setdefault((id_, source), _Place())

    def _forget(self, place: _Place) -> None:
        if place.switched is not None and self._clock.now() - place.switched > KEEP_PREVIOUS:
            place.previous = None


def _fetched(task: "asyncio.Task[HeldFilter]") -> None:
    """Look at the outcome, so that a fetch whose callers all went away is not reported as never looked at."""
    if not task.cancelled():
        task.exception()
