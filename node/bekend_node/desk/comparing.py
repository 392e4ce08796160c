"""Has what came compared, off the reply path and in batches, and puts what comes of it in desk.db.

What was kept and not compared, because the node stopped or the machine did, is compared when it runs again. What cannot
be compared is a fault: its requester gets no answer, and never the authenticated end of a term. A batch shares one
reading of the file and nothing else: one that cannot be compared ends by itself.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import groupby, islice

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, InternalError, KeysError, NotReadyError, StorageError
from bekend_proto.group import multiply
from bekend_proto.logs import log
from bekend_proto.records import record_context

from bekend_node.answer.pending import Pending, open_pending
from bekend_node.child import run_child
from bekend_node.classes import FilterId
from bekend_node.config import NodeConfig
from bekend_node.desk.belonging import belongs
from bekend_node.desk.compare import Compared, Named, Order
from bekend_node.desk.matter import Matter, Stage, open_matter
from bekend_node.desk.matters import Matters
from bekend_node.desk.record import seal_desk_record
from bekend_node.filters import Filters
from bekend_node.keys import NodeKeys
from bekend_node.rules import RulesInForce
from bekend_node.serving import Serving
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore, Exchange
from bekend_node.store_registers import Registers

AT_ONCE = 32
"""Questions per comparison: one reading of the file for all of them."""
ATTEMPTS = 3
RETRY_SECONDS = 5.0
WORKERS = 2
"""Processes that share a comparison; questions come first."""
LONGEST = 600.0
"""Seconds that one comparison may take."""

Faults = list[tuple[Sequence[Exchange], Exception]]
"""What could not be compared, each with what went wrong."""


class Comparing:
    """Compares. `waiting` is called when something waits for a colleague, or for the privacy officer; `canary_asked`
    when somebody else asked about a canary of this node.
    """

    def __init__(
        self,
        config: NodeConfig,
        *,
        keys: NodeKeys,
        rules: RulesInForce,
        filters: Filters,
        registers: Registers,
        store: Store,
        desk: DeskStore,
        matters: Matters,
        clock: Clock,
        waiting: Callable[[], None],
        canary_asked: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._keys = keys
        self._rules = rules
        self._filters = filters
        self._registers = registers
        self._store = store
        self._desk = desk
        self._matters = matters
        self._clock = clock
        self._waiting = waiting
        self._canary_asked = canary_asked
        self._named = asyncio.Event()
        # What came before a stop waits since then.
        self._named.set()
        self._failed: dict[bytes, int] = {}
        self._comparing = asyncio.Lock()

    def named(self) -> None:
        """Something came in."""
        self._named.set()

    async def run(self) -> None:
        """Compare what comes, until cancelled."""
        while True:
            await self._named.wait()
            self._named.clear()
            if not await self.compare_all():
                await asyncio.sleep(RETRY_SECONDS)
                self._named.set()

    async def compare_all(self) -> bool:
        """Compare everything that waits now. False when something could not be, and is to be tried again."""
        async with self._comparing:
            waiting = sorted(self._desk.exchanges(waiting=True), key=_version)
            done = True
            for (id_, version), group in groupby(waiting, _version):
                each = iter(group)
                while batch := list(islice(each, AT_ONCE)):
                    done &= await self._batch(id_, version, batch)
            await self._desk.erase()
            return done

    async def _batch(self, id_: FilterId, version: int, batch: Sequence[Exchange]) -> bool:
        try:
            faults = await self._compare(id_, version, batch)
        except (BekendError, OSError) as fault:
            # The filter, its file or the process: nothing of one of them alone.
            faults = [(batch, fault)]
        done = [await self._again_or_never(id_.purpose, *one) for one in faults]
        return all(done)

    async def _again_or_never(self, purpose: str, failed: Sequence[Exchange], fault: Exception) -> bool:
        """Whether these were given up; else they are to be tried again."""
        for one in failed:
            self._failed[one.question_id] = self._failed.get(one.question_id, 0) + 1
        spent = [one for one in failed if self._failed[one.question_id] >= ATTEMPTS]
        if isinstance(fault, NotReadyError):
            spent = list(failed)
        if spent:
            await self._give_up(purpose, spent, fault)
        if len(spent) == len(failed):
            return True
        log(logs.COMPARE_FAILED, purpose=purpose, detail=_said_of(fault))
        return False

    async def _compare(self, id_: FilterId, version: int, batch: Sequence[Exchange]) -> Faults:
        """Compare these; gives those that could not be. Raises what went wrong with all of them alike."""
        serving = self._filters.by_hand(id_, version)
        faults: Faults = []
        found: list[tuple[Exchange, Pending, dict[int, Named]]] = []
        for exchange in batch:
            try:
                pending = self._pending(exchange)
                found.append((exchange, pending, self._named_in(pending, serving)))
            except Exception as fault:
                faults.append(([exchange], fault))
        named = [one for *_, persons in found for one in persons.values()]
        results = await self._in_process(serving, named) if named else []
        if len(results) != len(named):
            raise InternalError("there is not one result for each person that was compared")
        following = iter(results)
        compared = 0
        for exchange, pending, persons in found:
            own = dict(zip(persons, islice(following, len(persons)), strict=True))
            try:
                await self._put(exchange, {person: await self._judged(pending, person, own[person]) for person in own})
            except Exception as fault:
                faults.append(([exchange], fault))
                continue
            self._failed.pop(exchange.question_id, None)
            compared += len(persons)
        if compared or not faults:
            log(logs.COMPARED, purpose=id_.purpose, persons=compared)
        return faults

    def _named_in(self, pending: Pending, serving: Serving) -> dict[int, Named]:
        """The persons of a question that are still to be compared."""
        return {
            person: self._described(pending, person, matter, serving)
            for person, matter in enumerate(self._matters.of(pending.id))
            if matter.stage is Stage.NAMED
        }

    def _pending(self, exchange: Exchange) -> Pending:
        kept = self._store.awaiting(exchange.question_id)
        if kept is None:
            raise NotReadyError("what is kept of this question is gone: node.db and desk.db do not belong together")
        return open_pending(self._keys.state_box, kept)

    def _described(self, pending: Pending, person: int, matter: Matter, serving: Serving) -> Named:
        facts = {
            "at": self._clock.now().isoformat(timespec="seconds"),
            "question": pending.question_id,
            "question_hash": pending.question_hash,
            "person": person,
            "requester": pending.requester,
            "purpose": pending.purpose,
        }
        context = record_context(pending.requester, pending.source, pending.purpose, pending.id, person)
        evaluated = multiply(serving.scalar, bytes.fromhex(pending.received[person]))
        return Named(context.hex(), matter.message.hex(), pending.elements[person], evaluated.hex(), facts)

    async def _in_process(self, serving: Serving, named: list[Named]) -> list[Compared]:
        officer = self._rules.now.manifest.privacy_officer
        if officer is None:
            raise KeysError("the manifest names no privacy officer: see `privacy_officer` in node.yaml")
        order = Order(
            file=str(serving.tags),
            key=serving.compare_key.hex(),
            m=serving.m.hex(),
            desk_key=bytes(self._keys.desk_box).hex(),
            privacy_officer=officer.hex(),
            workers=min(WORKERS, self._config.worker_count),
            named=named,
        )
        try:
            async with asyncio.timeout(LONGEST):
                return await run_compare(order)
        except TimeoutError:
            raise StorageError("comparing did not get ready: it is tried again") from None

    async def _judged(self, pending: Pending, person: int, one: Compared) -> tuple[Matter, Compared]:
        """What is kept of it: of an own client that left, or was shielded, since the filter was built, nothing."""
        if one.fault:
            raise InternalError(f"one of those that were compared together could not be: {one.fault}")
        if one.record:
            # The same again after a crash: recorded once.
            name = blake2b(f"{one.stage}:{pending.question_hash}:{person}".encode(), digest_size=16).digest()
            await self._store.keep_desk_record(bytes.fromhex(one.record), self._clock.now(), name=name)
        if one.pseudonym and bytes.fromhex(one.pseudonym) in self._registers.canaries(pending.purpose, pending.epoch):
            return await self._canary(pending, person, bytes.fromhex(one.pseudonym))
        if not one.pseudonym or await self._belongs(pending, bytes.fromhex(one.pseudonym)):
            return open_matter(self._keys.desk_box, bytes.fromhex(one.sealed)), one
        return Matter(Stage.NOTHING), Compared(Stage.NOTHING, "")

    async def _canary(self, pending: Pending, person: int, pseudonym: bytes) -> tuple[Matter, Compared]:
        """A canary is nobody. The own node's question is released by itself; anybody else's is an alarm (FG-22).

        To its requester that is a person who is not known here; what it was goes to the privacy officer.
        """
        if pending.requester == self._config.oin:
            return Matter(Stage.RELEASED, pseudonym=pseudonym), Compared(Stage.RELEASED, "")
        log(logs.CANARY_ASKED, requester=pending.requester, purpose=pending.purpose)
        self._canary_asked()
        officer, now = self._rules.now.manifest.privacy_officer, self._clock.now()
        assert officer is not None
        facts = {
            "at": now.isoformat(timespec="seconds"),
            "question": pending.question_id,
            "question_hash": pending.question_hash,
            "person": person,
            "requester": pending.requester,
            "purpose": pending.purpose,
            "what": "canary",
        }
        name = blake2b(f"canary:{pending.question_hash}:{person}".encode(), digest_size=16).digest()
        await self._store.keep_desk_record(seal_desk_record(officer, facts), now, name=name)
        return Matter(Stage.NOTHING), Compared(Stage.NOTHING, "")

    async def _belongs(self, pending: Pending, pseudonym: bytes) -> bool:
        return await asyncio.to_thread(
            belongs,
            pseudonym,
            pending.purpose,
            pending.epoch,
            rules=self._rules.now,
            registers=self._registers,
            now=self._clock.now(),
        )

    async def _put(self, exchange: Exchange, judged: dict[int, tuple[Matter, Compared]]) -> None:
        def put(now: Exchange, kept: list[Matter]) -> tuple[Exchange, list[Matter]]:
            # What was withdrawn meanwhile stays ended.
            fresh = [
                judged[person][0] if person in judged and one.stage is Stage.NAMED else one
                for person, one in enumerate(kept)
            ]
            return replace(now, compared=True), fresh

        await self._matters.change(exchange.question_id, put)
        if any(one.stage in {Stage.OPEN, Stage.MISNAMED} for _, one in judged.values()):
            self._waiting()

    async def _give_up(self, purpose: str, batch: Sequence[Exchange], fault: Exception) -> None:
        """Mark as failed what cannot be compared any more; its D is erased."""
        log(logs.COMPARE_FAILED, purpose=purpose, detail=f"given up: {_said_of(fault)}")

        def fail(now: Exchange, kept: list[Matter]) -> tuple[Exchange, list[Matter]]:
            ended = [one.erased(Stage.FAILED) if one.stage is Stage.NAMED else one for one in kept]
            return replace(now, compared=True), ended

        for exchange in batch:
            self._failed.pop(exchange.question_id, None)
            with contextlib.suppress(BekendError):
                await self._matters.change(exchange.question_id, fail)


async def run_compare(order: Order) -> list[Compared]:
    """Compare in a process of its own. Raises StorageError; the cause is on standard error."""
    failed = "the messages that name persons could not be compared: it is tried again"
    return [Compared(**one) for one in await run_child("bekend_node.desk.compare", order.to_json(), failed)]


def _said_of(fault: Exception) -> str:
    """A fault for the log: what is not one of our own might quote what it was given."""
    own = isinstance(fault, BekendError | OSError)
    return str(fault) if own else f"{type(fault).__name__} at {logs.place_of(fault.__traceback__)}"


def _version(exchange: Exchange) -> tuple[FilterId, int]:
    return exchange.filter, exchange.version
