"""A federation in one process: a signed covenant, a real broker, and honest parties that a test can make dishonest.

The parties speak the wire themselves, with nothing of `bekend_node`, so that what a test sends is what it wrote. Every
message can be changed before it is signed (`changes`) or after (the returned message is a plain protobuf).
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from bekend_broker.app import Broker, start_broker
from bekend_broker.config import BrokerConfig, DatabaseServer, Limits, Tls
from bekend_broker.keys import create_missing, draft_manifest
from bekend_broker.store import Store
from bekend_deploy import covenant as demo
from bekend_deploy.partners import BROKER_OIN, SEVEN, Partner, agreements
from bekend_policy.load import load_covenant
from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_proto import channel, dleq, group, oprf, records
from bekend_proto.clock import Clock, epoch_of, epoch_start, milliseconds, month_of
from bekend_proto.collecting import COLLECT_BOX, COLLECTED_BOX, release_box
from bekend_proto.errors import code_name, from_rpc_error
from bekend_proto.filter import tag
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.identity import TlsFiles, channel_to
from bekend_proto.note import note_name, sign_note, vkey_of
from bekend_proto.v1 import broker_pb2, signed_pb2
from bekend_proto.v1.broker_pb2_grpc import BrokerServiceStub
from google.protobuf.message import Message
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from tests.support.clocks import SteeredClock
from tests.support.pki import Authority

LABELS: dict[type[Message], bytes] = {
    signed_pb2.Begin: channel.LABEL_BEGIN,
    signed_pb2.Question: channel.LABEL_QUESTION,
    signed_pb2.Answer: channel.LABEL_ANSWER,
    signed_pb2.FetchOrder: channel.LABEL_FETCH,
    signed_pb2.Enrolment: channel.LABEL_ENROLMENT,
}

PEOPLE = tuple(
    parse_identifier("bsn", value)
    for value in ("999990019", "999990342", "999993483", "999993653", "999990056", "999990068")
)
"""Synthetic persons: reserved numbers of nobody."""


def quarter_middle() -> SteeredClock:
    """A clock in the middle of the present quarter: months and quarters lie where a test expects them."""
    return SteeredClock(epoch_start(epoch_of(datetime.now(UTC))) + timedelta(days=50, hours=12))


@dataclass
class Federation:
    """Folder, keys and certificates of a broker and its partners."""

    folder: Path
    clock: SteeredClock
    authority: Authority
    parties: dict[str, "Party"]
    operator: SigningKey
    settings: demo.Settings
    members: Sequence[Partner]
    database: DatabaseServer | None = None
    """PostgreSQL for its broker, which keeps a file of its own otherwise."""
    manifest_number: int = 0
    covenant_name: str = "convenant"
    """Folder of the version that the parties go by; a test sets it to let another version be written beside it."""
    _read: "tuple[dict[Path, bytes], Covenant] | None" = None
    """The covenant that was read last, and the files that it was read from."""

    @classmethod
    def create(
        cls,
        folder: Path,
        authority: Authority,
        clock: SteeredClock | None = None,
        settings: demo.Settings | None = None,
        members: Sequence[Partner] = SEVEN,
        database: DatabaseServer | None = None,
    ) -> "Federation":
        """Write and sign covenant, keys and manifests into the folder."""
        own = clock or quarter_middle()
        made = cls(folder, own, authority, {}, SigningKey.generate(), settings or demo.Settings(), members, database)
        authority.issue(BROKER_OIN, name="broker", starts=-timedelta(days=200), ends=timedelta(days=300))
        for member in members:
            tls = authority.issue(member.oin, starts=-timedelta(days=200), ends=timedelta(days=300))
            made.parties[member.oin] = Party(made, member.oin, tls)
        made.write_covenant()
        create_missing(folder / "keys", own.now())
        made.write_manifest()
        for party in made.parties.values():
            party.renew_manifest()
        return made

    @property
    def covenant_folder(self) -> Path:
        return self.folder / self.covenant_name

    @property
    def operator_vkey(self) -> str:
        return vkey_of(note_name(BROKER_OIN, "beheerder"), bytes(self.operator.verify_key))

    @property
    def covenant(self) -> Covenant:
        """As it stands on the disk now; read anew when a byte of it is another."""
        files = {path: path.read_bytes() for path in self.covenant_folder.rglob("*") if path.is_file()}
        if self._read is None or self._read[0] != files:
            self._read = files, load_covenant(self.covenant_folder)
        return self._read[1]

    def write_covenant(self, change: Callable[[Path], None] = lambda _: None) -> None:
        """Write the covenant, change its files, and have everybody sign."""
        demo.write(
            self.covenant_folder,
            self.members,
            agreements(self.members),
            signers={oin: party.signer_vkey for oin, party in self.parties.items()},
            operator=self.operator_vkey,
            today=self.clock.now().date(),
            settings=self.settings,
        )
        change(self.covenant_folder)
        self.sign_covenant()

    def sign_covenant(self) -> None:
        text = self.covenant.manifest
        notes = self.covenant_folder / "handtekeningen"
        notes.mkdir(exist_ok=True)
        keys = {oin: (note_name(oin, "ondertekenaar"), party.signer) for oin, party in self.parties.items()}
        keys[BROKER_OIN] = (note_name(BROKER_OIN, "beheerder"), self.operator)
        for oin, (name, key) in keys.items():
            (notes / f"{oin}.note").write_bytes(sign_note(text, name, bytes(key)))

    def write_manifest(self, change: Callable[[KeyManifest], KeyManifest] = lambda m: m) -> KeyManifest:
        """A new manifest of the broker, signed by the operator."""
        self.manifest_number += 1
        keys = self.folder / "keys"
        manifest = change(draft_manifest(keys, self.covenant, BROKER_OIN, self.manifest_number, self.clock.now()))
        note = sign_note(manifest.text(), note_name(BROKER_OIN, "beheerder"), bytes(self.operator))
        (self.folder / "manifest.note").write_bytes(note)
        self.broker_manifest = manifest
        return manifest

    def make_keys(self, moment: datetime) -> None:
        """Roots for that moment too, and a manifest that names their keys."""
        create_missing(self.folder / "keys", moment)
        self.write_manifest()

    def config(self, *, metrics: str | None = None, **limits: Any) -> BrokerConfig:
        """The broker's configuration, with these limits."""
        tls = Tls(
            certificate=self.authority.folder / "broker.pem",
            key=self.authority.folder / "broker.key",
            authorities=self.authority.path,
        )
        return BrokerConfig(
            oin=BROKER_OIN,
            data=self.folder / "data",
            database=self.database,
            keys=self.folder / "keys",
            covenant=self.covenant_folder,
            anchor=self.operator_vkey,
            manifest=self.folder / "manifest.note",
            listen="127.0.0.1:0",
            metrics=metrics,
            tls=tls,
            limits=Limits(**limits),
        )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What stands in the broker's database."""
        with contextlib.closing(Store.of(self.config())) as store:
            return store.read(lambda connection: [tuple(row) for row in connection.execute(query).fetchall()])

    def left_behind(self) -> list[bytes]:
        """All octets that the broker keeps: its files, or every cell of its tables."""
        if self.database is None:
            return [file.read_bytes() for file in (self.folder / "data").iterdir()]
        tables = self.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'bekend'")
        cells = [cell for (table,) in tables for row in self.rows(f'SELECT * FROM "{table}"') for cell in row]
        return [cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells]

    async def break_once(self, broker: Broker) -> None:
        """The next write finds a database that takes nothing; after it the database is opened anew."""
        read_only = (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY" if self.database else "PRAGMA query_only = ON"
        )
        await broker.store.write(lambda connection: connection.execute(read_only) and None)

    @contextlib.asynccontextmanager
    async def broker(self, port: int = 0, **limits: Any) -> AsyncIterator[Broker]:
        """A running broker; every party has a line to it, and its manifest in the directory."""
        config = self.config(**limits).model_copy(update={"listen": f"127.0.0.1:{port}"})
        broker = await start_broker(config, self.clock)
        try:
            for party in self.parties.values():
                await party.connect(broker.port)
                await party.publish()
            yield broker
        finally:
            # Whatever failed above: a server that is left to the garbage collector holds up a later test.
            try:
                await asyncio.gather(*(party.close() for party in self.parties.values()))
            finally:
                await broker.stop(2)


