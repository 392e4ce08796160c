"""The node as a witness of the broker's log, and the keeper of its own (protocol section 10).

Every minute, at each replica of the broker:

    1  fetch the newest checkpoint; signed by a key of the broker's manifest, of a log that it names
    2  have it proved that it goes on from the last one seen; keep it, then cosign it
    3  have it proved that the questions of this node are in it: the broker promised that
    4  compare what peers carried in their Questions and Answers
    5  sign the own log, and show it to the broker, which is its witness

Two checkpoints that do not agree stop this node: it asks and answers nothing until its operator has looked into it
(`bekend node alarm`). A broken promise, a log that a restore closed, and what a peer alone says, is an alarm that stops
nothing: else one partner could silence all others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from sqlite3 import Connection
from typing import Any, Final

import grpc
from bekend_policy.manifest import ClosedLog, KeyManifest
from bekend_proto import log_table, logs, merkle
from bekend_proto.channel import LABEL_PROMISE, open_signed
from bekend_proto.checkpoint import (
    NO_CHECKPOINT,
    NODE_LOG,
    Checkpoint,
    Seen,
    bare,
    cosign,
    log_id,
    log_origin,
    open_checkpoint,
)
from bekend_proto.clock import Clock, from_milliseconds, milliseconds
from bekend_proto.errors import (
    BekendError,
    KeysError,
    LogError,
    MalformedError,
    ProofError,
    RefusedError,
    SignatureError,
    StaleError,
    from_rpc_error,
)
from bekend_proto.log_table import Alarm, Entry
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from bekend_node.broker_link import BrokerLink
from bekend_node.heads import Heads
from bekend_node.metrics import NodeMetrics
from bekend_node.store import Store

CALL_SECONDS: Final = 5.0
PROMISE_TERM: Final = timedelta(minutes=5)
"""A question has to be under a signed checkpoint within this."""
PROMISES: Final = 2048
"""Promises looked at per round."""
PROOFS_AT_ONCE: Final = 256
"""Entries whose inclusion one call asks for, or those of one promise where these are more."""
TRIES: Final = 5
"""Rounds in which a proof may fail to come before that is an alarm by itself."""
NOTES: Final = 30
"""Looks of which the checkpoint is remembered: half an hour."""
NOTE_LIMIT: Final = 256 * 1024
"""Octets of a checkpoint: a cosignature per partner takes a fifth of it."""

FORK, SHRUNK, UNPROVED = "fork", "shrunk", "unproved"
PROMISE, GOSSIP, OWN, CLOSED = "promise", "gossip", "own-log", "closed"
STOPPING: Final = frozenset({FORK, SHRUNK, UNPROVED})
_REFUSALS: Final = (StaleError, MalformedError, KeysError, RefusedError, ProofError)
"""What a broker says when it will not prove something; anything else may come right by itself."""


@dataclass
class _Replica:
    """One replica as this node knows it."""

    link: BrokerLink
    origin: str = ""
    tries: int = 0
    own_size: int = 0
    """Of the own log, what this replica holds."""


@dataclass
class _Look:
    """One look at the promises: those to be proved, those that need no more looking at, how many of which closed log
    are lost.
    """

    head: Checkpoint
    due: list[tuple[int, signed_pb2.InclusionPromise]] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)


@dataclass
class Witness:
    """Keeps `heads` up to date. `broker` gives the broker's newest manifest."""

    oin: str
    key: SigningKey = field(repr=False)
    broker: Callable[[], KeyManifest]
    store: Store
    links: Sequence[BrokerLink]
    clock: Clock
    metrics: NodeMetrics
    seconds: float = 60.0
    log: str = NODE_LOG
    """Name of the own log."""
    heads: Heads = field(default_factory=Heads)
    _seen: dict[str, Checkpoint] = field(default_factory=dict)
    _notes: dict[str, bytes] = field(default_factory=dict, repr=False)
    _moments: dict[str, datetime] = field(default_factory=dict)
    _shown: dict[str, deque[bytes]] = field(default_factory=dict, repr=False)
    _ahead: dict[bytes, int] = field(default_factory=dict)
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def __post_init__(self) -> None:
        self._replicas = [_Replica(link) for link in self.links]

    def restore(self) -> None:
        """Take up what was seen, and which alarms are open, before a restart."""
        for origin, (checkpoint, note) in self.store.read(log_table.seen).items():
            self._remember(origin, checkpoint, note)
        self._look_at_alarms()

    async def watch(self) -> None:
        """Look at every replica, over and over, until cancelled. Never raises for what a broker may send."""
        while True:
            await self.round()
            await asyncio.sleep(self.seconds)

    async def round(self) -> None:
        """One look at every replica; two at once wait for each other."""
        async with self._looking:
            for replica in self._replicas:
                try:
                    await self._look(replica)
                    await self._settle(replica)
                    await self._compare(replica)
                    await self._show(replica)
                except BekendError as fault:
                    origin = replica.origin or replica.link.address
                    logs.log(logs.CHECKPOINT_REFUSED, origin=origin, detail=fault.detail)

    def alarms(self) -> list[Alarm]:
        """Open alarms, oldest first."""
        return self.store.read(log_table.alarms)

    async def clear(self, number: int, by: str, reason: str) -> Alarm:
        """The operator looked into an alarm: it stops nothing any more, and the log is begun with anew.

        On the record, in the own log too. Raises RefusedError when there is no such open alarm, StorageError.
        """
        alarm = next((one for one in self.alarms() if one.id == number), None)
        if alarm is None:
            raise RefusedError("alarm", "Er is geen open alarm met dit nummer: zie `bekend node status`.")
        at = milliseconds(self.clock.now())
        entry = _hash("cleared", f"{number}\n{at}\n{by}\n{reason}")

        def work(connection: Connection) -> None:
            log_table.clear_alarm(connection, number, at=at, by=by, reason=reason)
            if alarm.stops:
                log_table.forget_seen(connection, alarm.origin)
            log_table.append(connection, [Entry("alarm-cleared", entry, at)])

        await self.store.write(work)
        if alarm.stops:
            self._seen.pop(alarm.origin, None)
            self._notes.pop(alarm.origin, None)
            self.heads.checkpoint = next((one.to_bytes() for one in self._seen.values()), NO_CHECKPOINT)
        self._look_at_alarms()
        logs.log(logs.LOG_ALARM_CLEARED, number=number, origin=alarm.origin, kind=alarm.kind, by=by, reason=reason)
        return alarm

    # 1 and 2: the broker's log.

    async def _look(self, replica: _Replica) -> None:
        note = (await _call(replica.link.stub.GetCheckpoint, broker_pb2.GetCheckpointRequest())).checkpoint
        found = self._open(note)
        replica.origin = found.origin
        before = self._seen.get(found.origin)
        if before == found:
            # The same log, with whoever cosigned it since.
            self._notes[found.origin] = note
            self._looked(replica, note)
            return
        if before is not None:
            await self._prove(replica, before, found, note)
        else:
            await self._take_over(replica, found, note)
        if self.heads.stopped:
            return
        if before is None or found.size > before.size:
            now = self.clock.now()
            await self.store.write(lambda c: log_table.keep_seen(c, found, note, milliseconds(now)))
            self._remember(found.origin, found, note)
            # What other partners cosigned is there already.
            signed = cosign(bare(note), self.oin, self.key, int(now.timestamp()))
            await _call(replica.link.stub.PutCosignature, broker_pb2.PutCosignatureRequest(checkpoint=signed))
        self._looked(replica, note)

    def _open(self, note: bytes) -> Checkpoint:
        """Raises MalformedError, SignatureError for what is no checkpoint of a log that the broker's manifest names."""
        if len(note) > NOTE_LIMIT:
            raise MalformedError(f"a checkpoint has at most {NOTE_LIMIT} octets")
        manifest = self.broker()
        found = open_checkpoint(note, manifest.signing_keys)
        if found.origin not in self._origins(manifest):
            raise SignatureError(f"the broker's manifest names no log {found.origin}")
        return found

    @staticmethod
    def _origins(manifest: KeyManifest) -> tuple[str, ...]:
        return tuple(log_origin(manifest.oin, name) for name in manifest.logs)

    async def _prove(self, replica: _Replica, before: Checkpoint, found: Checkpoint, note: bytes) -> None:
        """That two checkpoints of one log agree; an alarm when they do not, or nobody shows it."""
        older, newer = sorted((before, found), key=lambda one: one.size)
        evidence = self._notes.get(found.origin, b"") + note
        try:
            await self._agree(replica, older, newer)
        except ProofError as fault:
            await self._alarm(found.origin, FORK, f"{older.size} and {newer.size} entries: {fault.detail}", evidence)
        except _REFUSALS as fault:
            kind = SHRUNK if found.size < before.size else UNPROVED
            detail = f"{before.size} entries were seen, {found.size} are shown, and no proof joins them: {fault.detail}"
            await self._alarm(found.origin, kind, detail, evidence)
        except BekendError as fault:
            replica.tries += 1
            if replica.tries < TRIES:
                raise
            await self._alarm(found.origin, UNPROVED, f"no proof came {TRIES} times: {fault.detail}", evidence)
        else:
            replica.tries = 0

    async def _take_over(self, replica: _Replica, found: Checkpoint, note: bytes) -> None:
        """A log that is new here goes on from those that a restore closed: they are its first entries.

        What was seen of a closed log has to be in the new one, up to the head that the operator signed as put back.
        What was seen beyond it is lost, and an alarm that stops nothing says how much.
        """
        manifest = self.broker()
        for closed in manifest.closed_logs:
            seen = self._seen.get(log_origin(manifest.oin, closed.log))
            if seen is None or log_origin(manifest.oin, closed.next) != found.origin:
                continue
            shared = min((seen, Checkpoint(seen.origin, closed.size, closed.root)), key=lambda one: one.size)
            await self._prove(replica, Checkpoint(found.origin, shared.size, shared.root), found, note)
            if self.heads.stopped:
                return
            lost = max(seen.size - closed.size, 0)
            detail = (
                f"closed by a restore at {closed.size} entries, {lost} of those that were seen are lost; "
                f"it goes on as {found.origin}"
            )
            await self._alarm(seen.origin, CLOSED, detail, self._notes.get(seen.origin, b"") + note)
            await self._leave(seen.origin)
        await self._miss(manifest)

    async def _miss(self, manifest: KeyManifest) -> None:
        """A log that the operator names no more, without a word about its end, is an alarm that stops nothing."""
        known = (*manifest.logs, *(one.log for one in manifest.closed_logs))
        for origin in self._seen.keys() - {log_origin(manifest.oin, name) for name in known}:
            detail = f"the broker's manifest names it no more; {self._seen[origin].size} entries were seen of it"
            await self._alarm(origin, CLOSED, detail, self._notes.get(origin, b""))
            await self._leave(origin)

    def _closed(self, name: bytes, present: str) -> ClosedLog | None:
        """The closed log with this id that goes on in the log `present`, after any number of restores."""
        manifest = self.broker()
        follows = {log_origin(manifest.oin, one.log): one for one in manifest.closed_logs}
        found = next((one for origin, one in follows.items() if log_id(origin) == name), None)
        after = found
        for _ in follows:
            if after is None:
                return None
            if log_origin(manifest.oin, after.next) == present:
                return found
            after = follows.get(log_origin(manifest.oin, after.next))
        return None

    async def _leave(self, origin: str) -> None:
        """Look at a log no more: it was closed. The alarm keeps what was seen of it."""
        await self.store.write(lambda c: log_table.forget_seen(c, origin))
        self._seen.pop(origin, None)
        self._notes.pop(origin, None)

    async def _agree(self, replica: _Replica, older: Checkpoint, newer: Checkpoint) -> None:
        """Raises ProofError when they do not agree, and what the broker raises when it proves nothing."""
        hashes: Sequence[bytes] = ()
        if 0 < older.size < newer.size:
            request = broker_pb2.GetConsistencyProofRequest(log_id=newer.log_id, older=older.size, newer=newer.size)
            hashes = (await _call(replica.link.stub.GetConsistencyProof, request)).hashes
        merkle.verify_consistency(older.size, older.root, newer.size, newer.root, hashes)

    def _looked(self, replica: _Replica, note: bytes) -> None:
        self._moments[replica.origin] = self.clock.now()
        self._shown.setdefault(replica.origin, deque(maxlen=NOTES)).appendleft(note)
        self.metrics.checkpoint(replica.link.address, self.clock.now().timestamp())

    # 3: promises.

    async def _settle(self, replica: _Replica) -> None:
        head = self._seen.get(replica.origin)
        if head is None or self.heads.stopped:
            return
        if self.heads.unpromised:
            self.heads.unpromised = 0
            await self._alarm(head.origin, PROMISE, "an Answer came, and no promise with it", b"")
        look = _Look(head)
        for number, signed in self.store.open_promises(PROMISES):
            promise = await self._opened(number, signed, look.settled)
            if promise is not None:
                await self._weigh(number, promise, look)
            # A busy minute leaves thousands: lookups go on between two.
            await asyncio.sleep(0)
        for some in _batches(look.due):
            await self._proved(replica, head, some, look.settled)
        for name, count in look.lost.items():
            detail = f"{count} promises are beyond the head that was put back: others' logs alone hold their Questions"
            await self._alarm(log_origin(self.broker().oin, name), CLOSED, detail, b"")
        if look.settled:
            await self.store.settle_promises(look.settled, self.clock.now())

    async def _weigh(self, number: int, promise: signed_pb2.InclusionPromise, look: "_Look") -> None:
        """What is to be done with a promise: have it proved, under the log that goes on from its own; wait; give up."""
        closed = self._closed(promise.log_id, look.head.origin)
        if closed is None and promise.log_id != look.head.log_id:
            return
        if closed is not None and any(one.index >= closed.size for one in promise.promised):
            look.lost[closed.log] = look.lost.get(closed.log, 0) + 1
            look.settled.append(number)
        elif all(one.index < look.head.size for one in promise.promised):
            look.due.append((number, promise))
        elif self.clock.now() - from_milliseconds(promise.time) > PROMISE_TERM:
            await self._broken(number, promise, "no checkpoint holds it after five minutes", look.settled)

    async def _opened(
        self, number: int, signed: signed_pb2.Signed, settled: list[int]
    ) -> signed_pb2.InclusionPromise | None:
        """The promise; an alarm when it is none."""
        manifest = self.broker()
        try:
            promise = open_signed(signed_pb2.InclusionPromise, signed, LABEL_PROMISE, manifest.signing_keys)
            named = (*manifest.logs, *(one.log for one in manifest.closed_logs))
            if promise.requester != self.oin or promise.log_id not in _log_ids(manifest.oin, named):
                raise MalformedError("it is of another node, or of a log that the manifest does not name")
        except BekendError as fault:
            origin = log_origin(manifest.oin, "?")
            await self._alarm(origin, PROMISE, f"promise {number} is none: {fault.detail}", signed.payload)
            settled.append(number)
            return None
        return promise

    async def _proved(
        self,
        replica: _Replica,
        head: Checkpoint,
        due: Sequence[tuple[int, signed_pb2.InclusionPromise]],
        settled: list[int],
    ) -> None:
        """Have these promises proved under a checkpoint."""
        entries = [(promise, one) for _, promise in due for one in promise.promised]
        request = broker_pb2.GetInclusionProofRequest(
            log_id=head.log_id, indexes=[one.index for _, one in entries], size=head.size
        )
        try:
            paths = (await _call(replica.link.stub.GetInclusionProof, request)).paths
            if len(paths) != len(entries):
                raise ProofError("the broker gave another number of proofs")
        except _REFUSALS as fault:
            for number, promise in due:
                await self._broken(number, promise, f"the broker does not prove it: {fault.detail}", settled)
            return
        found = iter(paths)
        for number, promise in due:
            try:
                for one in promise.promised:
                    leaf = Entry("question", one.question_hash, promise.time, self.oin, one.source).leaf()
                    merkle.verify_inclusion(leaf, one.index, head.size, next(found).hashes, head.root)
            except ProofError as fault:
                await self._broken(number, promise, fault.detail, settled)
                return
            settled.append(number)
            await asyncio.sleep(0)

    async def _broken(self, number: int, promise: signed_pb2.InclusionPromise, detail: str, settled: list[int]) -> None:
        origin = next((one for one in self._seen if log_id(one) == promise.log_id), "")
        at = from_milliseconds(promise.time).isoformat(timespec="seconds")
        await self._alarm(origin, PROMISE, f"promise {number} of {at}: {detail}", promise.SerializeToString())
        settled.append(number)

    # 4: what peers saw.

    async def _compare(self, replica: _Replica) -> None:
        head = self._seen.get(replica.origin)
        if head is None or self.heads.stopped:
            return
        for octets, peer in tuple(self.heads.heard.items()):
            seen = Seen.parse(octets)
            if seen is None or seen.log_id != head.log_id:
                self._drop_unknown(octets)
                continue
            if seen.size > head.size and self._wait(octets):
                continue
            try:
                if seen.size > head.size:
                    # Without the numbers, which are in the evidence: however many it makes up, they are one alarm.
                    raise ProofError("more entries were shown to it than to this node")
                await self._agree(replica, Checkpoint(head.origin, seen.size, seen.root), head)
            except _REFUSALS as fault:
                await self._alarm(head.origin, GOSSIP, f"a checkpoint that {peer} carried: {fault.detail}", octets)
            self._ahead.pop(octets, None)
            self.heads.agree(octets)

    def _wait(self, octets: bytes) -> bool:
        """A peer may have looked a moment later than this node: it gets a few rounds."""
        self._ahead[octets] = self._ahead.get(octets, 0) + 1
        return self._ahead[octets] < TRIES

    def _drop_unknown(self, octets: bytes) -> None:
        """Of a log that no replica showed to this node yet: a few rounds, then it is let go."""
        if not self._wait(octets):
            self._ahead.pop(octets, None)
            self.heads.heard.pop(octets, None)

    # 5: the own log.

    async def _show(self, replica: _Replica) -> None:
        note, size = await self._own()
        if size == replica.own_size:
            return
        for _ in range(2):
            older = replica.own_size
            request = broker_pb2.PutCheckpointRequest(checkpoint=note, older=older, hashes=self._own_proof(older, size))
            try:
                reply = await _call(replica.link.stub.PutCheckpoint, request)
            except LogError:
                detail = "the broker says that this node's log does not go on from what it was: was a backup restored?"
                await self._alarm(log_origin(self.oin, self.log), OWN, detail, note)
                return
            if reply.size > size:
                detail = f"the broker saw {reply.size} entries of this node's log, which has {size}: was it restored?"
                await self._alarm(log_origin(self.oin, self.log), OWN, detail, note)
                return
            replica.own_size = reply.size
            if reply.size == size:
                return

    async def _own(self) -> tuple[bytes, int]:
        """The own log, signed; made anew when it has grown."""
        at = milliseconds(self.clock.now())

        def work(connection: Connection) -> tuple[bytes, int]:
            size = log_table.log_size(connection)
            newest = log_table.newest_checkpoint(connection)
            if newest is not None and newest[0] == size:
                return newest[1], size
            note = own_checkpoint(connection, self.oin, self.log).sign(self.key)
            log_table.keep_checkpoint(connection, size, note, at)
            return note, size

        return await self.store.write(work)

    def _own_proof(self, older: int, size: int) -> list[bytes]:
        return self.store.read(lambda c: merkle.consistency_proof(older, size, log_table.reader(c)))

    # Alarms.

    async def _alarm(self, origin: str, kind: str, detail: str, evidence: bytes) -> None:
        at = milliseconds(self.clock.now())
        alarm = Alarm(0, at, origin, kind, kind in STOPPING, detail, evidence, False)

        def work(connection: Connection) -> None:
            known = len(log_table.alarms(connection))
            log_table.raise_alarm(connection, alarm)
            if len(log_table.alarms(connection)) > known:
                log_table.append(connection, [Entry("alarm", _hash("alarm", f"{origin}\n{kind}\n{detail}"), at)])

        await self.store.write(work)
        logs.log(logs.LOG_ALARM, origin=origin, kind=kind, detail=detail)
        self._look_at_alarms()

    def _look_at_alarms(self) -> None:
        found = self.alarms()
        stopping = [one for one in found if one.stops]
        self.heads.stopped = f"{stopping[0].origin}: {stopping[0].kind}: {stopping[0].detail}" if stopping else ""
        self.metrics.log_alarms(len(found))

    def _remember(self, origin: str, checkpoint: Checkpoint, note: bytes) -> None:
        self._seen[origin], self._notes[origin] = checkpoint, note
        self.heads.checkpoint = checkpoint.to_bytes()
        self.heads.agree(self.heads.checkpoint)

    def seen(self) -> dict[str, int]:
        """Entries of each of the broker's logs, as last proved."""
        return {origin: checkpoint.size for origin, checkpoint in sorted(self._seen.items())}

    def shown(self, origin: str) -> tuple[bytes, ...]:
        """The last checkpoints of a log since the node started, newest first, each with who cosigned it by then."""
        return tuple(self._shown.get(origin, ()))

    def looked_at(self, origin: str) -> datetime | None:
        """When this log was last looked at since the node started."""
        return self._moments.get(origin)


