"""Who is who: what is in service (`present.py`), the newest key manifest of each partner, which machine each node is;
and what is suspended.

Keys are learned from manifests only. What comes is held against the newest that was seen (`newest.py`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from bekend_policy.manifest import NOTE_LIMIT, KeyManifest
from bekend_policy.suspension import Suspension, Suspensions, open_suspension, parse_suspension
from bekend_proto import incarnation, log_table, logs
from bekend_proto.clock import FRESHNESS, Clock, milliseconds
from bekend_proto.errors import (
    BekendError,
    FencedError,
    KeysError,
    MalformedError,
    NotReadyError,
    StaleError,
    UnknownPartnerError,
)
from bekend_proto.incarnation import Incarnation
from bekend_proto.interceptors import Caller
from bekend_proto.note import parse_note
from bekend_proto.v1.broker_pb2 import GetDirectoryRequest, GetDirectoryResponse

from bekend_broker import store_directory
from bekend_broker.editions import Content, Editions
from bekend_broker.newest import remember_manifest, remember_present, remember_suspension
from bekend_broker.present import Present
from bekend_broker.store import Store

SUPERSEDED_GRACE: Final = timedelta(minutes=3)
"""How long a number that was superseded still names its party in messages under way: nodes refresh every minute."""

OPEN_CALLS: Final = frozenset({"PublishManifest", "GetDirectory"})
"""Calls that bring and give signed notes and nothing else."""


class Directory:
    """The manifests that this broker believes, and what it has in service."""

    def __init__(self, database: Store, clock: Clock, present: Present) -> None:
        self._store = database
        self._clock = clock
        self._suspensions = Suspensions()
        for note in database.suspensions():
            # Verified when it came; a key that was renewed since undoes no suspension.
            self._suspensions.put(parse_suspension(parse_note(note).text), note)
        self.present = replace(present, suspensions=self._suspensions)
        self._manifests: dict[str, tuple[KeyManifest, bytes]] = {}
        self._superseded: dict[str, tuple[int, datetime]] = {}
        self._looked_at: set[bytes] = set()
        self._editions = Editions()
        self.own_number_elsewhere = 0
        """The number of the own manifest that the newest replica serves."""
        self._incarnations = database.read(store_directory.incarnations)
        self._quiet_until = database.read(log_table.quiet_until)
        # One change at a time: what is published during a reload is not lost.
        self._changing = asyncio.Lock()

    async def replace(self, present: Present) -> None:
        """Put covenant, keys and own manifest into service, and verify the partners' manifests under them.

        Raises KeysError when the own manifest is older than one that served before.
        """
        async with self._changing:
            await self._store.write(lambda c: remember_present(c, present))
            manifests = await asyncio.to_thread(self._believed, present)
            self._supersede(self.present.manifest, present.manifest)
            self.present = replace(present, suspensions=self._suspensions)
            self._manifests = manifests
            self._looked_at.clear()

    def _believed(self, present: Present) -> dict[str, tuple[KeyManifest, bytes]]:
        """The partners' manifests of the store that hold under this covenant."""
        found: dict[str, tuple[KeyManifest, bytes]] = {}
        for oin, (_, note) in self._store.manifests().items():
            if oin == present.manifest.oin or not any(oin in one.participants for one in present.covenants):
                continue
            try:
                found[oin] = present.open_manifest_of(oin, note, self._clock.now()), note
            except BekendError as fault:
                logs.log(logs.MANIFEST_SKIPPED, oin=oin, detail=fault.detail)
        return found

    def admit(self, caller: Caller) -> None:
        """Whoever the covenant does not name is refused before anything else is looked at, and so is a certificate in a
        partner's name with another key than its manifest names: that one may only bring a manifest, or fetch them.

        Nor does a machine get anything more in whose place another one attached.

        Raises UnknownPartnerError, FencedError, MalformedError.
        """
        self.present.partner(caller.oin)
        if caller.method.rpartition("/")[2] in OPEN_CALLS:
            return
        self.check_incarnation(caller)
        held = self._manifests.get(caller.oin)
        if held is None or held[0].pins(caller.key):
            return
        raise UnknownPartnerError(
            f"the certificate of {caller.oin} has a key that its manifest {held[0].number} does not name"
        )

    def check_incarnation(self, caller: Caller) -> Incarnation:
        """Which machine calls. Raises FencedError when another one attached in its place, MalformedError."""
        stated = incarnation.parse(caller.incarnation, caller.oin)
        held = self._incarnations.get(caller.oin)
        if held is not None and stated.is_fenced_by(held):
            raise FencedError(f"another machine took the place of this one of {caller.oin}")
        return stated

    async def take_incarnation(self, caller: Caller) -> bool:
        """Remember, durably, the machine that attaches; says whether it takes the place of another one.

        Raises FencedError when another took its place, SignatureError when the node did not sign it, StaleError when it
        is of a moment to come, StorageError.
        """
        stated = self.check_incarnation(caller)
        held = self._incarnations.get(caller.oin)
        if stated in {incarnation.NOBODY, held}:
            return False
        incarnation.check(stated, self.manifest_of(caller.oin).signing_keys)
        if stated.number > milliseconds(self._clock.now() + FRESHNESS):
            raise StaleError("a machine that takes over in the future: check the clocks")
        async with self._changing:
            self.check_incarnation(caller)
            await self._store.write(lambda c: store_directory.keep_incarnation(c, stated))
            self._incarnations[caller.oin] = stated
        if held is not None:
            logs.log(logs.SOURCE_TOOK_OVER, oin=caller.oin, since=stated.number)
        return held is not None

    async def publish(self, caller: str, note: bytes, key: bytes) -> int:
        """Take a partner's own manifest into the directory; gives its number. `key` is that of its certificate.

        Raises UnknownPartnerError when the manifest names other TLS keys, SignatureError when its ondertekenaar did not
        sign it, KeysError when it is another's, has ended, or is new and signed by a key that was replaced, StaleError
        when a newer one was seen.
        """
        self.present.partner(caller)
        if len(note) > NOTE_LIMIT:
            raise MalformedError(f"a manifest has at most {NOTE_LIMIT} octets")
        manifest = await asyncio.to_thread(self.present.open_manifest_of, caller, note, self._clock.now())
        if manifest.oin != caller:
            raise KeysError(f"{caller} offers the manifest of {manifest.oin}")
        if not manifest.pins(key):
            raise UnknownPartnerError(
                f"manifest {manifest.number} of {caller} does not name the key of the certificate that it came with: "
                "name both while a certificate is renewed (`pinned` in node.yaml)"
            )
        async with self._changing:
            number = (await self._store.look(store_directory.all_manifests)).get(caller, (0, b""))[0]
            if manifest.number > number > 0 and not self.present.is_signed_now(caller, note):
                raise KeysError(
                    f"{caller} has another key in the newest version: have the manifest signed with that one, and also "
                    "with the old one as long as partners go by the older version"
                )
            await self._store.write(lambda c: remember_manifest(c, manifest, note))
            held = self._manifests.get(caller)
            if held is None or held[0].number < manifest.number:
                if held is not None:
                    self._supersede(held[0], manifest)
                self._manifests[caller] = manifest, note
                logs.log(logs.MANIFEST_ACCEPTED, oin=caller, number=manifest.number)
        return manifest.number

    async def check_no_gap(self, note: bytes) -> None:
        """Raise RefusedError when a note that is put down here would stop nothing for a while; as `suspend` besides."""
        suspension = await asyncio.to_thread(open_suspension, note, self.present.covenants)
        self._suspensions.check_no_gap(suspension, self._clock.now())

    async def suspend(self, note: bytes) -> tuple[int, bool]:
        """Take a suspension or withdrawal into the directory and into force; gives its number and whether it is new.

        Raises SignatureError and RefusedError when its signer did not sign it or may not, KeysError and MalformedError
        for its text, StaleError when a newer one was seen.
        """
        suspension = await asyncio.to_thread(open_suspension, note, self.present.covenants)
        async with self._changing:
            self._suspensions.check_newer(suspension)
            is_new = await self._store.write(lambda c: remember_suspension(c, suspension, note))
            if is_new:
                self._put_suspension(suspension, note)
        return suspension.number, is_new

    async def catch_up(self) -> bool:
        """Take what another replica put into the database that they share; says whether anything was new.

        It was verified there and is verified here. Raises StorageError.
        """
        manifests, notes = await self._store.look(
            lambda c: (store_directory.all_manifests(c), store_directory.all_suspensions(c))
        )
        self._incarnations = await self._store.look(store_directory.incarnations)
        self.own_number_elsewhere = manifests.pop(self.present.manifest.oin, (0, b""))[0]
        known = {*self._suspensions.notes(), *self._looked_at, *(note for _, note in self._manifests.values())}
        newer = [(oin, note) for oin, (_, note) in manifests.items() if note not in known]
        suspensions = [note for note in notes if note not in known]
        async with self._changing:
            found = [self._take_manifest(oin, note) for oin, note in newer]
            found += [self._take_suspension(note) for note in suspensions]
        self._looked_at.update(note for _, note in newer)
        self._looked_at.update(suspensions)
        return any(found)

    def _take_manifest(self, oin: str, note: bytes) -> bool:
        try:
            self.present.partner(oin)
            manifest = self.present.open_manifest_of(oin, note, self._clock.now())
        except BekendError as fault:
            logs.log(logs.MANIFEST_SKIPPED, oin=oin, detail=fault.detail)
            return False
        held = self._manifests.get(oin)
        if held is not None and held[0].number >= manifest.number:
            return False
        if held is not None:
            self._supersede(held[0], manifest)
        self._manifests[oin] = manifest, note
        logs.log(logs.MANIFEST_ACCEPTED, oin=oin, number=manifest.number)
        return True

    def _take_suspension(self, note: bytes) -> bool:
        try:
            suspension = open_suspension(note, self.present.covenants)
        except BekendError as fault:
            logs.log(logs.SUSPENSION_SKIPPED, detail=fault.detail)
            return False
        if suspension.number <= self._suspensions.number(suspension):
            return False
        self._put_suspension(suspension, note)
        return True

    def _put_suspension(self, suspension: Suspension, note: bytes) -> None:
        self._suspensions.put(suspension, note)
        logs.log(
            logs.SUSPENSION_TAKEN,
            by=suspension.by,
            what=suspension.what.value,
            about=suspension.about,
            number=suspension.number,
            lifted=suspension.lifted,
        )

    def check_quiet(self, now: datetime) -> None:
        """Raise NotReadyError just after a restore: ids that were seen since the backup are forgotten."""
        if now < self._quiet_until:
            raise NotReadyError(f"put back from a backup: nothing is evaluated before {self._quiet_until:%H:%M:%S} UTC")

    def manifest_of(self, oin: str) -> KeyManifest:
        """The newest manifest of a partner.

        Raises UnknownPartnerError for who is no participant, KeysError when it has none or it has ended.
        """
        self.present.partner(oin)
        held = self._manifests.get(oin)
        if held is None:
            raise KeysError(f"{oin} has no manifest in the directory: its node publishes one before anything else")
        if self._clock.now() >= held[0].valid_until:
            raise KeysError(f"the manifest of {oin} has ended: its ondertekenaar signs a new one")
        return held[0]

    def check_number(self, oin: str, number: int) -> None:
        """Whether a message may name this manifest of a source, or of the broker.

        Raises KeysError unless it is the newest, or was superseded a moment ago.
        """
        own = oin == self.present.manifest.oin
        newest = self.present.manifest.number if own else self.manifest_of(oin).number
        previous, until = self._superseded.get(oin, (newest, None))
        if number != newest and not (number == previous and until is not None and self._clock.now() <= until):
            raise KeysError(f"the message goes by manifest {number} of {oin}, not {newest}: fetch the directory again")

    def response(self, is_attached: Callable[[str], bool], request: GetDirectoryRequest) -> GetDirectoryResponse:
        """The directory as it travels: signed notes only, and who is attached to this replica."""
        own = self.present.manifest.oin
        notes = {oin: note for oin, (_, note) in sorted(self._manifests.items())} | {own: self.present.note}
        hashes = tuple(covenant.hash for covenant in self.present.covenants)
        content = Content(own, notes, hashes, tuple(self._suspensions.notes()))
        return self._editions.reply(content, {oin for oin in self._manifests if is_attached(oin)}, request)

    def _supersede(self, old: KeyManifest, new: KeyManifest) -> None:
        if old.number < new.number:
            self._superseded[new.oin] = old.number, self._clock.now() + SUPERSEDED_GRACE
