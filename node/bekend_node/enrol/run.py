"""The import of one register: check everything, send, stage, switch. Protocol section 5, steps 1 to 5.

Nothing is sent before the whole file was read once and found good; nothing is in service before every purpose is done.
What was finished is kept per chunk, so an import that is stopped goes on where it was when it is run again.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from bekend_policy.manifest import KeyManifest
from bekend_proto import logs
from bekend_proto.channel import LABEL_ENROLMENT, sign_message
from bekend_proto.clock import Clock, day_of, milliseconds, month_of
from bekend_proto.errors import KeysError
from bekend_proto.locks import locked
from bekend_proto.logs import log
from bekend_proto.octets import blake
from bekend_proto.oprf import KeyPair
from bekend_proto.v1 import broker_pb2_grpc, signed_pb2

from bekend_node import pseudonym_file
from bekend_node.config import SHIELDED, NodeConfig
from bekend_node.enrol import crypto, plan
from bekend_node.enrol.collect import apply_changes, staged_sorted
from bekend_node.enrol.line import IN_FLIGHT, EnrolLine
from bekend_node.enrol.listing import Listing
from bekend_node.enrol.rows import RowRules, read_rows
from bekend_node.enrol.survey import (
    GuardError,
    Source,
    Survey,
    guard_empty,
    guard_refused,
    guard_shrinking,
    parts,
    selections_of,
    survey,
)
from bekend_node.keys import NodeKeys
from bekend_node.locks import SWITCH, register_lock
from bekend_node.pseudonym_file import month_number
from bekend_node.rules import Rules
from bekend_node.store_registers import Generation, Import, Registers

Progress = Callable[[str, int, int], None]
"""What is being done, how far, of how much."""


@dataclass(frozen=True)
class Task:
    """One import: a register for one epoch, as of a date."""

    register: str
    epoch: str
    as_of: date
    confirm_shrink: bool = False
    whole: bool = False
    """Whether changes to `afgeschermd` name all who are shielded: then they may begin a list."""


@dataclass(frozen=True)
class Enroller:
    """What an import works with. `executor` runs the bulk of the computing; `progress` hears how far it is."""

    config: NodeConfig
    keys: NodeKeys
    rules: Rules
    broker: KeyManifest
    registers: Registers
    stub: "broker_pb2_grpc.BrokerServiceAsyncStub"
    executor: Executor
    clock: Clock
    progress: Progress = lambda *_: None

    async def run(self, task: Task, source: Source) -> plan.Report:
        """Import, and switch the register over all its purposes at once.

        Raises GuardError when a guard stops it, ImportFaultError for the file, BudgetError, ProofError, ... : then what
        is in service stays, and running it again goes on where this stopped.
        """
        with locked(self.config.data, register_lock(task.register), wait=False):
            with locked(self.config.data, SWITCH):
                self.registers.sweep()
            found = self._survey(task, source)
            work = self._open_import(task, source, found)
            await self._send(task, source, work, found)
            self._guard_file(source)
            with locked(self.config.data, SWITCH):
                self._switch(task, source, work, found)
            return found.whole

    # --- before anything is sent

    def _survey(self, task: Task, source: Source) -> Survey:
        answered = self.rules.answered()
        selections = selections_of(task.register, source, answered)
        if source.changes:
            self._guard_changes(task, selections)
        found = survey(source, selections, lambda rows: self.progress("check", rows, 0))
        guard_refused(found.whole, self.config.max_refused_percent)
        if not source.changes:
            self._guard_shrinking(task, found.counts)
            if not task.confirm_shrink:
                guard_empty(task.register, self.registers.generations(), found.counts)
        return found

    def _guard_shrinking(self, task: Task, counts: Mapping[tuple[str, str], int]) -> None:
        if not task.confirm_shrink:
            guard_shrinking(task.register, self.registers.generations(), counts, self.rules.answered())

    def _guard_changes(self, task: Task, selections: Mapping[str, plan.Selection]) -> None:
        """Changes need a list to change. That of `afgeschermd` may begin with them, unless somebody would be lost."""
        here = {(g.purpose, g.kind) for g in self._in_service(task)}
        missing = sorted({purpose for purpose, kind in parts(selections) if (purpose, kind) not in here})
        if not missing or (task.register == SHIELDED and (task.whole or not self.registers.is_shielding())):
            return
        if task.register == SHIELDED:
            raise GuardError(
                "changes",
                f"{', '.join(missing)} has no list of {SHIELDED} in {task.epoch} yet by every kind of number that was "
                "given, and others are shielded already: "
                "give all of them at once, with `bekend node shield --all` or a full import",
            )
        raise GuardError(
            "changes",
            f"import the whole register first: {', '.join(missing)} has none by every kind that is mapped",
        )

    def _guard_file(self, source: Source) -> None:
        """Large files are read again for each purpose: one that was written meanwhile would lose persons in silence."""
        if source.fingerprint_now is not None and source.fingerprint_now() != source.fingerprint:
            raise GuardError(
                "file",
                "the list changed while it was read: nothing was changed, run again with one that stays as it is",
            )

    def _open_import(self, task: Task, source: Source, found: Survey) -> Import:
        # What is sent follows from the source and from what counts of it.
        counted = repr([(purpose, one.selection.facts) for purpose, one in found.read.items()]).encode()
        fingerprint = blake(32, b"bekend1-selected", counted, source.fingerprint)
        begun = self.registers.find_import(task.register, task.epoch, fingerprint)
        if begun is not None:
            return begun
        ids = {purpose: secrets.token_bytes(16) for purpose in found.read}
        seed = secrets.token_bytes(32)
        return self.registers.start_import(task.register, task.epoch, fingerprint, seed, ids)

    # --- sending

    async def _send(self, task: Task, source: Source, work: Import, found: Survey) -> None:
        """Purpose by purpose: one stream at a time."""
        elements = {purpose: self._elements(source, read.report) for purpose, read in found.read.items()}
        chunks = {purpose: -(-count // plan.CHUNK) for purpose, count in elements.items()}
        pipeline = _Pipeline(self, task, work, total=sum(chunks.values()))
        for purpose, import_id in sorted(work.import_ids.items()):
            done = self.registers.staged_chunks(work.id, purpose)
            pipeline.count(len(done))
            if len(done) == chunks[purpose]:
                continue
            enrolment = self._enrolment(task, source, purpose, import_id, elements[purpose])
            async with EnrolLine(self.stub, enrolment) as line:
                planned = self._chunks(source, found.read[purpose].windows(), work, purpose)
                await pipeline.run(line, (chunk for chunk in planned if chunk.index not in done))

    def _elements(self, source: Source, report: plan.Report) -> int:
        """How many the broker evaluates for one purpose: of all kinds together, so that it tells nothing of them."""
        numbers = report.numbers.total()
        if source.changes:
            return plan.change_elements(numbers)
        return plan.full_elements(numbers, len(self.config.canary_identifiers))

    def _chunks(
        self, source: Source, windows: Iterator[plan.Window], work: Import, purpose: str
    ) -> Iterator[plan.Chunk]:
        if source.changes:
            return plan.change_chunks(next(windows), purpose, work.seed)
        return plan.full_chunks(windows, purpose, work.seed, [one.canonical for one in self.config.canary_identifiers])

    def _enrolment(
        self, task: Task, source: Source, purpose: str, import_id: bytes, elements: int
    ) -> signed_pb2.Signed:
        enrolment = signed_pb2.Enrolment(
            protocol_version=1,
            import_id=import_id,
            source=self.config.oin,
            purpose=purpose,
            register=task.register,
            epoch=task.epoch,
            kind=signed_pb2.ENROLMENT_KIND_CHANGES if source.changes else signed_pb2.ENROLMENT_KIND_FULL,
            elements=elements,
            covenant_hash=self.rules.covenant.hash,
            manifest=self.rules.manifest.number,
            time=milliseconds(self.clock.now()),
        )
        return sign_message(self.keys.signing, LABEL_ENROLMENT, enrolment)

    def broker_public(self, purpose: str, epoch: str) -> bytes:
        """B from the broker's manifest. Raises KeysError."""
        public = self.broker.evaluation_keys.get((self.config.oin, purpose, epoch))
        if public is None:
            raise KeysError(f"the broker's manifest has no key for {purpose} in {epoch}: ask the operator")
        return public

    def own_key(self, purpose: str, epoch: str) -> KeyPair:
        """k and K, as the own signed manifest has it. Raises KeysError when they differ."""
        pair = self.keys.evaluation_key(purpose, epoch)
        if self.rules.manifest.evaluation_keys.get((self.config.oin, purpose, epoch)) != pair.public:
            raise KeysError(
                f"the signed manifest has no (or another) key for {purpose} in {epoch}: "
                "run `bekend node manifest` and have it signed"
            )
        return pair

    # --- the switch

    def _switch(self, task: Task, source: Source, work: Import, found: Survey) -> None:
        now = self.clock.now()
        fresh: list[Generation] = []
        number = self.registers.next_file()
        old = {(g.purpose, g.kind): g for g in self._in_service(task)}
        for at, (purpose, kind) in enumerate(found.parts):
            self.progress("store", at, len(found.parts))
            records = staged_sorted(self.registers, work.id, purpose, kind, found.read[purpose].report.numbers[kind])
            file = self.registers.file(number + at)
            before = old.get((purpose, kind)) if source.changes else None
            with self._known(before) if before else nullcontext(b"") as known:
                persons = pseudonym_file.write(file, apply_changes(known, records) if source.changes else records)
            fresh.append(
                Generation(
                    id=number + at,
                    register=task.register,
                    purpose=purpose,
                    epoch=task.epoch,
                    as_of=task.as_of,
                    imported_at=int(now.timestamp()),
                    persons=persons,
                    kind=kind,
                    digest=pseudonym_file.digest(file),
                )
            )
        staged = {purpose: self.registers.staged_canary(work.id, purpose) for purpose in work.import_ids}
        canaries = {purpose: canary for purpose, canary in staged.items() if canary is not None}
        kept = {part: before.persons for part, before in old.items()} if source.changes else {}
        try:
            # What was merged over windows is known only now; the staged chunks stay for a confirmed second run.
            self._guard_shrinking(task, kept | {(one.purpose, one.kind): one.persons for one in fresh})
            self._guard_canary(task, canaries)
        except GuardError:
            for generation in fresh:
                pseudonym_file.destroy(self.registers.file(generation.id))
            raise
        self.progress("store", len(fresh), len(fresh))
        if not source.changes:
            found.merged_at_last(fresh)
        self.registers.switch(task.register, task.epoch, fresh, canaries, work.id, full=not source.changes)
        log(
            logs.REGISTER_SWITCHED,
            register=task.register,
            epoch=task.epoch,
            as_of=task.as_of.isoformat(),
            purposes=len(work.import_ids),
        )

    @contextmanager
    def _known(self, before: Generation) -> Iterator[memoryview]:
        """The records of a generation. Raises StorageError when its file is damaged."""
        self.registers.check_file(before)
        with pseudonym_file.mapped(self.registers.file(before.id)) as records:
            yield records

    def _guard_canary(self, task: Task, canaries: Mapping[str, bytes]) -> None:
        """The same canary under the same two keys is the same pseudonym: if not, broker or node used another key."""
        for purpose, canary in canaries.items():
            known = self.registers.canary(purpose, task.epoch)
            others = [g for g in self.registers.generations() if (g.purpose, g.epoch) == (purpose, task.epoch)]
            # More canaries than before are no other ones.
            same = known is None or canary.startswith(known) or known.startswith(canary)
            if not same and any(g.register != task.register for g in others):
                raise GuardError(
                    "canary",
                    f"the canary's pseudonym for {purpose} in {task.epoch} changed: was `canary` in node.yaml changed? "
                    "Then import every register of this purpose again, beginning with an empty data folder",
                )

    def _in_service(self, task: Task) -> list[Generation]:
        """What changes can be made to: not to what came back from a backup."""
        here = [g for g in self.registers.generations() if (g.register, g.epoch) == (task.register, task.epoch)]
        return [g for g in here if not g.restored]


