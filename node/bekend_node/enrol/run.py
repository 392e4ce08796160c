"""The import of one register: check everything, send, stage, switch. Protocol section 5, steps 1 to 5.

Nothing is sent before the whole file was read once and found good; nothing is in service before every purpose is done.
What was finished is kept per chunk, so an import that is stopped goes on where it was when it is run again.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path

from bekend_policy.manifest import KeyManifest
from bekend_proto import logs
from bekend_proto.channel import LABEL_ENROLMENT, sign_message
from bekend_proto.clock import Clock, day_of, milliseconds, month_of
from bekend_proto.errors import KeysError, RefusedError
from bekend_proto.logs import log
from bekend_proto.oprf import KeyPair
from bekend_proto.v1 import broker_pb2_grpc, signed_pb2

from bekend_node import pseudonym_file
from bekend_node.config import SHIELDED, NodeConfig
from bekend_node.enrol import crypto, plan
from bekend_node.enrol.collect import apply_changes, staged_sorted
from bekend_node.enrol.line import IN_FLIGHT, EnrolLine
from bekend_node.enrol.rows import RowRules, fingerprint, read_rows
from bekend_node.keys import NodeKeys
from bekend_node.locks import SWITCH, locked, register_lock
from bekend_node.pseudonym_file import month_number
from bekend_node.rules import Rules
from bekend_node.store_registers import Generation, Import, Registers

SHRINK_PERCENT = 20
SHRINK_PERSONS = 10
REFUSED_PERSONS = 10
"""So many refused rows never stop an import by themselves, however small the register."""

Progress = Callable[[str, int, int], None]
"""What is being done, how far, of how much."""


class GuardError(RefusedError):
    """A guard stopped the import: nothing was changed. The reason says how to go on."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(rule, reason)