@dataclass
class Party:
    """One partner: its keys, its line to the broker, and how to ask, answer and enrol."""

    federation: Federation
    oin: str
    tls: TlsFiles
    signer: SigningKey = field(default_factory=SigningKey.generate)
    signing: SigningKey = field(default_factory=SigningKey.generate)
    officer: PrivateKey = field(default_factory=PrivateKey.generate)
    officer_signing: SigningKey = field(default_factory=SigningKey.generate)
    k: bytes = field(default_factory=group.random_scalar)
    m: bytes = field(default_factory=group.random_scalar)
    sizes: dict[str, int] = field(default_factory=dict)
    version: int = 1_800_000_000
    number: int = 0
    note: bytes = b""
    tags: dict[str, frozenset[bytes]] = field(default_factory=dict)
    """By purpose: the tags of the closed filter."""

    @property
    def signer_vkey(self) -> str:
        return vkey_of(note_name(self.oin, "ondertekenaar"), bytes(self.signer.verify_key))

    @property
    def clock(self) -> Clock:
        return self.federation.clock

    def make_manifest(self, **changes: Any) -> bytes:
        """A signed key manifest of this party."""
        issued = self.clock.now().replace(microsecond=0)
        manifest = KeyManifest(
            oin=self.oin,
            number=self.number,
            issued=issued,
            valid_until=issued + timedelta(days=300),
            protocol_versions=(1,),
            signing_keys=(bytes(self.signing.verify_key),),
            privacy_officer=bytes(self.officer.public_key),
            privacy_officer_signing=bytes(self.officer_signing.verify_key),
            register_sizes=dict(self.sizes),
        )
        text = replace(manifest, **changes).text()
        return sign_note(text, note_name(self.oin, "ondertekenaar"), bytes(self.signer))

    def renew_manifest(self, **changes: Any) -> None:
        self.number += 1
        self.note = self.make_manifest(**changes)

    async def connect(self, port: int, tls: TlsFiles | None = None) -> None:
        self.channel = channel_to(f"localhost:{port}", tls or self.tls, self.clock)
        self.stub = BrokerServiceStub(self.channel)

    async def close(self) -> None:
        if hasattr(self, "channel"):
            await self.channel.close()

    async def publish(self, note: bytes | None = None) -> int:
        request = broker_pb2.PublishManifestRequest(manifest=note or self.note)
        return int((await told(self.stub.PublishManifest(request, timeout=10))).number)

    async def directory(self, have: bytes = b"", *, changes: bool = False) -> broker_pb2.GetDirectoryResponse:
        request = broker_pb2.GetDirectoryRequest(have=have, changes=changes)
        response = await told(self.stub.GetDirectory(request, timeout=10))
        assert isinstance(response, broker_pb2.GetDirectoryResponse)
        return response

    def sign(self, message: Message) -> signed_pb2.Signed:
        return channel.sign_message(self.signing, LABELS[type(message)], message)

    def common(self) -> dict[str, Any]:
        """What every message of this party says now."""
        return {
            "protocol_version": 1,
            "covenant_hash": self.federation.covenant.hash,
            "time": milliseconds(self.clock.now()),
        }

    # --- asking ---------------------------------------------------------------------------------

    def lookup(
        self, purpose: str, persons: Sequence[Identifier] = PEOPLE[:1], on_behalf_of: str = "", seconds: float = 20
    ) -> "Lookup":
        """A lookup whose stream is open."""
        return Lookup(self, purpose, tuple(persons), on_behalf_of, self.stub.Lookup(timeout=seconds))

    async def fetch(self, source: str, purpose: str, **changes: Any) -> list[broker_pb2.FilterPiece]:
        """All pieces of a source's filter."""
        call = self.stub.Fetch(broker_pb2.FetchRequest(order=self.sign(self.order(source, purpose, **changes))))
        pieces = []
        while (message := await told(call.read())) is not grpc.aio.EOF:
            pieces.append(message.piece)
        return pieces

    def order(self, source: str, purpose: str, **changes: Any) -> signed_pb2.FetchOrder:
        own = channel.RequesterChannel()
        facts = self.common() | {
            "fetch_id": secrets.token_bytes(16),
            "requester": self.oin,
            "source": source,
            "purpose": purpose,
            "requester_manifest": self.number,
            "x25519": own.x25519,
            "mlkem": own.mlkem,
        }
        return signed_pb2.FetchOrder(**(facts | changes))

    async def release(self, question_id: bytes, box: bytes | None = None) -> bytes:
        """Send a release about one person, of random octets when None; the box of the reply."""
        message = secrets.token_bytes(release_box(1)) if box is None else box
        request = broker_pb2.ReleaseRequest(question_id=question_id, box=message)
        return bytes((await told(self.stub.Release(request, timeout=20))).box)

    async def collect(self, question_id: bytes, number: int, box: bytes | None = None) -> bytes:
        """Send a collect, of random octets when None; the box of the reply."""
        message = secrets.token_bytes(COLLECT_BOX) if box is None else box
        request = broker_pb2.CollectRequest(question_id=question_id, number=number, box=message)
        return bytes((await told(self.stub.Collect(request, timeout=20))).box)

    # --- enrolling ------------------------------------------------------------------------------

    def enrolment(self, purpose: str, register: str, elements: int, **changes: Any) -> signed_pb2.Enrolment:
        facts = self.common() | {
            "import_id": secrets.token_bytes(16),
            "source": self.oin,
            "purpose": purpose,
            "register": register,
            "epoch": epoch_of(self.clock.now()),
            "kind": signed_pb2.ENROLMENT_KIND_FULL,
            "elements": elements,
            "manifest": self.number,
        }
        return signed_pb2.Enrolment(**(facts | changes))

    async def open_import(self, enrolment: signed_pb2.Enrolment) -> tuple[Any, int]:
        """An Enrol stream, and how many elements its budget admits."""
        call = self.stub.Enrol()
        await said(call, broker_pb2.EnrolRequest(enrolment=self.sign(enrolment)))
        return call, int((await told(call.read())).started.elements_left)

    async def send_chunk(self, call: Any, index: int, elements: Iterable[bytes]) -> broker_pb2.EvaluatedChunk:
        chunk = broker_pb2.BlindedChunk(index=index, elements=b"".join(elements))
        await said(call, broker_pb2.EnrolRequest(chunk=chunk))
        response = await told(call.read())
        assert isinstance(response.chunk, broker_pb2.EvaluatedChunk)
        return response.chunk

    async def enrol(self, purpose: str, register: str, persons: Sequence[Identifier]) -> None:
        """Enrol these persons, and put them into the closed filter of the purpose."""
        epoch = epoch_of(self.clock.now())
        public = self.federation.broker_manifest.evaluation_keys[self.oin, purpose, epoch]
        call, _ = await self.open_import(self.enrolment(purpose, register, len(persons)))
        blinds = [group.random_scalar() for _ in persons]
        blinded = [
            oprf.blind(oprf.hash_identifier(person), blind) for person, blind in zip(persons, blinds, strict=True)
        ]
        chunk = await self.send_chunk(call, 0, blinded)
        evaluated = [chunk.evaluated[at : at + 32] for at in range(0, len(chunk.evaluated), 32)]
        dleq.verify(public, blinded, evaluated, chunk.proof)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        pseudonyms = [
            group.multiply(self.k, oprf.unblind(blind, element))
            for blind, element in zip(blinds, evaluated, strict=True)
        ]
        self.tags[purpose] = frozenset(
            tag(group.multiply(self.m, p), self.oin, purpose, self.version) for p in pseudonyms
        )

    # --- answering ------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def attached(
        self, answer: "Callable[[Party, broker_pb2.EvaluatedQuestion], Message | None] | None" = None, **changes: Any
    ) -> AsyncIterator["Attached"]:
        """Attached, answering every question with `answer` (honestly when None) until the block ends."""
        attached = Attached(self, self.stub.Attach(), answer or honest_answer)
        await attached.hello(**changes)
        task = asyncio.create_task(attached.serve())
        try:
            yield attached
        finally:
            attached.call.cancel()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.RpcError, Exception):
                await task


