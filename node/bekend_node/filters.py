"""The filters that this node answers with: built beforehand, switched at fixed moments, kept over a restart.

    not ready --at once, or at its moment--> serving --switch moment--> serving (new m, new version)
                                                 |
                                                 +--list too old, decision ended, other covenant--> withdrawn
                                                 |
                                                 +--answered by hand: for ten minutes, to compare--> before

Whoever answers takes one `Serving` and uses nothing else of this module for that question: a switch in mid-flight
gives the old version or the new one, never a mix (must-list 6). Imports, shieldings and mode changes wait for the
next moment, so that a switch tells nothing (must-list 21).

A purpose whose covenant lists combinations has two filters, one per class of identifier, that share nothing: each its
own m, its own moments by its own size, and the possible one by hand always.

While the own clock is in doubt (`clock_beside.py`), nothing is switched, withdrawn or destroyed. Building goes on, so
that a switch is not later than it must be; what was built for a moment that turns out to be another is thrown away.
What is past its moment answers nothing all the same (ADR 0049).

Who must be shielded at once is helped by a halt: nothing is answered under the purpose until its next switch, to a
filter that was built since (`halting.py`).
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from bekend_policy.model import Covenant
from bekend_proto import logs
from bekend_proto.channel import LABEL_FILTER, sign_message
from bekend_proto.clock import FRESHNESS, Clock, month_of
from bekend_proto.epochs import age_of
from bekend_proto.errors import BekendError, NotReadyError, StorageError
from bekend_proto.filter import size_class
from bekend_proto.logs import log
from bekend_proto.v1 import signed_pb2

from bekend_node import client_file
from bekend_node.child import run_child
from bekend_node.classes import CERTAIN, CLASSES, FilterId, KindClass, name_of, on_wire
from bekend_node.clock_beside import Doubt
from bekend_node.config import NodeConfig
from bekend_node.filter_build import Built, Order
from bekend_node.keys import NodeKeys
from bekend_node.pseudonym_file import month_number
from bekend_node.readiness import OVERDUE_GRACE, Inputs, check_still, check_under, inputs_of
from bekend_node.rules import RulesInForce
from bekend_node.schedule import RELEASE_SECONDS, interval_of, next_switch
from bekend_node.serving import FreshKey, Serving, check, filter_file, make_serving, reopen
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore
from bekend_node.store_filters import FilterRow
from bekend_node.store_registers import Registers

LEAST_LEAD = 10.0
"""Seconds before a switch at which building begins at the latest."""
TICK_SECONDS = 1.0
LEAVING_SECONDS = 10
"""How long the last filter of an epoch answers what was asked under it, as long as requesters keep it (section 6)."""
RETRY_SECONDS = 15
"""After a filter that could not be built."""
LONGEST_START = 60.0
"""Seconds that building may take, besides the persons."""
SLOWEST = 1000
"""Persons a second: a twentieth of what one core does."""


@dataclass
class _Shelf:
    """One filter: what serves, what is ready for the next moment, what is being built."""

    serving: Serving | None = None
    leaving: "_Before | None" = None
    upcoming: Serving | None = None
    building: asyncio.Task[Serving] | None = None
    epoch: str = ""
    """Epoch of the last filter that was in service: another epoch's first filter does not wait."""
    version: int = 0
    next_switch: int = 0
    tags: int = 0
    not_before: int = 0
    halted: int = -1
    """Filters up to this version answer nothing."""
    lead: float = LEAST_LEAD


@dataclass(frozen=True)
class _Before:
    """A filter for answering by hand that serves no more: what was asked under it is still compared with it."""

    serving: Serving
    until: int


