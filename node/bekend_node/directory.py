"""Who has which keys: key manifests, fetched from the broker, verified by keys that the covenant pins.

The broker only carries them. Each is a signed note of its owner's ondertekenaar (the broker's of the operator); the
highest number seen is remembered durably and an older one is refused (protocol section 4). A key that arrives in a
message is compared with these, never learned.

Each replica is asked by itself, and what it sends is taken in when it comes: one that is slow, or that hangs, keeps
nobody from what another brings. Whoever waits does so for CALL_SECONDS at the most.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import grpc
from bekend_policy.manifest import BROKER_NOTE_LIMIT, NOTE_LIMIT, KeyManifest, open_manifest
from bekend_policy.model import Covenant
from bekend_proto.clock import Clock
from bekend_proto.errors import (
    BekendError,
    KeysError,
    MalformedError,
    UnknownPartnerError,
    UnreachableError,
    from_rpc_error,
)
from bekend_proto.identity import MAX_DIRECTORY
from bekend_proto.note import parse_note, verify_note
from bekend_proto.v1 import broker_pb2

from bekend_node.broker_link import BrokerLink, PinnedKeyError
from bekend_node.clock_beside import Call
from bekend_node.reach import Shown
from bekend_node.rules import SUPERSEDED_GRACE
from bekend_node.store import Store

if TYPE_CHECKING:
    from bekend_proto.v1.broker_pb2_grpc import BrokerServiceAsyncStub

REFRESH_SECONDS = 60.0
CALL_SECONDS = 5.0
"""How long who needs a key waits for it."""
SLOWEST: Final = 1_000_000 / 8
"""Octets a second of the slowest line that a whole directory has to come over."""
DIRECTORY_SECONDS: Final = CALL_SECONDS + MAX_DIRECTORY / SLOWEST
"""How long one call may take: as long as the largest reply does over that line. With less, a node on such a line would
have every fetch cut off, begin anew, and never learn of another key. What was fetched whole does not come again, so
this is rare; and the call shares the line with all others.
"""
Exchange = Callable[[BrokerLink, Sequence[bytes]], Awaitable[None]]
Heard = Callable[[str, Call, datetime, timedelta], Awaitable[None]]


@dataclass(frozen=True)
class _Seen:
    manifest: KeyManifest
    note: bytes
    previous: KeyManifest | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class _Whole:
    """What a replica has. Kept as it came, believed or not: a note that does not hold yet may hold later."""

    digest: bytes = b""
    """Empty where it told none, and sends everything every time."""
    notes: Mapping[str, bytes] = field(default_factory=dict)
    """By OIN, the broker's own among them."""
    suspensions: tuple[bytes, ...] = ()
    attached: frozenset[str] = frozenset()
    """Whose nodes are attached to it."""