class Attached:
    """A source's Attach stream."""

    def __init__(self, party: Party, call: Any, answer: Callable[[Party, Any], Message | None]) -> None:
        self.party = party
        self.call = call
        self.answer = answer
        self.questions: asyncio.Queue[broker_pb2.EvaluatedQuestion] = asyncio.Queue()
        self.orders: asyncio.Queue[broker_pb2.PushOrder] = asyncio.Queue()
        self.notices: asyncio.Queue[broker_pb2.DirectoryChanged] = asyncio.Queue()
        self.exchanges: asyncio.Queue[broker_pb2.RoutedRelease | broker_pb2.RoutedCollect] = asyncio.Queue()
        self.reply: Callable[[Any], Message | None] = plain_reply
        """What it says to a release or collect; only its length matters to the broker."""
        self.ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._writing = asyncio.Lock()

    async def hello(self, **changes: Any) -> None:
        facts: dict[str, Any] = {
            "protocol_versions": [1],
            "covenant_hash": self.party.federation.covenant.hash,
            "manifest": self.party.number,
        }
        hello = broker_pb2.Hello(**(facts | changes))
        await said(self.call, broker_pb2.AttachRequest(hello=hello))
        assert (await told(self.call.read())).WhichOneof("kind") == "welcome"

    async def send(self, message: Message) -> None:
        """One message at a time, as gRPC demands: it replies by itself while a test sends."""
        if isinstance(message, broker_pb2.SealedAnswer):
            request = broker_pb2.AttachRequest(answer=message)
        elif isinstance(message, broker_pb2.RoutedCollected):
            request = broker_pb2.AttachRequest(collected=message)
        else:
            assert isinstance(message, broker_pb2.Failure)
            request = broker_pb2.AttachRequest(failure=message)
        async with self._writing:
            await said(self.call, request)

    async def serve(self) -> None:
        try:
            while (message := await told(self.call.read())) is not grpc.aio.EOF:
                if message.WhichOneof("kind") == "push":
                    self.orders.put_nowait(message.push)
                    continue
                if message.WhichOneof("kind") == "directory_changed":
                    self.notices.put_nowait(message.directory_changed)
                    continue
                if (kind := message.WhichOneof("kind")) in {"release", "collect"}:
                    exchange = getattr(message, kind)
                    self.exchanges.put_nowait(exchange)
                    if (said_back := self.reply(exchange)) is not None:
                        await self.send(said_back)
                    continue
                self.questions.put_nowait(message.question)
                reply = self.answer(self.party, message.question)
                if reply is not None:
                    await self.send(reply)
        except Exception as fault:
            self.ended.set_result(fault)
        else:
            self.ended.set_result(None)


