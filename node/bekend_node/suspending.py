"""What is suspended, as this node believes it: notes from the directory and those that were put down here.

Each is verified against the covenant's keys, kept durably, and in force from then on for what this node asks and for
what it answers, whatever the broker says afterwards. Only a newer note of the same signer changes it. A note that a
replica of the broker lacks is published to it: none of them can hide one from the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import grpc
from bekend_policy.model import Covenant
from bekend_policy.suspension import NOTE_LIMIT, Suspension, Suspensions, open_suspension, parse_suspension
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, MalformedError, StaleError, StorageError, code_name, from_rpc_error
from bekend_proto.logs import log
from bekend_proto.note import parse_note
from bekend_proto.v1 import broker_pb2

from bekend_node.broker_link import BrokerLink
from bekend_node.store import Store

CALL_SECONDS = 5.0
AT_MOST = 10_000
"""Notes that one reply of a broker may hold."""

Install = Callable[[bytes], Awaitable[tuple[Suspension, dict[str, bool]]]]
"""Puts a note into force; gives what it says, and which replicas of the broker have it."""


class Suspending:
    """Keeps `held` up to date. `covenants` gives the versions held now, newest first."""

    def __init__(
        self, covenants: Callable[[], Sequence[Covenant]], store: Store, links: Sequence[BrokerLink], clock: Clock
    ) -> None:
        self.held = Suspensions()
        self._covenants = covenants
        self._store = store
        self._links = links
        self._clock = clock
        self._taking = asyncio.Lock()

    def restore(self) -> None:
        """Take up what was believed before a restart. Verified then: a key that was renewed since undoes nothing."""
        for note in self._store.suspensions():
            self.held.put(parse_suspension(parse_note(note).text), note)

    async def install(self, note: bytes) -> tuple[Suspension, dict[str, bool]]:
        """Put a note into force here, then publish it: per replica whether it has it now.

        Raises as `open_suspension`, StaleError for an older number than one seen, RefusedError when nothing would be
        stopped between the one in force and this one, StorageError.
        """
        self.held.check_no_gap(open_suspension(note, self._covenants()), self._clock.now())
        suspension = await self._take(note)
        published = await asyncio.gather(*(self._publish(link, note) for link in self._links))
        return suspension, {link.address: good for link, good in zip(self._links, published, strict=True)}

    async def exchange(self, link: BrokerLink, notes: Iterable[bytes]) -> None:
        """Take what a replica has, and give it what it lacks. Never raises for what a broker may send."""
        there: dict[tuple[str, str, str, str], int] = {}
        for note in tuple(notes)[:AT_MOST]:
            try:
                if len(note) > NOTE_LIMIT:
                    # Before it is read: reading a megabyte keeps questions waiting.
                    raise MalformedError(f"a suspension has at most {NOTE_LIMIT} octets")
                seen = parse_suspension(parse_note(note).text)
                there[seen.key] = seen.number
                if seen.number > self.held.number(seen):
                    await self._take(note)
            except StorageError:
                raise
            except BekendError as fault:
                # The carrier is not trusted: what does not verify says nothing.
                log(logs.SUSPENSION_SKIPPED, detail=fault.detail)
        for suspension, note in self.held.known():
            if there.get(suspension.key, 0) < suspension.number:
                await self._publish(link, note)

    async def _take(self, note: bytes) -> Suspension:
        suspension = open_suspension(note, self._covenants())
        async with self._taking:
            number = self.held.number(suspension)
            if suspension.number < number:
                raise StaleError(f"stilzetting {suspension.number}: nummer {number} geldt al, geef een hoger nummer")
            if suspension.number == number:
                held = self.held.note(suspension)
                if held is None or parse_note(held).text != parse_note(note).text:
                    raise StaleError(f"onder nummer {number} geldt al een andere stilzetting: geef een hoger nummer")
                return suspension
            self.held.check_newer(suspension)
            await self._store.keep_suspension(suspension.key, suspension.number, note)
            self.held.put(suspension, note)
        log(
            logs.SUSPENSION_TAKEN,
            by=suspension.by,
            what=suspension.what.value,
            about=suspension.about,
            number=suspension.number,
            lifted=suspension.lifted,
        )
        return suspension

    async def _publish(self, link: BrokerLink, note: bytes) -> bool:
        try:
            await link.stub.PublishSuspension(broker_pb2.PublishSuspensionRequest(note=note), timeout=CALL_SECONDS)
        except grpc.RpcError as fault:
            error = from_rpc_error(fault)
            log(logs.PUBLISH_REFUSED, broker=link.address, code=code_name(error.code), detail=error.detail)
            return False
        return True
