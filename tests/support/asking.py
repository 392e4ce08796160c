"""A requester's node against a broker and sources that a test can make dishonest, in one process.

The asking side is the real one. Broker and sources are written here from the protocol, with nothing of `bekend_node`,
and every message crosses as bytes. `Stage.changes` holds the lies: functions that a test puts in the place of honesty.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from bekend_node.ask.asker import Asker
from bekend_node.ask.asking import Asking
from bekend_node.ask.outcomes import Outcome
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.heads import Heads
from bekend_node.receipt import ReceiptFile
from bekend_node.store import Store
from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_policy.suspension import Suspensions
from bekend_proto import channel, dleq, group, oprf, records
from bekend_proto.clock import epoch_of, milliseconds, month_of
from bekend_proto.errors import BekendError, KeysError, UnreachableError
from bekend_proto.filter import body_hash, m_hash, pad_and_sort, size_class, tag
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.note import sign_note
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.public import PrivateKey
from nacl.secret import SecretBox
from nacl.signing import SigningKey

from tests.support.clocks import SteeredClock
from tests.support.colleagues import Exchange, Lies, clients
from tests.support.covenants import NOW, OM, OPERATOR, PARTNERS, key_of, signed

PERSON, OTHER, THIRD = (parse_identifier("bsn", value) for value in ("999990019", "999990342", "999993483"))
CANARY = parse_identifier("bsn", "999990056")
OFFICER = OfficerRef(user="jansen", name="J. Jansen", role="officier")
DIRECTOR = OfficerRef(user="devries", name="A. de Vries", role="procesregisseur")
ZSM_CASE = "15/234567-26"
ZVH_CASE = "ZVH-2026-0123"


@dataclass
class Source:
    """A source with one filter: its keys, who it knows, what it publishes and answers."""

    oin: str
    signing: SigningKey = field(default_factory=SigningKey.generate)
    officer: PrivateKey = field(default_factory=PrivateKey.generate)
    k: bytes = field(default_factory=group.random_scalar)
    m: bytes = field(default_factory=group.random_scalar)
    b: bytes = field(default_factory=group.random_scalar)
    known: tuple[Identifier, ...] = ()
    version: int = int((NOW - timedelta(minutes=5)).timestamp())
    end: int = int((NOW + timedelta(minutes=10)).timestamp())
    asked: list[broker_pb2.EvaluatedQuestion] = field(default_factory=list)
    by_hand: bool = False
    """Whether a colleague decides now: then the header stands alone."""
    kinds: tuple[str, ...] = ("bsn",)
    kind_class: int = 0
    combined: "Source | None" = None
    """What it answers a question by a combination with: a filter of its own."""
    bodies: dict[Any, bytes] = field(default_factory=dict)

    def of(self, kind_class: int) -> "Source":
        """What answers a question, or stands in a filter, of this class."""
        if kind_class != signed_pb2.KIND_CLASS_POSSIBLE:
            return self
        if self.combined is None:
            self.hold_names(())
        assert self.combined is not None
        return self.combined

    def hold_names(self, known: Sequence[Identifier], *kinds: str) -> None:
        """From now on it can be asked by these combinations too."""
        self.combined = replace(
            self,
            m=group.random_scalar(),
            known=tuple(known),
            by_hand=True,
            kinds=tuple(sorted(kinds)),
            kind_class=signed_pb2.KIND_CLASS_POSSIBLE,
        )

    def manifest(self) -> KeyManifest:
        return KeyManifest(
            oin=self.oin,
            number=3,
            issued=NOW - timedelta(days=10),
            valid_until=NOW + timedelta(days=300),
            protocol_versions=(1,),
            signing_keys=(bytes(self.signing.verify_key),),
            privacy_officer=bytes(self.officer.public_key),
            desk=f"Loket, loket@{self.oin}.example",
            opening_hours="werkdagen 9-17 uur",
        )

    @property
    def mk(self) -> bytes:
        return group.scalar_multiply(self.m, self.k)

    @property
    def big_m(self) -> bytes:
        return group.multiply_base(self.mk)

    def switch(self) -> None:
        """A new version with a new m."""
        self.m, self.version, self.end = group.random_scalar(), self.version + 120, self.version + 120 + 900

    def body(self, purpose: str) -> bytes:
        """One under one version, however often it is fetched: what pads it is drawn."""
        if self.by_hand:
            return b""
        made = (purpose, self.version, self.m, self.known)
        if made not in self.bodies:
            self.bodies[made] = self._make_body(purpose)
        return self.bodies[made]

    def _make_body(self, purpose: str) -> bytes:
        scalar = group.scalar_multiply(self.mk, self.b)
        elements = [group.multiply(scalar, oprf.hash_identifier(one)) for one in self.known]
        tags = [tag(w, self.oin, purpose, self.version) for w in elements]
        return pad_and_sort(tags, size_class(len(tags)))

    def header(self, purpose: str, covenant_hash: bytes, body: bytes) -> dict[str, Any]:
        return {
            "protocol_version": 1,
            "source": self.oin,
            "purpose": purpose,
            "epoch": epoch_of(NOW),
            "mode": signed_pb2.FILTER_MODE_MANUAL if self.by_hand else signed_pb2.FILTER_MODE_AUTOMATIC,
            "version": self.version,
            "m": self.big_m,
            "as_of": "2026-12-01",
            "kinds": list(self.kinds),
            "kind_class": self.kind_class,
            "end": self.end,
            "tags": len(body) // 8,
            "body_hash": body_hash(body),
            "covenant_hash": covenant_hash,
        }

    def answer(self, routed: broker_pb2.EvaluatedQuestion) -> dict[str, Any]:
        """The fields of an honest Answer, but for the transcript."""
        question = signed_pb2.Question.FromString(routed.question.payload)
        received = list(routed.evaluated)
        evaluated = [group.multiply(self.mk, element) for element in received]
        return {
            "protocol_version": 1,
            "question_hash": channel.question_hash(routed.question),
            "requester": question.requester,
            "source": self.oin,
            "received": received,
            "evaluated": evaluated,
            "proof": dleq.prove(self.mk, self.big_m, received, evaluated),
            "filter_version": self.version,
            "m_hash": m_hash(self.big_m),
            "checkpoint": bytes(72),
        }


def _same(value: Any, *_: Any) -> Any:
    return value


@dataclass
class Changes:
    """Where a test lies. Each gets the honest thing and returns what is used in its place."""

    header: Callable[[dict[str, Any], Source], dict[str, Any]] = _same
    body: Callable[[bytes, Source], bytes] = _same
    header_key: Callable[[SigningKey, Source], SigningKey] = _same
    begun: Callable[[broker_pb2.Begun], broker_pb2.Begun] = _same
    answer: Callable[[dict[str, Any], Source], dict[str, Any]] = _same
    answer_key: Callable[[SigningKey, Source], SigningKey] = _same
    answer_label: bytes = channel.LABEL_ANSWER
    box: Callable[[bytes, Source], bytes] = _same
    sealed: Callable[[broker_pb2.SealedAnswer, Source], broker_pb2.SealedAnswer] = _same
    before_answer: Callable[[Source], None] = lambda _: None
    replies: Callable[[list[broker_pb2.LookupResponse]], list[broker_pb2.LookupResponse]] = _same


class Line:
    """One replica of a broker, with its sources behind it."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.stands = True
        self.avoided = False
        self.hangs = False
        """Takes a Begin or an order for a filter and says nothing."""
        self.calls: list[Call] = []
        self.begins: list[signed_pb2.Begin] = []
        self.asks: list[broker_pb2.Ask] = []
        self.orders: list[signed_pb2.FetchOrder] = []
        self.releases: list[broker_pb2.ReleaseRequest] = []
        self.collects: list[broker_pb2.CollectRequest] = []
        self.fails_at: dict[str, BekendError] = {}

    def standing(self) -> bool:
        return self.stands

    def rank(self, sources: Collection[str]) -> tuple[bool, bool, float, int]:
        return not self.stands, self.avoided, 0.0, 0

    def avoid(self) -> None:
        self.avoided = True

    async def ready(self) -> bool:
        return self.stands

    def lookup(self, seconds: float, begin_id: bytes) -> "Call":
        assert seconds > 0
        assert len(begin_id) == 16
        self.calls.append(Call(self))
        return self.calls[-1]

    async def fetch(self, request: broker_pb2.FetchRequest, seconds: float) -> AsyncIterator[broker_pb2.FilterPiece]:
        assert seconds > 0
        if "fetch" in self.fails_at:
            raise self.fails_at["fetch"]
        if self.hangs:
            await asyncio.Event().wait()
        for piece in self.stage.pieces(self, _over_the_wire(request)):
            await asyncio.sleep(0)
            yield _over_the_wire(piece)

    async def release(self, request: broker_pb2.ReleaseRequest, seconds: float) -> broker_pb2.ReleaseResponse:
        assert seconds > 0
        if "release" in self.fails_at:
            raise self.fails_at["release"]
        await asyncio.sleep(0)
        box = self.stage.exchanges[request.question_id].take(request.box, self.stage.now, self.stage.lies)
        self.releases.append(request)
        return broker_pb2.ReleaseResponse(box=box)

    async def collect(self, request: broker_pb2.CollectRequest, seconds: float) -> broker_pb2.CollectResponse:
        assert seconds > 0
        if "collect" in self.fails_at:
            raise self.fails_at["collect"]
        await asyncio.sleep(0)
        self.collects.append(request)
        one = self.stage.exchanges[request.question_id]
        return broker_pb2.CollectResponse(box=one.collect(request.number, request.box, self.stage.now, self.stage.lies))