class Directory:
    """The verified key manifests of partners and broker.

    `covenant` gives the covenant in force, `older` the versions that still count beside it; `links` are the broker's
    replicas. `exchange` takes the suspensions that a replica has, after the manifests; `heard` is told of each call
    that was answered: the replica's address, when it was made, and how long it lasted by a clock that nobody sets.
    """

    def __init__(
        self,
        covenant: Callable[[], Covenant],
        store: Store,
        links: Sequence[BrokerLink],
        clock: Clock,
        *,
        older: Callable[[], Sequence[Covenant]] = tuple,
        exchange: Exchange | None = None,
        heard: Heard | None = None,
    ) -> None:
        self._covenant = covenant
        self._older = older
        self._exchange = exchange
        self._heard = heard
        self._store = store
        self._links = links
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._attached: dict[str, frozenset[str]] = {}
        self._whole: dict[str, _Whole] = {}
        self._asking: dict[str, asyncio.Task[BekendError | None]] = {}
        """The last call to each replica, and what went wrong with it."""
        self._again: set[str] = set()
        """Replicas that are asked once more when the call under way has ended."""
        self._taking = asyncio.Lock()
        self._refreshed = asyncio.Event()

    def restore(self) -> None:
        """Take in what was seen before a restart; what no longer verifies is left out, its number stays remembered."""
        for oin, (_, note) in self._store.manifests().items():
            with contextlib.suppress(BekendError):
                self._seen[oin] = _Seen(self._open(oin, note), note)

    def recheck(self) -> None:
        """After another covenant came into force: believe no more what its keys do not verify.

        A key that was taken out because it was stolen must not live on in what it signed before.
        """
        for oin, seen in tuple(self._seen.items()):
            try:
                self._open(oin, seen.note)
            except BekendError:
                del self._seen[oin]

    def get(self, oin: str, number: int | None = None) -> KeyManifest:
        """The newest manifest of a party, or the one with this number.

        Raises KeysError when it is unknown, has ended, or was superseded longer than SUPERSEDED_GRACE ago.
        """
        seen = self._seen.get(oin)
        now = self._clock.now()
        if seen is None:
            raise KeysError(f"no key manifest of {oin}: it has not published one, or the broker does not carry it")
        if number is None or number == seen.manifest.number:
            return _alive(seen.manifest, now)
        previous = seen.previous
        if previous and previous.number == number and seen.since and now - seen.since <= SUPERSEDED_GRACE:
            return _alive(previous, now)
        raise KeysError(f"manifest {number} of {oin} is not the one in force ({seen.manifest.number})")

    def at_hand(self, oin: str) -> KeyManifest | None:
        """The newest manifest of a party; None when it is unknown or has ended."""
        try:
            return self.get(oin)
        except KeysError:
            return None

    async def require(self, oin: str, number: int | None = None) -> KeyManifest:
        """As `get`, but asks the broker once (shared by all who wait) for a number that is not known yet."""
        try:
            return self.get(oin, number)
        except KeysError:
            seen = self._seen.get(oin)
            if seen and number is not None and number < seen.manifest.number:
                raise
        await self._wait(self._ask_all(), lambda _: self._knows(oin, number), CALL_SECONDS)
        return self.get(oin, number)

    def broker(self) -> KeyManifest:
        """The broker's newest manifest. Raises KeysError."""
        return self.get(self._covenant().broker_oin)

    async def refresh(self) -> None:
        """Ask all replicas now; callers at the same moment share a call. What comes later than CALL_SECONDS is taken in
        all the same.

        Raises UnreachableError, or what else went wrong, if none answers by then.
        """
        asked = self._ask_all()
        await self._wait(asked, lambda _: False, CALL_SECONDS)
        for address, call in asked.items():
            if not call.done():
                # It is not heard any more.
                self._attached.pop(address, None)

    async def fetch(self) -> None:
        """Ask all replicas, and wait for the first that answers, as long as that may take: for a command, which has
        nothing else to do. Raises as `refresh`.
        """
        await self._wait(self._ask_all(), any, DIRECTORY_SECONDS)

    def check_broker(self, shown: Shown) -> None:
        """Whether a certificate is the broker's: of its organisation, with a key that its manifest names.

        A broker whose manifest is not known yet, or names no key, is believed by its certificate. Raises
        UnknownPartnerError, PinnedKeyError.
        """
        oin = self._covenant().broker_oin
        if shown.oin != oin:
            raise UnknownPartnerError(f"the replica shows a certificate of {shown.oin}, the broker is {oin}")
        seen = self._seen.get(oin)
        if seen is not None and not seen.manifest.pins(shown.key):
            raise PinnedKeyError(
                f"the replica shows a certificate with a key that manifest {seen.manifest.number} of the broker does "
                "not name: ask the operator of the broker whether it is theirs"
            )

    async def learn(self, stub: "BrokerServiceAsyncStub") -> None:
        """Take the broker's own manifest from a replica that is not believed yet. Raises UnreachableError."""
        try:
            reply = await stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=DIRECTORY_SECONDS)
        except grpc.RpcError as fault:
            raise from_rpc_error(fault) from fault
        await self._take(self._covenant().broker_oin, reply.broker_manifest)

    def guard(self, links: Sequence[BrokerLink]) -> None:
        """Let these links go by what stands in here."""
        for link in links:
            link.check, link.learn = self.check_broker, self.learn

    def attached_to(self, link: BrokerLink) -> frozenset[str]:
        """Who was attached to this replica, by its own word, when it was last asked."""
        return self._attached.get(link.address, frozenset())

    async def changed(self) -> None:
        """Something changed just now: a call that is under way may have missed it, so ask after it. Never raises."""
        self._again.update(address for address, call in self._asking.items() if not call.done())
        with contextlib.suppress(BekendError):
            await self.refresh()

    async def keep_fresh(self) -> None:
        """Refresh every minute until cancelled. A broker that cannot be reached now is asked again then."""
        while True:
            with contextlib.suppress(BekendError):
                await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    async def wait(self) -> None:
        """Return once the directory was fetched for the first time."""
        await self._refreshed.wait()

    async def close(self) -> None:
        """End the calls under way."""
        for call in self._asking.values():
            call.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _knows(self, oin: str, number: int | None) -> bool:
        try:
            self.get(oin, number)
        except KeysError:
            return False
        return True

    def _ask_all(self) -> dict[str, asyncio.Task[BekendError | None]]:
        """A call to each replica, by its address: that which is under way, or one that begins now."""
        for link in self._links:
            call = self._asking.get(link.address)
            if call is None or call.done():
                self._asking[link.address] = asyncio.ensure_future(self._ask(link))
        return dict(self._asking)

    async def _wait(
        self,
        asked: Mapping[str, asyncio.Task[BekendError | None]],
        enough: Callable[[Sequence[bool]], bool],
        seconds: float,
    ) -> None:
        """Wait until all calls have ended, until it is enough, or for so long; `enough` hears which were answered.

        Raises UnreachableError, or what else went wrong, when none was answered.
        """
        loop = asyncio.get_running_loop()
        until, pending = loop.time() + seconds, set(asked.values())
        while pending and (left := until - loop.time()) > 0:
            _, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if enough([call.result() is None for call in asked.values() if call.done()]):
                return
        faults = [call.result() for call in asked.values() if call.done()]
        if None not in faults:
            raise next((one for one in faults if one), UnreachableError("no broker answered in time"))

    async def _ask(self, link: BrokerLink) -> BekendError | None:
        """Ask one replica, and again when something changed meanwhile; gives what went wrong the last time."""
        while True:
            self._again.discard(link.address)
            fault: BekendError | None = None
            try:
                await self._ask_once(link)
            except BekendError as error:
                fault = error
                self._attached.pop(link.address, None)
            if link.address not in self._again:
                return fault

    async def _ask_once(self, link: BrokerLink) -> None:
        had = self._whole.get(link.address, _Whole())
        request = broker_pb2.GetDirectoryRequest(have=had.digest, changes=True)
        loop = asyncio.get_running_loop()
        began, since = self._clock.now(), loop.time()
        try:
            call = link.stub.GetDirectory(request, timeout=DIRECTORY_SECONDS)
            told = await call
            if self._heard is not None:
                await self._heard(link.address, call, began, timedelta(seconds=loop.time() - since))
        except grpc.RpcError as fault:
            raise from_rpc_error(fault) from fault
        except asyncio.CancelledError:
            # A channel that went takes its calls along; who waits for this one goes on.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise UnreachableError("the line to this replica was closed meanwhile") from None
        # What goes by nothing that it told is forgotten: it sends everything the next time.
        self._whole.pop(link.address, None)
        self._whole[link.address] = whole = _whole(had, told, self._covenant().broker_oin)
        self._attached[link.address] = whole.attached
        # One reply at a time: of two replicas, one may have an older number.
        async with self._taking:
            await self._take_all(whole)
        self._refreshed.set()
        if self._exchange is not None:
            await self._exchange(link, whole.suspensions)

    async def _take_all(self, whole: _Whole) -> None:
        """Take in what is not believed yet: also what came before and did not hold then."""
        new = [(oin, note) for oin, note in whole.notes.items() if (s := self._seen.get(oin)) is None or s.note != note]
        # Together: of hundreds that are new to this node, many share a commit.
        await asyncio.gather(*(self._take(oin, note) for oin, note in new))

    async def _take(self, oin: str, note: bytes) -> None:
        """Take in one note if it verifies and is newer; else it changes nothing."""
        seen = self._seen.get(oin)
        if seen is not None and note == seen.note:
            return
        try:
            manifest = self._open(oin, note)
        except BekendError:
            # The carrier is not trusted: a note that does not verify says nothing about its owner.
            return
        highest, kept = (seen.manifest.number, seen.note) if seen else self._store.manifests().get(oin, (0, b""))
        if manifest.number < highest or (seen and manifest.number == highest):
            return
        if manifest.number == highest and parse_note(note).text != parse_note(kept).text:
            # What was kept ended, or does not hold now: still no other text has its number.
            return
        if manifest.number > highest > 0 and not verify_note(parse_note(note), next(self._keys(oin))):
            # A key that was replaced keeps what it signed and brings nothing new: its thief gains nothing.
            return
        await self._store.remember_manifest(oin, manifest.number, note)
        self._seen[oin] = _Seen(manifest, note, seen.manifest if seen else None, self._clock.now())

    def _open(self, oin: str, note: bytes) -> KeyManifest:
        if len(note) > (BROKER_NOTE_LIMIT if oin == self._covenant().broker_oin else NOTE_LIMIT):
            raise KeysError("a manifest of this size is none")
        first: BekendError | None = None
        # During a change-over what the old key signed before still counts.
        for key in dict.fromkeys(self._keys(oin)):
            try:
                manifest = open_manifest(note, key, self._clock.now())
            except BekendError as fault:
                first = first or fault
                continue
            if manifest.oin != oin:
                raise KeysError(f"a manifest of {manifest.oin} under the name of {oin}")
            return manifest
        raise first or KeysError(f"{oin} is no participant of the covenant")

    def _keys(self, oin: str) -> Iterator[str]:
        """The off-line keys that the versions of the covenant pin for a party, newest version first."""
        for covenant in (self._covenant(), *self._older()):
            if oin == covenant.broker_oin:
                yield covenant.operator_key
            elif oin in covenant.participants:
                yield covenant.participants[oin].signer