def own_checkpoint(connection: Connection, oin: str, name: str = NODE_LOG) -> Checkpoint:
    """The head of the own log now."""
    size = log_table.log_size(connection)
    return Checkpoint(log_origin(oin, name), size, merkle.root(size, log_table.reader(connection)))


def _batches(
    due: Iterable[tuple[int, signed_pb2.InclusionPromise]],
) -> Iterator[list[tuple[int, signed_pb2.InclusionPromise]]]:
    """Promises with at most PROOFS_AT_ONCE entries together."""
    batch: list[tuple[int, signed_pb2.InclusionPromise]] = []
    count = 0
    for number, promise in due:
        if count + len(promise.promised) > PROOFS_AT_ONCE:
            yield batch
            batch, count = [], 0
        batch.append((number, promise))
        count += len(promise.promised)
    if batch:
        yield batch


def _log_ids(oin: str, names: Iterable[str]) -> set[bytes]:
    return {log_id(log_origin(oin, name)) for name in names}


async def _call(method: Callable[..., Any], request: Any) -> Any:
    try:
        return await method(request, timeout=CALL_SECONDS)
    except grpc.RpcError as fault:
        raise from_rpc_error(fault) from fault


def _hash(what: str, text: str) -> bytes:
    return blake2b(f"{what}\n{text}".encode(), digest_size=32, person=b"bekend1-alarm").digest()