@dataclass(frozen=True)
class Source:
    """Where the persons come from: windows that can be read twice, the same both times."""

    read: Callable[[plan.Report], Iterator[plan.Window]]
    fingerprint: bytes
    changes: bool
    kind: str
    fingerprint_now: Callable[[], bytes] | None = None
    """Of what would be read now; None where nothing can change meanwhile."""


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
            purposes = self._purposes(task, source)
            report, windows = self._survey(task, source)
            work = self._open_import(task, source, purposes)
            await self._send(task, source, work, report, windows)
            self._guard_file(source)
            with locked(self.config.data, SWITCH):
                self._switch(task, source, work, report)
            return report

    # --- before anything is sent

    def _purposes(self, task: Task, source: Source) -> list[str]:
        purposes = self.rules.purposes_of(task.register)
        if not purposes:
            raise GuardError(
                "register", f"no purpose that {self.config.oin} answers names the register {task.register!r}"
            )
        fitting = [it for it in purposes if source.kind in self.rules.covenant.purposes[it].kinds]
        for purpose in purposes:
            if purpose not in fitting and (task.register != SHIELDED or not fitting):
                raise GuardError(
                    "kind", f"{purpose} does not admit identifiers of kind {source.kind}: see its covenant"
                )
        if source.changes:
            self._guard_changes(task, fitting)
        return sorted(fitting)

    def _guard_changes(self, task: Task, purposes: Sequence[str]) -> None:
        """Changes need a list to change. That of `afgeschermd` may begin with them, unless somebody would be lost."""
        missing = sorted(set(purposes) - {g.purpose for g in self._in_service(task)})
        if not missing or (task.register == SHIELDED and (task.whole or not self.registers.is_shielding())):
            return
        if task.register == SHIELDED:
            raise GuardError(
                "changes",
                f"{', '.join(missing)} has no list of {SHIELDED} in {task.epoch} yet, and others are shielded already: "
                "give all of them at once, with `bekend node shield --all` or a full import",
            )
        raise GuardError("changes", f"import the whole register first: {', '.join(missing)} has none yet")

    def _survey(self, task: Task, source: Source) -> tuple[plan.Report, plan.Windows]:
        """Read everything once; what was read, and the windows to send: from memory when one holds all of them."""
        report = plan.Report()
        only: list[plan.Window] = []
        for number, window in enumerate(source.read(report)):
            only = [window] if number == 0 else []
            self.progress("check", report.rows, 0)
        limit = max(REFUSED_PERSONS, report.rows * self.config.max_refused_percent / 100)
        if report.refused > limit:
            raise GuardError(
                "refused",
                f"{report.refused} of {report.rows} rows are refused, more than {limit:.0f}: "
                + "; ".join(f"line {one.line}: {one.reason}" for one in report.lines[:5]),
            )
        if not source.changes:
            self._guard_shrinking(task, report.persons)
        return report, partial(iter, only) if only else partial(source.read, plan.Report())

    def _guard_file(self, source: Source) -> None:
        """Large files are read again for each purpose: one that was written meanwhile would lose persons in silence."""
        if source.fingerprint_now is not None and source.fingerprint_now() != source.fingerprint:
            raise GuardError(
                "file",
                "the file changed while it was read: nothing was changed, run again with one that stays as it is",
            )

    def _guard_shrinking(self, task: Task, persons: int) -> None:
        if task.confirm_shrink:
            return
        same = [g for g in self.registers.generations() if g.register == task.register]
        if not same:
            return
        newest = max(same, key=lambda g: g.imported_at)
        allowed = max(newest.persons * SHRINK_PERCENT // 100, SHRINK_PERSONS)
        if newest.persons - persons > allowed:
            raise GuardError(
                "shrink",
                f"the register {task.register} would shrink from {newest.persons} to {persons} persons: "
                "is the export complete? If it is, run again with --confirm-shrink",
            )

    def _open_import(self, task: Task, source: Source, purposes: Sequence[str]) -> Import:
        found = self.registers.find_import(task.register, task.epoch, source.fingerprint)
        if found is not None and sorted(found.import_ids) == list(purposes):
            return found
        ids = {purpose: secrets.token_bytes(16) for purpose in purposes}
        seed = secrets.token_bytes(32)
        return self.registers.start_import(task.register, task.epoch, source.fingerprint, seed, ids)

    # --- sending

    async def _send(self, task: Task, source: Source, work: Import, report: plan.Report, windows: plan.Windows) -> None:
        """Purpose by purpose: one stream at a time."""
        persons = report.persons
        elements = (
            plan.change_elements(persons)
            if source.changes
            else plan.full_elements(persons, len(self.config.canary_identifiers))
        )
        each = -(-elements // plan.CHUNK)
        pipeline = _Pipeline(self, task, work, total=each * len(work.import_ids))
        for purpose, import_id in sorted(work.import_ids.items()):
            done = self.registers.staged_chunks(work.id, purpose)
            pipeline.count(len(done))
            if len(done) == each:
                continue
            async with EnrolLine(self.stub, self._enrolment(task, source, purpose, import_id, elements)) as line:
                chunks = self._chunks(source, windows(), work, purpose)
                await pipeline.run(line, (chunk for chunk in chunks if chunk.index not in done))

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

    def _switch(self, task: Task, source: Source, work: Import, report: plan.Report) -> None:
        now = self.clock.now()
        fresh: list[Generation] = []
        canaries: dict[str, bytes] = {}
        number = self.registers.next_file()
        old = {g.purpose: g for g in self._in_service(task)}
        for at, purpose in enumerate(sorted(work.import_ids)):
            self.progress("store", at, len(work.import_ids))
            records = staged_sorted(self.registers, work.id, purpose, report.persons)
            if source.changes:
                before = old.get(purpose)
                records = apply_changes(pseudonym_file.read(self.registers.file(before.id)) if before else (), records)
            file = self.registers.file(number + at)
            persons = pseudonym_file.write(file, records)
            fresh.append(
                Generation(
                    id=number + at,
                    register=task.register,
                    purpose=purpose,
                    epoch=task.epoch,
                    as_of=task.as_of,
                    imported_at=int(now.timestamp()),
                    persons=persons,
                    kind=source.kind,
                )
            )
            if (canary := self.registers.staged_canary(work.id, purpose)) is not None:
                canaries[purpose] = canary
        try:
            # What was merged over windows is known only now; the staged chunks stay for a confirmed second run.
            self._guard_shrinking(task, max(generation.persons for generation in fresh))
            self._guard_canary(task, canaries)
        except GuardError:
            for generation in fresh:
                pseudonym_file.destroy(self.registers.file(generation.id))
            raise
        self.progress("store", len(fresh), len(fresh))
        if not source.changes:
            report.merged += report.persons - fresh[0].persons
            report.persons = fresh[0].persons
        self.registers.switch(task.register, task.epoch, fresh, canaries, work.id, full=not source.changes)
        log(
            logs.REGISTER_SWITCHED,
            register=task.register,
            epoch=task.epoch,
            as_of=task.as_of.isoformat(),
            purposes=len(fresh),
        )

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
        records = sorted(
            pseudonym_file.record(pseudonym, month)
            for at, (pseudonym, (_, month)) in enumerate(zip(pseudonyms, chunk.persons, strict=True))
            if at not in chunk.canaries
        )
        await enroller.registers.stage(self.work.id, purpose, chunk.index, b"".join(records), canaries)
        self.count(1)


def file_source(
    path: Path, rules: RowRules, mapping_digest: str, keys: NodeKeys, canaries: bytes, *, now: datetime
) -> Source:
    """A CSV as the source of an import. Raises ImportFaultError when it cannot be read."""
    this_month = month_number(month_of(now))

    def read(report: plan.Report) -> Iterator[plan.Window]:
        rows = read_rows(path, rules)
        if rules.changes:
            yield plan.changes_window(path, rows, report)
        else:
            yield from plan.windows(rows, report, ended_before=this_month)

    # Everything that fixes what is sent: another file, mapping, date or canary is another import.
    settings = f"{mapping_digest} {rules.changes} {rules.as_of} {this_month} {rules.registration_months}".encode()
    key = crypto.fingerprint_key(keys.state, settings + canaries)
    again = partial(fingerprint, path, key)
    return Source(read, again(), rules.changes, rules.mapping.identifier_kind, again)


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