@dataclass
class _Pipeline:
    """Blinding, sending, verifying and staging at the same time, with a bound on what is under way."""

    enroller: Enroller
    task: Task
    work: Import
    total: int
    finished: int = 0

    def count(self, chunks: int) -> None:
        """Tell how far it is."""
        self.finished += chunks
        self.enroller.progress("send", self.finished, self.total)

    async def run(self, line: EnrolLine, chunks: Iterator[plan.Chunk]) -> None:
        """Take all chunks of one purpose to the staging table. Raises the first fault."""
        # Blinded ahead: enough to keep the workers busy while four chunks are at the broker.
        slots = asyncio.Semaphore(2 * self.enroller.config.worker_count + IN_FLIGHT)
        try:
            async with asyncio.TaskGroup() as group:
                # A window takes a third of a second to read: chunks come and go meanwhile.
                while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                    await slots.acquire()
                    group.create_task(self._chunk(line, chunk)).add_done_callback(lambda _: slots.release())
        except ExceptionGroup as faults:
            raise _first(faults) from None

    async def _chunk(self, line: EnrolLine, chunk: plan.Chunk) -> None:
        enroller, purpose = self.enroller, chunk.purpose
        loop = asyncio.get_running_loop()
        canonicals = [canonical for canonical, _ in chunk.persons]
        elements, blinds = await loop.run_in_executor(enroller.executor, crypto.blind_chunk, canonicals, chunk.size)
        reply = await line.evaluate(chunk.index, elements)
        finish = partial(
            crypto.finish_chunk,
            enroller.own_key(purpose, self.task.epoch).secret,
            enroller.broker_public(purpose, self.task.epoch),
            elements=elements,
            evaluated=reply.evaluated,
            proof=reply.proof,
            blinds=blinds,
        )
        pseudonyms = await loop.run_in_executor(enroller.executor, finish)
        canaries = {which: pseudonyms[at] for at, which in chunk.canaries.items()}
        # Sorted before it touches the disk: the order in which they were sent is nobody's business.
        records: dict[str, list[bytes]] = {}
        for at, (pseudonym, (canonical, month)) in enumerate(zip(pseudonyms, chunk.persons, strict=True)):
            if at not in chunk.canaries:
                records.setdefault(plan.kind_of(canonical), []).append(pseudonym_file.record(pseudonym, month))
        joined = {kind: b"".join(sorted(found)) for kind, found in records.items()}
        await enroller.registers.stage(self.work.id, purpose, chunk.index, joined, canaries)
        self.count(1)


