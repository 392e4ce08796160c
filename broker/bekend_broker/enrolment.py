"""Enrolment at the broker: blinded elements in, the same times b[i,p,e] out (protocol section 5, step 2).

    node                              broker
      | Enrolment (signed) ----------> may this node serve this purpose; budget; log
      |<------------ EnrolStarted{left}
      | BlindedChunk 0, 1, 2 --------> count durably, then evaluate, one proof per chunk
      |<-------- EvaluatedChunk, each as it is ready

Chunks are counted before they are evaluated, so that no interruption gives more than the budget: it keeps a stolen
database from being tested against this key. Several are evaluated at once, on all cores: libsodium releases the GIL.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from bekend_policy.model import Mode
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.dleq import prove
from bekend_proto.errors import BudgetError, MalformedError, RefusedError, StorageError
from bekend_proto.group import multiply
from bekend_proto.interceptors import Caller
from bekend_proto.oprf import KeyPair
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import BlindedChunk, EnrolRequest, EnrolResponse, EnrolStarted, EvaluatedChunk
from bekend_proto.v1.signed_pb2 import Enrolment, Signed

from bekend_broker import log
from bekend_broker.admission import open_from
from bekend_broker.config import Limits
from bekend_broker.directory import Directory
from bekend_broker.metrics import Metrics
from bekend_broker.quotas import CHUNK, Import
from bekend_broker.store import Store
from bekend_broker.store_imports import ImportId
from bekend_broker.streams import first_message, next_message

IN_FLIGHT: Final = 4
"""Chunks of one import under way at once; more wait at the node."""

SHIELDED: Final = "afgeschermd"
"""The register of shielded persons: every source has it, with a budget of its own."""


class Enrolments:
    """Serves imports. One object per process; each call of `run` is one stream."""

    def __init__(
        self,
        *,
        directory: Directory,
        database: Store,
        clock: Clock,
        metrics: Metrics,
        limits: Limits,
        threads: Executor,
    ) -> None:
        self._directory = directory
        self._store = database
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._threads = threads
        self._running: Counter[str] = Counter()

    async def run(self, call: Caller, requests: AsyncIterator[EnrolRequest]) -> AsyncIterator[EnrolResponse]:
        """Serve one import to its end.

        Raises the BekendError of an enrolment or chunk that is refused; chunks answered before stay answered.
        """
        first = await first_message(requests, self._limits.hello_seconds, "Enrolment")
        if first.WhichOneof("kind") != "enrolment":
            raise MalformedError("the first message of an import is Enrolment")
        caller = call.oin
        if self._running[caller] >= self._limits.imports_per_node:
            raise BudgetError(f"{caller} has {self._running[caller]} imports running: wait for one to end")
        self._running[caller] += 1
        try:
            job = await self._open(call, first.enrolment)
            yield EnrolResponse(started=EnrolStarted(elements_left=job.left))
            async for response in self._chunks(job, requests):
                yield response
        finally:
            self._running[caller] -= 1

    async def _open(self, call: Caller, signed: Signed) -> "_Job":
        caller, now = call.oin, self._clock.now()
        enrolment = open_from(self._directory, caller, Enrolment, signed, now)
        present = self._directory.present
        covenant = present.under(enrolment.covenant_hash)
        present.suspensions.check_node(covenant, caller, now)
        terms = covenant.sources(enrolment.purpose).get(caller)
        if terms is None or terms.mode is Mode.NEVER:
            raise RefusedError("geen-bron", "Deze organisatie is geen bron voor dit doel.")
        if enrolment.register != SHIELDED and enrolment.register not in terms.registers:
            raise RefusedError("register", "Het convenant noemt dit register niet voor dit doel.")
        key = present.keys.for_enrolment(caller, enrolment.purpose, enrolment.epoch, now)
        job = Import(
            name=ImportId(caller, enrolment.purpose, enrolment.register, enrolment.import_id),
            epoch=enrolment.epoch,
            kind=enrolment.kind,
            stated=self._directory.manifest_of(caller).register_sizes.get(enrolment.register, 0),
        )
        if enrolment.elements > job.limit:
            raise BudgetError(
                f"register {enrolment.register} of {caller} may have {job.limit} elements evaluated, "
                f"{enrolment.elements} are announced: let the manifest state its size"
            )

        def admit(connection: Connection) -> int:
            left = job.charge(connection, 0, now)
            log.append(connection, log.ENROLMENT, signed, now, source=caller)
            return left

        left = await self._write(admit)
        logs.log(
            logs.IMPORT_OPENED,
            source=caller,
            purpose=enrolment.purpose,
            register=enrolment.register,
            epoch=enrolment.epoch,
            full=job.full,
            elements=enrolment.elements,
            left=left,
        )
        return _Job(call, job, key, left)

    async def _chunks(self, job: "_Job", requests: AsyncIterator[EnrolRequest]) -> AsyncIterator[EnrolResponse]:
        """The evaluated chunks, in the order in which they are ready."""
        slots = asyncio.Semaphore(IN_FLIGHT)
        ready: asyncio.Queue[EvaluatedChunk | None] = asyncio.Queue()
        feeder = asyncio.create_task(self._feed(job, requests, slots, ready))
        feeder.add_done_callback(lambda _: ready.put_nowait(None))
        done = 0
        try:
            while (chunk := await ready.get()) is not None:
                yield EnrolResponse(chunk=chunk)
                done += 1
                # Only now: what the node does not read holds back what it may send.
                slots.release()
        finally:
            feeder.cancel()
            name = job.job.name
            logs.log(
                logs.IMPORT_CLOSED,
                source=name.source,
                purpose=name.purpose,
                register=name.register,
                epoch=job.job.epoch,
                full=job.job.full,
                chunks=done,
            )
        await feeder

    async def _feed(
        self,
        job: "_Job",
        requests: AsyncIterator[EnrolRequest],
        slots: asyncio.Semaphore,
        ready: "asyncio.Queue[EvaluatedChunk | None]",
    ) -> None:
        """Read chunks and start work on them, a few at a time. Raises the first fault of any of them."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await slots.acquire()
                    message = await next_message(requests, self._limits.chunk_seconds, "chunk")
                    if message is None:
                        break
                    if message.WhichOneof("kind") != "chunk":
                        raise MalformedError("after Enrolment a node sends chunks only")
                    group.create_task(self._chunk(job, message.chunk, ready))
        except BaseExceptionGroup as faults:
            # One is enough to end the import; the call has one status.
            raise faults.exceptions[0] from None

    async def _chunk(self, job: "_Job", chunk: BlindedChunk, ready: "asyncio.Queue[EvaluatedChunk | None]") -> None:
        count, rest = divmod(len(chunk.elements), 32)
        if rest or not 1 <= count <= CHUNK:
            raise MalformedError(f"a chunk holds 1 to {CHUNK} elements of 32 octets")
        # Anew: an import of a large register lasts for hours, and a node that is stopped gets nothing more.
        self._check_not_stopped(job)
        now = self._clock.now()
        await self._write(lambda c: job.job.charge(c, count, now))
        self._check_not_stopped(job)
        loop = asyncio.get_running_loop()
        evaluated, proof = await loop.run_in_executor(self._threads, evaluate_chunk, job.key, chunk.elements)
        self._metrics.enrolled.inc(count)
        ready.put_nowait(EvaluatedChunk(index=chunk.index, evaluated=evaluated, proof=proof))

    def _check_not_stopped(self, job: "_Job") -> None:
        """Raises SuspendedError, UnknownPartnerError for who left the covenant, FencedError when another machine took
        the place of this one.
        """
        present = self._directory.present
        present.partner(job.call.oin)
        self._directory.check_incarnation(job.call)
        for covenant in present.covenants:
            present.suspensions.check_node(covenant, job.job.name.source, self._clock.now())

    async def _write(self, work: Callable[[Connection], int]) -> int:
        try:
            return await self._store.write(work)
        except StorageError:
            self._metrics.storage_faults.inc()
            raise


@dataclass(frozen=True, slots=True)
class _Job:
    """An admitted import, with its key and what was left of its budget at the start."""

    call: Caller
    job: Import
    key: KeyPair
    left: int


def evaluate_chunk(key: KeyPair, elements: bytes) -> tuple[bytes, bytes]:
    """b * each element, joined, and one proof over all of them.

    Raises MalformedError when one is no element: `multiply` decodes, and refuses the identity. One that repeats is
    evaluated twice.
    """
    inputs = [elements[start : start + 32] for start in range(0, len(elements), 32)]
    outputs = [multiply(key.secret, element) for element in inputs]
    return b"".join(outputs), prove(key.secret, key.public, inputs, outputs)