def plain_reply(exchange: Any) -> broker_pb2.RoutedCollected:
    """A reply of the one length."""
    return broker_pb2.RoutedCollected(exchange_id=exchange.exchange_id, box=secrets.token_bytes(COLLECTED_BOX))


def no_answer(_party: Party, _question: broker_pb2.EvaluatedQuestion) -> None:
    """A source that never answers."""


def honest_answer(party: Party, message: broker_pb2.EvaluatedQuestion) -> broker_pb2.SealedAnswer:
    """Steps (7) to (9) of an honest source: verify the broker's proof, evaluate under m*k, sign, seal."""
    question = signed_pb2.Question.FromString(message.question.payload)
    own = party.federation.broker_manifest.evaluation_keys[party.oin, question.purpose, question.epoch]
    dleq.verify(own, list(question.elements), list(message.evaluated), message.proof)
    opened, x25519, ciphertext = channel.respond(
        question.requester, party.oin, question.question_id, question.x25519, question.mlkem
    )
    secret = group.scalar_multiply(party.m, party.k)
    public = group.multiply_base(secret)
    evaluated = [group.multiply(secret, element) for element in message.evaluated]
    answer = signed_pb2.Answer(
        protocol_version=1,
        question_hash=channel.question_hash(message.question),
        requester=question.requester,
        source=party.oin,
        received=message.evaluated,
        evaluated=evaluated,
        proof=dleq.prove(secret, public, list(message.evaluated), evaluated),
        filter_version=party.version,
        m_hash=bytes(32),
        transcript=opened.transcript,
        checkpoint=bytes(72),
    )
    box = opened.seal_to_requester(0, party.sign(answer).SerializeToString(deterministic=True))
    return broker_pb2.SealedAnswer(question_id=question.question_id, x25519=x25519, mlkem=ciphertext, box=box)