class Filters:
    """All filters of this node. `tick` moves them on; `serving` is asked per question, on the same event loop."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        keys: NodeKeys,
        rules: RulesInForce,
        registers: Registers,
        store: Store,
        desk: DeskStore,
        clock: Clock,
        doubt: Callable[[datetime], Awaitable[Doubt | None]],
        quiet_until: datetime | None = None,
    ) -> None:
        """`doubt`: why the clock is not gone by when it says this moment, if it is not. `quiet_until`: nothing is
        answered before, so that no question of before a restore is answered twice.
        """
        self._config = config
        self._keys = keys
        self._rules = rules
        self._registers = registers
        self._store = store
        self._desk = desk
        self._clock = clock
        self._doubt = doubt
        self._doubted: Doubt | None = None
        self._folder = config.data / "filters"
        self._shelves: dict[FilterId, _Shelf] = {}
        self._before: dict[tuple[FilterId, int], _Before] = {}
        self._ticking = asyncio.Lock()
        self._quiet_until = quiet_until

    def serving(self, purpose: str, covenant: Covenant | None = None, *, kind_class: KindClass = CERTAIN) -> Serving:
        """The filter to answer with now, under this version of the covenant or the one in force.

        Raises NotReadyError, with the reason for the own log.
        """
        now, id_ = self._clock.now(), FilterId(purpose, kind_class)
        self.check_halt(id_)
        if self._quiet_until is not None and now < self._quiet_until:
            raise NotReadyError(f"put back from a backup: nothing is answered before {self._quiet_until:%H:%M:%S} UTC")
        shelf = self._shelves.get(id_)
        is_late = shelf is None or shelf.serving is None or now.timestamp() >= shelf.next_switch + OVERDUE_GRACE
        if is_late and self._doubted == Doubt.AHEAD:
            # Whatever else is wrong may be so by that clock alone.
            raise NotReadyError(self._doubted)
        if shelf is None or shelf.serving is None:
            inputs_of(id_, self._rules.now, self._registers, self._keys, now)
            raise NotReadyError(self._doubted or f"the filter for {id_} is being built, or waits for its moment")
        check_still(shelf.serving, self._rules.now, now)
        if is_late:
            raise NotReadyError(f"the filter for {id_} was to be replaced at its moment, and its successor is late")
        begins = datetime.fromtimestamp(shelf.serving.version, UTC)
        if begins > now + FRESHNESS:
            # No requester believes it, and a version that was given out never goes to another filter.
            raise NotReadyError(f"the clock was ahead: the filter for {id_} counts from {begins:%Y-%m-%d %H:%M} UTC on")
        if covenant is not None and covenant is not self._rules.now.covenant:
            check_under(shelf.serving, self._rules.now, covenant, now)
        return shelf.serving

    def answering(self, id_: FilterId, covenant: Covenant, epoch: str) -> Serving:
        """The filter to answer a question of this epoch with: that of now, or the last one before an epoch ended.

        What was asked under the keys before, and is on its way while the switch comes, is answered under them. Raises
        NotReadyError as `serving`.
        """
        serving = self.serving(id_.purpose, covenant, kind_class=id_.kind_class)
        leaving = self._shelves[id_].leaving
        if leaving is None or serving.header.epoch == epoch or leaving.serving.header.epoch != epoch:
            return serving
        if self._clock.now().timestamp() >= leaving.until:
            return serving
        check_under(leaving.serving, self._rules.now, covenant, self._clock.now())
        return leaving.serving

    def by_hand(self, id_: FilterId, version: int) -> Serving:
        """The filter under which a question was answered by hand, to compare with: that of now, or one before it.

        Raises NotReadyError when its m was destroyed.
        """
        shelf = self._shelves.get(id_)
        if shelf and shelf.serving and shelf.serving.version == version and shelf.serving.by_hand:
            return shelf.serving
        before = self._before.get((id_, version))
        if before is None:
            raise NotReadyError(f"version {version} for {id_} is gone: nothing is compared with it any more")
        return before.serving

    def check_halt(self, id_: FilterId) -> None:
        """Raise NotReadyError when somebody stopped this purpose until the next switch of this filter."""
        shelf = self._shelves.get(id_)
        if shelf is not None and shelf.version <= shelf.halted:
            raise NotReadyError(f"{id_} was halted to shield somebody: it answers again from the next switch")

    def is_halted(self, purpose: str) -> bool:
        """Whether somebody stopped this purpose, and a filter of it has not switched since."""
        return any(shelf.version <= shelf.halted for shelf in self._of(purpose))

    def _of(self, purpose: str) -> list[_Shelf]:
        """What there is of a purpose's filters."""
        return [self._shelves.setdefault(id_, _Shelf()) for id_ in self._rules.now.filters if id_.purpose == purpose]

    async def halt(self, purpose: str) -> int:
        """Answer nothing under this purpose until its next switch; up to which version that is.

        What is being built, or waits for its moment, is made anew: it may hold who is to be shielded. Calling it
        again does only that. The caller makes it durable.
        """
        shelves = self._of(purpose)
        _halt(shelves)
        async with self._ticking:
            for shelf in shelves:
                building, shelf.building = shelf.building, None
                if building is not None:
                    building.cancel()
                    await asyncio.gather(building, return_exceptions=True)
                upcoming, shelf.upcoming = shelf.upcoming, None
                if upcoming is not None:
                    upcoming.tags.unlink(missing_ok=True)
            # A switch may have come in between.
            return _halt(shelves)

    def header_for(self, serving: Serving, covenant_hash: bytes) -> signed_pb2.Signed:
        """The signed header as it is handed out under this version: for what `serving` gave for that version.

        Raises CovenantError when that version is not held any more.
        """
        if serving.header.covenant_hash == covenant_hash:
            return serving.signed
        header = signed_pb2.FilterHeader()
        header.CopyFrom(serving.header)
        header.covenant_hash = covenant_hash
        # Where that version has it switch sooner, nobody may hold it longer than until then.
        agreed = self._rules.now.under(covenant_hash).interval_of(serving.purpose)
        now = int(self._clock.now().timestamp())
        header.end = min(serving.end, next_switch(self._config.oin, interval_of(_size_of(serving), agreed), now))
        return sign_message(self._keys.signing, LABEL_FILTER, header)

    def next_switch(self, purpose: str, *, kind_class: KindClass = CERTAIN) -> int | None:
        """Seconds since 1970 of a filter's next switch; None before the first version of it."""
        shelf = self._shelves.get(FilterId(purpose, kind_class))
        return shelf.next_switch or None if shelf else None

    def answers_again(self, purpose: str) -> int | None:
        """Seconds since 1970 at which every filter of a halted purpose will have switched; None before the first."""
        return max((shelf.next_switch for shelf in self._of(purpose)), default=0) or None

    async def restore(self) -> None:
        """Take up the filters that served before a restart, where their end has not come; remove what is left over."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = int(self._clock.now().timestamp())
        for row in self._store.filters.present():
            shelf = self._shelves.setdefault(row.id, _Shelf())
            shelf.epoch, shelf.version, shelf.next_switch = row.epoch, row.version, row.ends
            with contextlib.suppress(BekendError):
                await self._restore_one(shelf, row, now)
            if shelf.serving is None:
                # A moment that passed while the node was down is made up for at once, whatever the clock says now.
                shelf.next_switch = row.version + 1
        for purpose, version in self._store.filters.halts().items():
            for kind_class in CLASSES:
                self._shelves.setdefault(FilterId(purpose, kind_class), _Shelf()).halted = version
        for row in self._store.filters.before():
            with contextlib.suppress(BekendError):
                serving = reopen(row, self._folder, self._keys)
                self._before[row.id, row.version] = _Before(serving, row.ends)
        kept = {shelf.serving.tags for shelf in self._shelves.values() if shelf.serving}
        kept |= {before.serving.tags for before in self._before.values()}
        for path in self._folder.iterdir():
            if path not in kept:
                path.unlink()

    async def _restore_one(self, shelf: _Shelf, row: FilterRow, now: int) -> None:
        serving = reopen(row, self._folder, self._keys)
        if row.ends > now:
            canary = self._registers.canary(row.purpose, row.epoch)
            await asyncio.to_thread(check, serving, self._rules.now.manifest, canary)
            shelf.serving, shelf.tags = serving, _size_of(serving)
        elif serving.by_hand:
            # It ended while the node was down: what was asked under it may wait to be compared.
            await self._store.filters.withdraw(row.id, self._retired(serving, row.ends))

    async def run(self) -> None:
        """Tick every second until cancelled."""
        try:
            while True:
                await self.tick()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for task in [shelf.building for shelf in self._shelves.values() if shelf.building]:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, BekendError):
                    await task

    async def tick(self) -> None:
        """Withdraw what may not serve, switch what is due, begin to build what comes next."""
        async with self._ticking:
            now = self._clock.now()
            self._doubted = await self._doubt(now)
            await self._tick_all(now)

    async def _tick_all(self, now: datetime) -> None:
        answered = self._rules.now.filters
        if not self._doubted:
            await self._forget(int(now.timestamp()))
            for id_ in self._shelves.keys() - answered.keys():
                await self._withdraw(self._shelves[id_])
        for id_ in answered:
            try:
                await self._tick_one(id_, self._shelves.setdefault(id_, _Shelf()), now)
            except BekendError as fault:
                self._shelves[id_].not_before = int(now.timestamp()) + RETRY_SECONDS
                log(logs.FILTER_FAILED, **_named(id_), detail=fault.detail)

    async def settle(self) -> None:
        """Wait until nothing is being built; then one more tick, which switches what is due."""
        tasks = [shelf.building for shelf in self._shelves.values() if shelf.building]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.tick()

    async def _tick_one(self, id_: FilterId, shelf: _Shelf, now: datetime) -> None:
        seconds = int(now.timestamp())
        # Sooner than it said itself, where a version of the covenant came into force that has it so. Of a clock that is
        # behind no moment is taken that came before the last switch.
        sooner = self._next_switch(id_, shelf.tags, max(seconds, shelf.version))
        shelf.next_switch = min(shelf.next_switch, sooner)
        if shelf.serving and not self._doubted and _lapsed(shelf.serving, self._rules, now):
            await self._withdraw(shelf)
        if shelf.building and shelf.building.done():
            task, shelf.building = shelf.building, None
            shelf.upcoming = task.result()
        if shelf.upcoming and shelf.upcoming.version > max(shelf.next_switch, seconds):
            # Built by a clock that was set right since, or before a covenant came that has it switch sooner.
            shelf.upcoming.tags.unlink(missing_ok=True)
            shelf.upcoming = None
        if shelf.upcoming and not self._doubted and shelf.upcoming.version <= seconds:
            await self._switch(shelf, shelf.upcoming, now)
        # A clock that was ahead when a build failed puts the next try off no longer.
        rests = seconds < shelf.not_before <= seconds + RETRY_SECONDS
        if not shelf.building and not shelf.upcoming and not rests:
            self._build_next(id_, shelf, now)

    def _build_next(self, id_: FilterId, shelf: _Shelf, now: datetime) -> None:
        """Begin to build the next version when its moment is near; at once an epoch's first, where nothing serves."""
        seconds = int(now.timestamp())
        interval = interval_of(shelf.tags, self._agreed(id_))
        is_near = seconds >= shelf.next_switch - min(shelf.lead, interval.total_seconds() / 2)
        if shelf.serving is not None and not is_near:
            return
        try:
            inputs = inputs_of(id_, self._rules.now, self._registers, self._keys, now)
        except NotReadyError:
            # Nothing to switch to: a moment passes, and what is imported meanwhile waits for the next one.
            if shelf.epoch and seconds >= shelf.next_switch:
                shelf.next_switch = self._next_switch(id_, shelf.tags, seconds)
            return
        if shelf.serving is None and (not shelf.epoch or age_of(inputs.epoch) > age_of(shelf.epoch)):
            # Requesters hold nothing that would end at a moment.
            moment = seconds
        elif is_near:
            moment = max(shelf.next_switch, seconds)
        else:
            return
        version = max(moment, shelf.version + 1)
        shelf.building = asyncio.ensure_future(self._build(id_, shelf, inputs, version))

    def _agreed(self, id_: FilterId) -> timedelta | None:
        return self._rules.covenant().interval_of(id_.purpose)

    def _next_switch(self, id_: FilterId, tags: int, after: int) -> int:
        """The first moment after this one, by the covenant in force."""
        return next_switch(self._config.oin, interval_of(tags, self._agreed(id_)), after)

    async def _switch(self, shelf: _Shelf, fresh: Serving, now: datetime) -> None:
        old, shelf.upcoming = shelf.serving, None
        if _lapsed(fresh, self._rules, now):
            # Something ended while it was being built, or waited.
            fresh.tags.unlink(missing_ok=True)
            return
        await self._store.filters.keep(fresh.row(self._keys), self._retired(old, int(now.timestamp())))
        shelf.leaving = _leaving(old, fresh, int(now.timestamp()))
        shelf.serving, shelf.tags = fresh, _size_of(fresh)
        shelf.epoch, shelf.version = fresh.header.epoch, fresh.version
        # Counted from its own moment: where it waited past that of its successor, it answers nothing.
        shelf.next_switch = min(fresh.end, self._next_switch(fresh.id, shelf.tags, fresh.version))
        self._retire(old, int(now.timestamp()))
        log(logs.FILTER_SWITCHED, **_named(fresh.id), epoch=shelf.epoch, version=fresh.version, end=fresh.end)

    async def _withdraw(self, shelf: _Shelf) -> None:
        old, shelf.serving = shelf.serving, None
        if old is None:
            return
        now = int(self._clock.now().timestamp())
        await self._store.filters.withdraw(old.id, self._retired(old, now))
        self._retire(old, now)
        log(logs.FILTER_WITHDRAWN, **_named(old.id), version=old.version)

    def _retired(self, old: Serving | None, ended: int) -> FilterRow | None:
        """What is kept over a restart of a filter for answering by hand that serves no more."""
        if old is None or not old.by_hand:
            return None
        return replace(old.row(self._keys), ends=ended + RELEASE_SECONDS)

    def _retire(self, old: Serving | None, ended: int) -> None:
        if old is None:
            return
        if old.by_hand:
            self._before[old.id, old.version] = _Before(old, ended + RELEASE_SECONDS)
        else:
            old.tags.unlink(missing_ok=True)

    async def _forget(self, now: int) -> None:
        """Destroy the m of filters before, once no D under them can come, and those that came were compared."""
        for shelf in self._shelves.values():
            if shelf.leaving is not None and shelf.leaving.until <= now:
                shelf.leaving = None
        for (id_, version), before in tuple(self._before.items()):
            if before.until <= now and not self._desk.is_comparing(id_, version):
                await self._store.filters.forget_before(id_, version)
                before.serving.tags.unlink(missing_ok=True)
                del self._before[id_, version]

    async def _build(self, id_: FilterId, shelf: _Shelf, inputs: Inputs, version: int) -> Serving:
        """Build from these inputs; from what took their place when an import switches meanwhile.

        An import destroys the files that it supersedes. What was read of them while that happened is worth nothing,
        and waiting for another try would let the switch come late, which would show the import.
        """
        while True:
            try:
                serving = await self._build_from(id_, shelf, inputs, version)
                fault: BekendError | None = None
            except BekendError as error:
                fault = error
            present = inputs_of(id_, self._rules.now, self._registers, self._keys, self._clock.now())
            if present == inputs:
                if fault is not None:
                    raise fault
                return serving
            inputs = present

    async def _build_from(self, id_: FilterId, shelf: _Shelf, inputs: Inputs, version: int) -> Serving:
        loop = asyncio.get_running_loop()
        began = loop.time()
        rules, purpose = self._rules.now, id_.purpose
        canary = self._registers.canary(purpose, inputs.epoch)
        assert canary is not None
        generations = (*inputs.generations, *inputs.shielded)
        for generation in generations:
            await asyncio.to_thread(self._registers.check_file, generation)
        key = FreshKey.draw(self._keys.evaluation_key(purpose, inputs.epoch).secret)
        file = filter_file(self._folder, id_, version, by_hand=inputs.by_hand)
        order = Order(
            files=[str(self._registers.file(g.id)) for g in inputs.generations],
            shielded=[str(self._registers.file(g.id)) for g in inputs.shielded],
            # Not by the clock, which may leap meanwhile: who is left out too early is missed in silence.
            ended_before=month_number(month_of(datetime.fromtimestamp(version, UTC))),
            m=key.m.hex(),
            canary=canary.hex(),
            source=self._config.oin,
            purpose=purpose,
            version=version,
            out=str(file),
            workers=self._config.worker_count,
            by_hand=inputs.by_hand,
        )
        try:
            async with asyncio.timeout(LONGEST_START + sum(g.persons for g in generations) / SLOWEST):
                built = await run_builder(order)
        except TimeoutError:
            # A pool waits for ever for a worker that the system killed, for want of memory say.
            raise StorageError(f"the filter for {id_} did not get ready: it is tried again") from None
        interval = interval_of(built.tags, rules.covenant.interval_of(purpose))
        header = signed_pb2.FilterHeader(
            protocol_version=1,
            source=self._config.oin,
            purpose=purpose,
            epoch=inputs.epoch,
            mode=signed_pb2.FILTER_MODE_MANUAL if inputs.by_hand else signed_pb2.FILTER_MODE_AUTOMATIC,
            version=version,
            as_of=inputs.as_of.isoformat(),
            kinds=inputs.kinds,
            end=next_switch(self._config.oin, interval, version),
            tags=0 if inputs.by_hand else built.tags,
            body_hash=bytes.fromhex(built.body_hash),
            covenant_hash=rules.covenant.hash,
            kind_class=on_wire(id_.kind_class),
        )
        serving = make_serving(header, key, file, self._keys)
        try:
            await asyncio.to_thread(check, serving, rules.manifest, canary)
        except BekendError:
            file.unlink(missing_ok=True)
            raise
        # Twice what this took: the next one is ready at its moment.
        shelf.lead = max(LEAST_LEAD, 2 * (loop.time() - began))
        return serving


