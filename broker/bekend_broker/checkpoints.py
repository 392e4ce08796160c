"""The log seen from outside: signed checkpoints, proofs, promises; cosignatures of witnesses, and their own logs.

    node                                broker
      | GetCheckpoint ------------------> the newest signed checkpoint
      | GetConsistencyProof ------------> it goes on from what the node saw
      | PutCosignature -----------------> kept beside the checkpoint, shown to whoever asks
      | GetInclusionProof --------------> the question of this promise is in it
      | PutCheckpoint{own log} ---------> verified in the same way: a node cannot rewrite its own log either

Replicas that share a database share its log, whichever of them is asked; one with a file has a log of its own. The
signed manifest knows each by its name (docs/adr). A checkpoint is made on a schedule while the log grows; proofs reach
as far as the newest one, so that nothing unsigned is ever proved.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bekend_proto import log_table, logs, merkle
from bekend_proto.channel import LABEL_PROMISE, sign_message
from bekend_proto.checkpoint import (
    Checkpoint,
    cosignature_line,
    log_id,
    log_origin,
    merge,
    open_checkpoint,
    owner_of,
)
from bekend_proto.clock import Clock, milliseconds
from bekend_proto.errors import BekendError, LogError, MalformedError, ProofError, SignatureError, StaleError
from bekend_proto.log_table import Alarm
from bekend_proto.note import parse_note
from bekend_proto.shape import MAX_SOURCES
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import (
    AuditPath,
    GetConsistencyProofRequest,
    GetInclusionProofRequest,
    PutCheckpointRequest,
)
from bekend_proto.v1.signed_pb2 import InclusionPromise, PromisedEntry, Signed

from bekend_broker.directory import Directory
from bekend_broker.log_head import LogHead
from bekend_broker.metrics import Metrics
from bekend_broker.store import Store

NOTE_LIMIT: Final = 16 * 1024
"""Octets of a checkpoint that is sent here: two signatures take a fiftieth of it."""

PROOFS_AT_ONCE: Final = MAX_SOURCES
"""Entries whose inclusion one call may ask for: those of one promise."""

REWRITTEN: Final = "rewritten"
"""Kind of alarm: a node's log does not go on from what was seen of it."""

MOST_ALARMS: Final = 16
"""Open alarms about one log: what does not agree is shown by one of them, and an alarm is kept for ever."""