def list_source(
    listing: Listing, rules: RowRules, mapping_digest: str, keys: NodeKeys, canaries: bytes, *, now: datetime
) -> Source:
    """A list as the source of an import. Raises ImportFaultError when it cannot be read."""
    month = month_number(month_of(now))
    # Everything that fixes what is sent: another file, mapping, date or canary is another import.
    settings = f"{mapping_digest} {rules.changes} {rules.as_of} {month} {rules.registration_months}".encode()
    key = crypto.fingerprint_key(keys.state, settings + canaries)
    again = partial(listing.fingerprint, key)
    labelled = rules.mapping.columns.label is not None
    return Source(reading(listing, rules, now), again(), rules.changes, rules.mapping.kinds, labelled, again)


def reading(
    listing: Listing, rules: RowRules, now: datetime
) -> Callable[[plan.Report, plan.Selection], Iterator[plan.Window]]:
    """Reads a list into windows, each time from its beginning."""
    this_month = month_number(month_of(now))

    def read(report: plan.Report, selection: plan.Selection) -> Iterator[plan.Window]:
        rows = read_rows(listing, rules)
        if rules.changes:
            yield plan.changes_window(listing.name, rows, report, selection, shielding=rules.shielding)
        else:
            yield from plan.windows(rows, report, selection, ended_before=this_month)

    return read


def check_as_of(as_of: date, now: datetime) -> date:
    """A list cannot be of tomorrow. Raises GuardError."""
    if as_of > day_of(now):
        raise GuardError(
            "as-of", f"the list cannot be of {as_of}: that day is still to come; check --as-of and the clock"
        )
    return as_of


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    first = faults.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