async def run_builder(order: Order) -> Built:
    """Build a filter's body in a process of its own. Raises StorageError; the cause is on standard error."""
    failed = f"the filter for {order.purpose} could not be built: it is tried again"
    return Built(**await run_child("bekend_node.filter_build", order.to_json(), failed))


def _named(id_: FilterId) -> dict[str, str]:
    """A filter, as a log line says which."""
    return {"purpose": id_.purpose, "kinds": name_of(id_.kind_class)}


def _halt(shelves: list[_Shelf]) -> int:
    """Halt all filters of a purpose together, up to the newest version among them; which that is."""
    newest = max((shelf.version for shelf in shelves), default=0)
    for shelf in shelves:
        shelf.halted = newest
    return newest


def _leaving(old: Serving | None, fresh: Serving, now: int) -> _Before | None:
    """The filter that was, when the epoch ends with it: some questions are on their way under its keys."""
    if old is None or old.header.epoch == fresh.header.epoch:
        return None
    return _Before(old, now + LEAVING_SECONDS)


def _size_of(serving: Serving) -> int:
    """The size class by which the next interval is chosen. A header for answering by hand does not state it."""
    return size_class(client_file.count(serving.tags)) if serving.by_hand else serving.header.tags


def _lapsed(serving: Serving, rules: RulesInForce, now: datetime) -> bool:
    try:
        check_still(serving, rules.now, now)
    except NotReadyError:
        return True
    return False