class Call:
    """One Lookup stream."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._replies: asyncio.Queue[broker_pb2.LookupResponse | None] = asyncio.Queue()
        self.closed = False
        self._begin: signed_pb2.Begin | None = None

    async def write(self, request: broker_pb2.LookupRequest) -> None:
        received = _over_the_wire(request)
        kind = received.WhichOneof("kind")
        if kind in self._line.fails_at:
            raise self._line.fails_at[kind]
        stage = self._line.stage
        if kind == "begin":
            self._begin = channel.open_signed(
                signed_pb2.Begin, received.begin, channel.LABEL_BEGIN, stage.own.manifest().signing_keys
            )
            self._line.begins.append(self._begin)
            if self._line.hangs:
                return
            begun = broker_pb2.LookupResponse(begun=stage.begun(self._begin), takes_several=stage.takes_several)
            self._replies.put_nowait(_over_the_wire(begun))
            return
        assert self._begin is not None
        self._line.asks.append(received.ask)
        for reply in stage.replies(self._begin, received.ask):
            self._replies.put_nowait(_over_the_wire(reply))
        if stage.hang_up:
            self._replies.put_nowait(None)

    async def read(self) -> broker_pb2.LookupResponse | None:
        stage, reply = self._line.stage, await self._replies.get()
        if stage.silent_after is not None:
            if not stage.silent_after:
                await asyncio.Event().wait()
            stage.silent_after -= 1
        return reply

    async def close(self) -> None:
        self.closed = True


class Stage:
    """The OM's node, a broker, and every other partner of the example covenant as a source."""

    def __init__(self, folder: Path, change: Callable[[Path], object] = lambda _: None) -> None:
        self.covenant: Covenant = signed(folder / "convenant", change)
        self.folder = folder
        self.clock = SteeredClock(NOW)
        self.sources = {oin: Source(oin) for oin in PARTNERS}
        self.own = self.sources[OM]
        self.u = group.random_scalar()
        self.changes = Changes()
        self.lies = Lies()
        self.exchanges: dict[bytes, Exchange] = {}
        self.line = Line(self)
        self.lines: list[Line] = [self.line]
        self.store = Store.open(folder / "data")
        self.state = SecretBox(secrets.token_bytes(32))
        self.suspensions = Suspensions()
        self.heads = Heads()
        self.case_key = group.random_scalar()
        self.hang_up = False
        self.takes_several = False
        self.unpromised: set[str] = set()
        """Sources whose Questions stand in no promise."""
        self.silent_after: int | None = None
        self.came = 0
        self.broker_manifest = KeyManifest(
            oin=OPERATOR,
            number=7,
            issued=NOW - timedelta(days=10),
            valid_until=NOW + timedelta(days=300),
            protocol_versions=(1,),
            signing_keys=(bytes(SigningKey.generate().verify_key),),
            record_keys={month_of(NOW): group.multiply_base(self.u)},
        )
        self.manifests: dict[str, KeyManifest] = {oin: one.manifest() for oin, one in self.sources.items()}
        self.manifests[OPERATOR] = self.broker_manifest
        self.asker = self.make_asker()

    def make_asker(self) -> Asker:
        return Asker(self.asking, self.lines, [CANARY], self.clock, self.something_came)

    def something_came(self) -> None:
        self.came += 1

    @property
    def now(self) -> int:
        """Milliseconds since 1970."""
        return milliseconds(self.clock.now())

    async def restart(self) -> None:
        """The requester's node ends and starts again; everything that is not on its disk is gone."""
        await self.asker.close()
        self.store.close()
        self.store = Store.open(self.folder / "data")
        self.asker = self.make_asker()

    @property
    def exchange(self) -> Exchange:
        """The one question that waits for a colleague."""
        (one,) = self.exchanges.values()
        return one

    def asking(self) -> Asking:
        manifest = self.manifests[OM]
        key = key_of(OM)
        return Asking(
            oin=OM,
            key=self.own.signing,
            state=self.state,
            manifest=manifest,
            manifest_note=sign_note(manifest.text(), key.name, key.seed),
            covenant=self.covenant,
            manifest_of=self.manifest_of,
            manifest_at_hand=self.manifests.get,
            store=self.store,
            clock=self.clock,
            case_key=self.case_key,
            suspensions=self.suspensions,
            heads=self.heads,
        )

    async def manifest_of(self, oin: str) -> KeyManifest:
        if oin not in self.manifests:
            raise KeysError("no manifest")
        return self.manifests[oin]

    async def close(self) -> None:
        await self.asker.close()
        self.store.close()

    # --- asking -----------------------------------------------------------------------------------

    async def ask(self, inquiry: Inquiry) -> tuple[list[Outcome], ReceiptFile]:
        outcomes = self.asker.ask(inquiry)
        found = [outcome async for outcome in outcomes]
        assert outcomes.receipt is not None
        return found, outcomes.receipt

    async def outcome_of(self, inquiry: Inquiry, oin: str, person: int = 0) -> Outcome:
        """What one partner's outcome was: there is exactly one per partner and person."""
        found, _ = await self.ask(inquiry)
        keys = [(one.oin, one.person) for one in found]
        assert len(set(keys)) == len(keys)
        return next(one for one in found if (one.oin, one.person) == (oin, person))

    # --- the broker -------------------------------------------------------------------------------

    def begun(self, begin: signed_pb2.Begin) -> broker_pb2.Begun:
        elements = list(begin.elements)
        evaluated = [group.multiply(self.u, element) for element in elements]
        proof = dleq.prove(self.u, group.multiply_base(self.u), elements, evaluated)
        return self.changes.begun(broker_pb2.Begun(evaluated=evaluated, proof=proof))

    def replies(self, begin: signed_pb2.Begin, ask: broker_pb2.Ask) -> list[broker_pb2.LookupResponse]:
        found, promised = [], []
        for routed in ask.questions:
            question = channel.open_signed(
                signed_pb2.Question, routed.question, channel.LABEL_QUESTION, self.own.manifest().signing_keys
            )
            for ratio, first, element in zip(routed.ratios, begin.elements, question.elements, strict=True):
                assert group.multiply(ratio, first) == element
            source = self.sources[question.source].of(question.kind_class)
            evaluated = [group.multiply(source.b, element) for element in question.elements]
            onward = broker_pb2.EvaluatedQuestion(
                question=routed.question, sealed_records=routed.sealed_records, evaluated=evaluated
            )
            found.append(broker_pb2.LookupResponse(answer=self.answer(source, onward)))
            if question.source not in self.unpromised:
                promised.append(signed_pb2.PromisedEntry(question_hash=channel.question_hash(routed.question)))
        promise = signed_pb2.InclusionPromise(promised=promised)
        found[0].promise.payload = promise.SerializeToString(deterministic=True)
        return self.changes.replies(found)

    # --- the sources ------------------------------------------------------------------------------

    def answer(self, source: Source, routed: broker_pb2.EvaluatedQuestion) -> broker_pb2.SealedAnswer:
        question = signed_pb2.Question.FromString(routed.question.payload)
        source.asked.append(routed)
        for sealed, named in zip(routed.sealed_records, question.seal_hashes, strict=True):
            assert len(sealed) == 80
            assert records.seal_hash(sealed) == named
        self.changes.before_answer(source)
        opened, x25519, ciphertext = channel.respond(
            question.requester, source.oin, question.question_id, question.x25519, question.mlkem
        )
        fields = {**source.answer(routed), "transcript": opened.transcript}
        if source.by_hand:
            self._defer(source, question, fields, opened)
        answer = signed_pb2.Answer(**self.changes.answer(fields, source))
        key = self.changes.answer_key(source.signing, source)
        signed_ = channel.sign_message(key, self.changes.answer_label, answer)
        plain = self.changes.box(signed_.SerializeToString(deterministic=True), source)
        box = opened.seal_to_requester(0, plain)
        sealed_answer = broker_pb2.SealedAnswer(
            question_id=question.question_id, x25519=x25519, mlkem=ciphertext, box=box
        )
        return self.changes.sealed(sealed_answer, source)

    def _defer(
        self, source: Source, question: signed_pb2.Question, fields: dict[str, Any], opened: channel.OpenChannel
    ) -> None:
        term = self.covenant.sources(question.purpose)[source.oin].term_of(question.kind_class)
        assert term is not None
        self.exchanges[question.question_id] = Exchange(
            question=question,
            question_hash=fields["question_hash"],
            evaluated=fields["evaluated"],
            channel=opened.keep(),
            until=question.time + int(term.total_seconds() * 1000),
            mk=source.mk,
            known=clients(source.known, source.mk, source.b),
            signing=source.signing,
            requester_keys=self.own.manifest().signing_keys,
        )

    def pieces(self, line: Line, request: broker_pb2.FetchRequest) -> list[broker_pb2.FilterPiece]:
        order = channel.open_signed(
            signed_pb2.FetchOrder, request.order, channel.LABEL_FETCH, self.own.manifest().signing_keys
        )
        line.orders.append(order)
        assert abs(order.time - milliseconds(self.clock.now())) <= 60_000
        source = self.sources[order.source].of(order.kind_class)
        opened, x25519, ciphertext = channel.respond(
            order.requester, source.oin, order.fetch_id, order.x25519, order.mlkem
        )
        honest = source.body(order.purpose)
        fields = self.changes.header(source.header(order.purpose, self.covenant.hash, honest), source)
        key = self.changes.header_key(source.signing, source)
        signed_ = channel.sign_message(key, channel.LABEL_FILTER, signed_pb2.FilterHeader(**fields))
        body = self.changes.body(honest, source)
        box = opened.seal_to_requester(0, signed_.SerializeToString(deterministic=True))
        pieces = [broker_pb2.FilterPiece(x25519=x25519, mlkem=ciphertext, box=box)]
        for number, start in enumerate(range(0, len(body), 1 << 16), 1):
            tags = opened.seal_to_requester(number, body[start : start + (1 << 16)])
            pieces.append(broker_pb2.FilterPiece(box=tags))
        return pieces


def zsm(
    sources: Sequence[str],
    persons: Sequence[Identifier] = (PERSON,),
    purpose: str = "kennemerland/zsm-context",
    **changes: Any,
) -> Inquiry:
    """A question of the OM that the covenant admits."""
    facts: dict[str, Any] = {
        "purpose": purpose,
        "persons": tuple(persons),
        "sources": tuple(sources),
        "officer": OFFICER,
        "case_reference": ZSM_CASE,
        "attested": frozenset({"verdachte"}),
        "justification": "aangehouden, afdoening nog open",
    }
    return Inquiry(**(facts | changes))


def weighing(sources: Sequence[str], persons: Sequence[Identifier], **changes: Any) -> Inquiry:
    """A question about several persons at once."""
    return zsm(
        sources,
        persons,
        "kennemerland/zvh-weging-betrokkenheid",
        **{
            "officer": DIRECTOR,
            "case_reference": ZVH_CASE,
            "attested": frozenset({"positieve-toets", "bgs-2-20"}),
            **changes,
        },
    )


def unreachable() -> UnreachableError:
    return UnreachableError("gone")


def _over_the_wire(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())