@dataclass
class Lookup:
    """One lookup of a requester, step by step."""

    party: Party
    purpose: str
    persons: tuple[Identifier, ...]
    on_behalf_of: str
    call: Any
    seed: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    u_values: list[bytes] = field(default_factory=list)
    asked: dict[bytes, tuple[str, channel.RequesterChannel]] = field(default_factory=dict)

    def blinded(self, target: str) -> list[bytes]:
        return [
            oprf.blind(oprf.hash_identifier(person), oprf.lookup_blind(self.seed, target, j))
            for j, person in enumerate(self.persons)
        ]

    def make_begin(self, **changes: Any) -> signed_pb2.Begin:
        facts = self.party.common() | {
            "begin_id": secrets.token_bytes(16),
            "requester": self.party.oin,
            "on_behalf_of": self.on_behalf_of,
            "purpose": self.purpose,
            "record_month": month_of(self.party.clock.now()),
            "requester_manifest": self.party.number,
            "broker_manifest": self.party.federation.manifest_number,
            "elements": self.blinded(oprf.TARGET_BEGIN),
        }
        return signed_pb2.Begin(**(facts | changes))

    async def begin(self, begin: signed_pb2.Begin | signed_pb2.Signed | None = None) -> "Lookup":
        """Send Begin and verify Begun. Raises what the broker refuses it with."""
        message = begin if begin is not None else self.make_begin()
        signed = message if isinstance(message, signed_pb2.Signed) else self.party.sign(message)
        await said(self.call, broker_pb2.LookupRequest(begin=signed))
        response = await told(self.call.read())
        sent = signed_pb2.Begin.FromString(signed.payload)
        public = self.party.federation.broker_manifest.record_keys[sent.record_month]
        evaluated = list(response.begun.evaluated)
        dleq.verify(public, list(sent.elements), evaluated, response.begun.proof)
        if list(sent.elements) == self.blinded(oprf.TARGET_BEGIN):
            for j, person in enumerate(self.persons):
                unblinded = oprf.unblind(oprf.lookup_blind(self.seed, oprf.TARGET_BEGIN, j), evaluated[j])
                self.u_values.append(oprf.finalize(person.canonical, unblinded))
        return self

    def question(self, source: str, /, **changes: Any) -> broker_pb2.RoutedQuestion:
        """A Question to one source, with its sealed records and ratios."""
        party, other = self.party, self.party.federation.parties[source]
        own = channel.RequesterChannel()
        question_id = changes.get("question_id", secrets.token_bytes(16))
        self.asked[question_id] = source, own
        sealed = []
        for j, u_value in enumerate(self.u_values):
            context = records.record_context(party.oin, source, self.purpose, question_id, j)
            value = records.record_value(u_value, context)
            sealed.append(records.seal_record(self.seed, source, j, bytes(other.officer.public_key), value))
        facts = party.common() | {
            "question_id": question_id,
            "requester": party.oin,
            "source": source,
            "on_behalf_of": self.on_behalf_of,
            "purpose": self.purpose,
            "epoch": epoch_of(party.clock.now()),
            "record_month": month_of(party.clock.now()),
            "requester_manifest": party.number,
            "source_manifest": other.number,
            "broker_manifest": party.federation.manifest_number,
            "kind_class": signed_pb2.KIND_CLASS_CERTAIN,
            "elements": self.blinded(source),
            "seal_hashes": [records.seal_hash(one) for one in sealed],
            "x25519": own.x25519,
            "mlkem": own.mlkem,
            "checkpoint": bytes(72),
            "case_commitment": channel.case_commitment(secrets.token_bytes(32), "zaak", "ambtenaar"),
        }
        question = signed_pb2.Question(**(facts | changes))
        return broker_pb2.RoutedQuestion(
            question=party.sign(question), sealed_records=sealed, ratios=self.ratios(source)
        )

    def ratios(self, source: str) -> list[bytes]:
        return [
            group.scalar_multiply(
                oprf.lookup_blind(self.seed, source, j),
                group.scalar_invert(oprf.lookup_blind(self.seed, oprf.TARGET_BEGIN, j)),
            )
            for j in range(len(self.persons))
        ]

    async def ask(self, *questions: broker_pb2.RoutedQuestion, more: bool = False) -> None:
        await said(self.call, broker_pb2.LookupRequest(ask=broker_pb2.Ask(questions=questions, more=more)))

    async def read(self) -> broker_pb2.LookupResponse | None:
        message = await told(self.call.read())
        return None if message is grpc.aio.EOF else message

    async def messages(self) -> AsyncIterator[broker_pb2.LookupResponse]:
        """Every message until the end."""
        while (message := await self.read()) is not None:
            yield message

    async def replies(self) -> dict[str, "broker_pb2.SealedAnswer | str"]:
        """Every reply until the end: by source, the sealed answer or the name of the failure's code."""
        found: dict[str, broker_pb2.SealedAnswer | str] = {}
        async for message in self.messages():
            if message.WhichOneof("kind") == "answer":
                found[self.asked[message.answer.question_id][0]] = message.answer
            else:
                source = self.asked[message.failure.question_id][0]
                found[source] = code_name(message.failure.code)
        return found

    async def outcomes(self, *sources: str) -> dict[str, "list[bool] | str"]:
        """Ask these sources and open what comes: by source, a bit per person or the name of the failure's code."""
        await self.ask(*(self.question(source) for source in sources))
        return {
            source: reply if isinstance(reply, str) else self.open(reply)
            for source, reply in (await self.replies()).items()
        }

    def open(self, answer: broker_pb2.SealedAnswer) -> list[bool]:
        """Step (10): open, verify, look up."""
        source, own = self.asked[answer.question_id]
        other = self.party.federation.parties[source]
        opened = own.open(self.party.oin, source, answer.question_id, answer.x25519, answer.mlkem)
        signed = channel.parse_strict(signed_pb2.Signed, opened.open_from_source(0, answer.box))
        keys = [bytes(other.signing.verify_key)]
        inner = channel.open_signed(signed_pb2.Answer, signed, channel.LABEL_ANSWER, keys)
        public = group.multiply_base(group.scalar_multiply(other.m, other.k))
        dleq.verify(public, list(inner.received), list(inner.evaluated), inner.proof)
        tags = other.tags.get(self.purpose, frozenset())
        return [
            tag(oprf.unblind(oprf.lookup_blind(self.seed, source, j), z), source, self.purpose, other.version) in tags
            for j, z in enumerate(inner.evaluated)
        ]


def metric(broker: Broker, name: str, **labels: str) -> float:
    """A value as the broker's metrics port shows it; 0 when it has no such series."""
    return float(broker.registry.get_sample_value(name, labels) or 0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until the condition holds."""
    while not condition():
        # Not at once: what takes seconds would keep a processor busy that other tests need.
        await asyncio.sleep(0.001)


async def told(awaited: Any) -> Any:
    """What the broker says. Raises its refusal as a BekendError."""
    try:
        return await awaited
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


async def said(call: Any, message: Message) -> None:
    """Send a message; when the stream has ended, raise why."""
    try:
        await call.write(message)
    except (grpc.RpcError, asyncio.InvalidStateError):
        # The write may be told of a fault of its own; why the stream ended is what reading says.
        await told(call.read())
        raise