class Checkpoints:
    """What this replica says of its log, and what it saw of the nodes' logs."""

    def __init__(
        self,
        *,
        directory: Directory,
        database: Store,
        clock: Clock,
        metrics: Metrics,
        log: str,
        seconds: float,
        head: LogHead | None = None,
    ) -> None:
        """`seconds` between checkpoints; `head` keeps the last one, where the database can go back without it."""
        self._directory = directory
        self._store = database
        self._clock = clock
        self._metrics = metrics
        self._seconds = seconds
        self._head = head
        self.origin = log_origin(directory.present.manifest.oin, log)
        self.log_id = log_id(self.origin)

    async def make(self) -> None:
        """Sign the log as it stands, unless it has not grown since. Raises StorageError."""
        key = self._directory.present.keys.signing
        now = milliseconds(self._clock.now())

        def work(connection: Connection) -> Checkpoint:
            size = log_table.log_size(connection)
            newest = log_table.newest_checkpoint(connection)
            if newest is not None and newest[0] >= size:
                return Checkpoint.parse(parse_note(newest[1]).text)
            made = Checkpoint(self.origin, size, merkle.root(size, log_table.reader(connection)))
            log_table.keep_checkpoint(connection, size, made.sign(key), now)
            return made

        newest = await self._store.write(work)
        if self._head is not None:
            await asyncio.to_thread(self._head.keep, newest)
        self._metrics.log_entries.set(newest.size)
        self._metrics.checkpoint_at.set(now / 1000)
        self._metrics.log_alarms.set(len(await self._store.look(log_table.alarms)))

    async def watch(self) -> None:
        """Make checkpoints until cancelled. A disk that fails is tried again."""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.make()
            except BekendError as fault:
                self._metrics.storage_faults.inc()
                logs.log(logs.CHECKPOINT_REFUSED, origin=self.origin, detail=fault.detail)

    async def newest(self) -> bytes:
        """The newest signed checkpoint, with the cosignatures that came so far."""

        def work(connection: Connection) -> bytes:
            found = log_table.newest_checkpoint(connection)
            assert found is not None  # made before anybody is served
            size, note = found
            return merge(note, log_table.cosignatures(connection, size))

        return await self._store.look(work)

    async def consistency(self, request: GetConsistencyProofRequest) -> list[bytes]:
        """That the log goes on from an older size. Raises MalformedError, StaleError for a size that is not signed."""
        await self._check(request.log_id, request.newer)
        if not 0 < request.older <= request.newer:
            raise MalformedError("older is a size from 1, and not above newer")
        return await self._store.look(
            lambda c: merkle.consistency_proof(request.older, request.newer, log_table.reader(c))
        )

    async def inclusion(self, request: GetInclusionProofRequest) -> list[AuditPath]:
        """That entries are in the log. Raises MalformedError, StaleError for a size that is not signed."""
        await self._check(request.log_id, request.size)
        if len(request.indexes) > PROOFS_AT_ONCE or any(index >= request.size for index in request.indexes):
            raise MalformedError(f"at most {PROOFS_AT_ONCE} entries, all of a log of this size")

        def work(connection: Connection) -> list[AuditPath]:
            read = log_table.reader(connection)
            return [AuditPath(hashes=merkle.inclusion_proof(index, request.size, read)) for index in request.indexes]

        return await self._store.look(work)

    async def cosign(self, caller: str, note: bytes) -> None:
        """Keep a partner's cosignature of a checkpoint that was made here.

        Raises MalformedError, SignatureError, StaleError for a checkpoint that is not kept any more.
        """
        checkpoint = self._open(note, {self.origin}, self._directory.present.manifest.signing_keys)
        parsed = parse_note(note)
        # Of all that stands below it, the one line that was verified.
        line = cosignature_line(parsed, caller, self._directory.manifest_of(caller).signing_keys)
        if line is None:
            raise SignatureError(f"no cosignature of {caller} stands below this checkpoint")

        def work(connection: Connection) -> None:
            kept = log_table.checkpoints(connection, checkpoint.size, checkpoint.size)
            if not kept or parse_note(kept[0][2]).text != checkpoint.text():
                raise StaleError("this checkpoint is not kept here")
            log_table.keep_cosignature(connection, checkpoint.size, line)

        await self._store.write(work)
        self._metrics.cosignatures.inc()

    async def witness(self, caller: str, request: PutCheckpointRequest) -> int:
        """Take a checkpoint of the caller's own log, if it goes on from the last one; gives the size held now.

        Raises MalformedError, SignatureError; LogError, with an alarm kept, when it does not go on.
        """
        manifest = self._directory.manifest_of(caller)
        origins = {log_origin(caller, name) for name in manifest.log_names}
        checkpoint = self._open(request.checkpoint, origins, manifest.signing_keys)
        now = milliseconds(self._clock.now())
        # Compared in the transaction that keeps it: of two that come at once the second is held against the first.
        held = await self._store.write(lambda c: _take(c, caller, checkpoint, request, now))
        for head in held.followed:
            logs.log(logs.LOG_FOLLOWED, origin=head.origin, entries=head.size, by=checkpoint.origin)
        if held.fault:
            self._metrics.log_alarms.set(len(await self._store.look(log_table.alarms)))
            logs.log(logs.LOG_ALARM, origin=checkpoint.origin, kind=REWRITTEN, detail=held.fault)
            raise LogError(f"the log of {caller} does not go on from what was seen of it")
        return held.size

    def promise(self, requester: str, promised: Sequence[PromisedEntry], now: datetime) -> Signed:
        """Where questions stand in the log, signed: the broker owes a proof of each."""
        message = InclusionPromise(
            protocol_version=1, log_id=self.log_id, requester=requester, time=milliseconds(now), promised=promised
        )
        return sign_message(self._directory.present.keys.signing, LABEL_PROMISE, message)

    async def _check(self, named: bytes, size: int) -> None:
        if named != self.log_id:
            raise StaleError("this replica keeps another log")
        newest = await self._store.look(log_table.newest_checkpoint)
        if newest is None or size > newest[0]:
            raise StaleError("no checkpoint of this size is signed yet")

    @staticmethod
    def _open(note: bytes, origins: Collection[str], keys: Sequence[bytes]) -> Checkpoint:
        if len(note) > NOTE_LIMIT:
            raise MalformedError(f"a checkpoint has at most {NOTE_LIMIT} octets")
        checkpoint = open_checkpoint(note, keys)
        if checkpoint.origin not in origins:
            raise MalformedError(f"a checkpoint of {checkpoint.origin} in the place of one of {', '.join(origins)}")
        return checkpoint


@dataclass(frozen=True, slots=True)
class _Held:
    """What is held of a node's log now. `fault`: why a checkpoint of it was not taken; an alarm keeps that.

    `followed`: heads of the logs of this node that went before, when it is new.
    """

    size: int
    fault: str = ""
    followed: tuple[Checkpoint, ...] = ()


def _take(
    connection: Connection, caller: str, checkpoint: Checkpoint, request: PutCheckpointRequest, now: int
) -> _Held:
    """Keep a checkpoint of a node's log that goes on from the one held, or an alarm. `now` in milliseconds."""
    seen = log_table.seen(connection)
    held = seen.get(checkpoint.origin)
    if held is None:
        log_table.keep_seen(connection, checkpoint, request.checkpoint, now)
        # What was seen of the log before stays, as evidence: that one ended in a restore, or in a take-over.
        before = tuple(head for head, _ in seen.values() if owner_of(head.origin) == caller)
        return _Held(checkpoint.size, followed=before)
    last, note = held
    if request.older != last.size and checkpoint.size >= last.size:
        return _Held(last.size)
    try:
        merkle.verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, list(request.hashes))
    except ProofError as fault:
        detail = f"{fault.detail} ({last.size} to {checkpoint.size})"
        if log_table.open_alarms_about(connection, checkpoint.origin) < MOST_ALARMS:
            evidence = note + request.checkpoint
            alarm = Alarm(0, now, checkpoint.origin, REWRITTEN, False, detail, evidence, False)
            log_table.raise_alarm(connection, alarm)
        return _Held(last.size, fault=detail)
    log_table.keep_seen(connection, checkpoint, request.checkpoint, now)
    return _Held(checkpoint.size)