def _alive(manifest: KeyManifest, now: datetime) -> KeyManifest:
    if now >= manifest.valid_until:
        raise KeysError(f"manifest {manifest.number} of {manifest.oin} has ended: its owner must publish a new one")
    return manifest


def _whole(had: _Whole, told: broker_pb2.GetDirectoryResponse, broker: str) -> _Whole:
    """All that a replica has, each note once, by what it told and what it had told before.

    Raises MalformedError when it goes by what it did not tell before, or has more than a directory holds.
    """
    if told.unchanged:
        return replace(had, attached=frozenset(told.attached))
    notes = {entry.oin: entry.manifest for entry in told.entries}
    if not told.since:
        notes[broker], attached = told.broker_manifest, (one.oin for one in told.entries if one.attached)
        return _Whole(told.digest, notes, tuple(told.suspensions), frozenset(attached))
    if told.since != had.digest:
        raise MalformedError("the broker tells what changed since something that it did not tell this node")
    if told.broker_manifest:
        notes[broker] = told.broker_manifest
    notes = {oin: note for oin, note in had.notes.items() if oin not in told.gone} | notes
    if sum(len(oin) + len(note) for oin, note in notes.items()) > MAX_DIRECTORY:
        raise MalformedError(f"a directory has at most {MAX_DIRECTORY} octets")
    return _Whole(told.digest, notes, tuple(told.suspensions), frozenset(told.attached))
