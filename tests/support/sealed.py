"""A node's store filled by hand with answered questions and own lookups, and the off-line side that reads its export.

Everything is made from the protocol's own functions: a broker's month key, a requester's blinds and sealed records. No
process, no network; a test can put in whatever a hostile party might.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bekend_node.ask import blinds, own_record
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.records.answer import Given, answer
from bekend_node.records.findings import Findings
from bekend_node.records.letter import Facts, letter_html, letter_json
from bekend_node.records.periods import Registration
from bekend_node.records.reply import reply_bytes
from bekend_node.records.request import make_request, parse_request, request_hash
from bekend_node.store import AnsweredQuestion, Store
from bekend_node.store_export import write_export
from bekend_node.store_own import OwnRecord
from bekend_policy.manifest import KeyManifest
from bekend_policy.officer_key import OfficerKey
from bekend_proto import channel, dleq, group, oprf
from bekend_proto.clock import milliseconds, month_of
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.note import sign_note
from bekend_proto.records import seal_hash
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from tests.support.covenants import NOW, OM, OPERATOR, POLITIE, RECLASSERING, ZSM, example, key_of, sign_all

ANN, BEN, CAS = (parse_identifier("bsn", value) for value in ("999990019", "999990342", "999993483"))
"""Synthetic persons: reserved numbers of nobody."""


def quiet(*_: Any) -> Any:
    """No progress is shown."""
    return lambda *_: None


@dataclass
class Archive:
    """One partner's store, its privacy officer, and the keys of everybody around it."""

    folder: Path
    oin: str = POLITIE
    now: datetime = NOW
    officer: OfficerKey = field(default_factory=lambda: OfficerKey.generate(POLITIE))
    months: dict[str, bytes] = field(default_factory=dict)
    """Month -> the broker's secret record key."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.officer = OfficerKey(self.oin, self.officer.opening, self.officer.signing)
        self.covenant = sign_all(example(self.folder / "convenant"))
        self.store = Store.open(self.folder / "data")
        self.u(self.now)

    def close(self) -> None:
        self.store.close()

    def u(self, moment: datetime) -> bytes:
        return self.months.setdefault(month_of(moment), group.random_scalar())

    @property
    def record_keys(self) -> dict[str, bytes]:
        return {month: group.multiply_base(u) for month, u in self.months.items()}

    # --- filling

    def question(
        self,
        persons: Sequence[Identifier],
        *,
        requester: str = OM,
        purpose: str = ZSM,
        moment: datetime | None = None,
        officer: PrivateKey | None = None,
        sealed: Mapping[int, bytes] | None = None,
        keep: bool = True,
        covenant_hash: bytes = bytes(32),
        on_behalf_of: str = "",
    ) -> AnsweredQuestion:
        """A question about these persons that this partner answered. `sealed` puts other records in their place."""
        moment = moment or self.now - timedelta(hours=1)
        secret = blinds.draw(persons, [self.oin])
        evaluated = [group.multiply(self.u(moment), element) for element in secret.begin_elements]
        id_ = secrets.token_bytes(16)
        records = secret.sealed_records(
            secret.finalize(evaluated), requester=requester, source=self.oin, purpose=purpose, question_id=id_,
            privacy_officer=bytes((officer or self.officer.opening).public_key),
        )  # fmt: skip
        records = [(sealed or {}).get(j, record) for j, record in enumerate(records)]
        signed = channel.sign_message(
            SigningKey.generate(), channel.LABEL_QUESTION,
            signed_pb2.Question(
                protocol_version=1, question_id=id_, requester=requester, source=self.oin, on_behalf_of=on_behalf_of,
                purpose=purpose, covenant_hash=covenant_hash, epoch="2026Q4", record_month=month_of(moment),
                requester_manifest=1, source_manifest=1, broker_manifest=1, time=milliseconds(moment),
                kind_class=signed_pb2.KIND_CLASS_CERTAIN, elements=secret.source(self.oin).elements,
                seal_hashes=[seal_hash(record) for record in records], x25519=secrets.token_bytes(32),
                mlkem=secrets.token_bytes(1184), checkpoint=bytes(72), case_commitment=secrets.token_bytes(32),
            ),
        )  # fmt: skip
        made = AnsweredQuestion(
            id_, channel.question_hash(signed), requester, self.oin, purpose, month_of(moment), signed.payload,
            signed.signature, tuple(records),
        )  # fmt: skip
        if keep:
            self.keep(made, moment)
        return made

    def keep(self, question: AnsweredQuestion, moment: datetime | None = None) -> None:
        asyncio.run(self.store.admit_answer(question, (), moment or self.now))

    def own(
        self,
        persons: Sequence[Identifier],
        outcomes: Mapping[str, Sequence[OutcomeKind]],
        *,
        purpose: str = ZSM,
        case: str = "15/234567-26",
        moment: datetime | None = None,
        role: str = "officier",
        with_outcomes: bool = True,
        seed: bytes | None = None,
        late: Mapping[str, Sequence[str]] | None = None,
        lapsed: Mapping[str, Sequence[str]] | None = None,
        reasons: Sequence[str] = (),
    ) -> bytes:
        """A lookup of the own organisation: its two own records, as the asking side writes them. Gives the begin id."""
        moment = moment or self.now - timedelta(hours=2)
        secret = blinds.draw(persons, outcomes)
        evaluated = [group.multiply(self.u(moment), element) for element in secret.begin_elements]
        key = group.multiply_base(self.u(moment))
        begun = broker_pb2.Begun(
            evaluated=evaluated, proof=dleq.prove(self.u(moment), key, list(secret.begin_elements), evaluated)
        )
        begin_id = secrets.token_bytes(16)
        begin = signed_pb2.Begin(
            protocol_version=1, begin_id=begin_id, requester=self.oin, purpose=purpose, covenant_hash=bytes(32),
            record_month=month_of(moment), requester_manifest=1, broker_manifest=1, time=milliseconds(moment),
            elements=secret.begin_elements,
        )  # fmt: skip
        signed = channel.sign_message(SigningKey.generate(), channel.LABEL_BEGIN, begin)
        content: dict[str, Any] = {
            "kind": "bekend/1 lookup", "begin_id": begin_id.hex(), "time": moment.isoformat(), "officer": "jansen",
            "officer_name": "J. Jansen", "role": role, "case": case, "justification": None, "attested": [],
            "requester": self.oin, "on_behalf_of": None, "purpose": purpose, "covenant_hash": bytes(32).hex(),
            "identifiers": [{"kind": one.kind, "value": one.value.rjust(18)} for one in persons],
            "seed": (seed or secret.seed).hex(), "begin": own_record._base64(signed),
            "begun": own_record._base64(begun),
            "questions": [
                {"source": source, "question_id": secrets.token_bytes(16).hex(),
                 "question_hash": secrets.token_bytes(32).hex(), "case_salt": secrets.token_bytes(32).hex()}
                for source in outcomes
            ],
            **({"reasons": list(reasons)} if reasons else {}),
        }  # fmt: skip
        box = own_record.OfficerBox(self.officer.opening.public_key)
        records = [OwnRecord(begin_id, own_record.KIND_LOOKUP, own_record._seal(box, content))]
        if with_outcomes:
            outcomes_told = [
                Outcome(j, source, source, kind, "2026-12-01", "")
                for source, kinds in outcomes.items()
                for j, kind in enumerate(kinds)
            ]
            records.append(own_record.outcomes_record(box, begin_id, 0, outcomes_told))
        for kind, came in ((own_record.KIND_LATE, late), (own_record.KIND_LAPSED, lapsed)):
            for one in content["questions"]:
                if one["source"] in (came or {}):
                    told = [{"person": j, "outcome": it.ljust(16)} for j, it in enumerate((came or {})[one["source"]])]
                    id_ = bytes.fromhex(one["question_id"])
                    what = {"kind": f"bekend/1 {kind}", "outcomes": told}
                    records.append(OwnRecord(id_, kind, own_record._seal(box, what)))
        asyncio.run(self.store.admit_asking(records=records, at=moment))
        return begin_id

    # --- the off-line side

    def manifest(self) -> bytes:
        key = key_of(self.oin)
        made = KeyManifest(
            oin=self.oin, number=1, issued=self.now - timedelta(days=9), valid_until=self.now + timedelta(days=300),
            protocol_versions=(1,), signing_keys=(bytes(SigningKey.generate().verify_key),),
            privacy_officer=self.officer.opening_public, privacy_officer_signing=self.officer.signing_public,
            desk="Loket Inzage, Stationsplein 1",
        )  # fmt: skip
        return sign_note(made.text(), key.name, key.seed)

    def broker_manifest(self) -> bytes:
        made = KeyManifest(
            oin=OPERATOR, number=1, issued=self.now - timedelta(days=9), valid_until=self.now + timedelta(days=300),
            protocol_versions=(1,), signing_keys=(bytes(SigningKey.generate().verify_key),),
            record_keys=self.record_keys,
        )  # fmt: skip
        key = key_of(OPERATOR)
        return sign_note(made.text(), key.name, key.seed)

    def export(self, name: str = "export.db") -> Path:
        path = self.folder / name
        path.unlink(missing_ok=True)
        meta = {
            "oin": self.oin.encode(), "made": b"0", "manifest": self.manifest(),
            "broker_manifest": self.broker_manifest(), "manifests": b"[]",
        }  # fmt: skip
        write_export(self.store, path, meta)
        return path

    def request(self, person: Identifier) -> tuple[bytes, bytes]:
        return make_request(self.officer, person, self.now)

    def reply(self, request: bytes, **changes: Any) -> bytes:
        """What an honest broker replies. `changes`: month -> another secret."""
        signed = parse_request(request)
        element = signed_pb2.SubjectAccess.FromString(signed.payload).element
        months = []
        for month, u in sorted({**self.months, **changes}.items()):
            evaluated = group.multiply(u, element)
            proof = dleq.prove(u, group.multiply_base(u), [element], [evaluated])
            months.append(broker_pb2.AccessMonth(month=month, evaluated=evaluated, proof=proof))
        return reply_bytes(request_hash(signed), broker_pb2.AccessResponse(months=months))

    def given(self, person: Identifier, registration: Registration | None = None, **changes: Any) -> Given:
        request, private = self.request(person)
        facts: dict[str, Any] = {
            "keys": [self.officer], "secret": private, "reply": self.reply(request), "export": self.export(),
            "covenants": [self.covenant], "anchor": key_of(self.oin).vkey, "registration": registration, "workers": 1,
        }  # fmt: skip
        return Given(**(facts | changes))

    def answer(self, person: Identifier, registration: Registration | None = None, **changes: Any) -> Findings:
        return answer(self.given(person, registration, **changes), self.now, quiet)[1]

    def letter(self, person: Identifier, registration: Registration | None = None, **changes: Any) -> tuple[str, str]:
        """The page and the data, as text."""
        facts, findings = answer(self.given(person, registration, **changes), self.now, quiet)
        assert isinstance(facts, Facts)
        return letter_html(facts, findings).decode(), letter_json(facts, findings).decode()


def value_of(archive: Archive, person: Identifier, moment: datetime) -> bytes:
    """U of a person, as nobody but broker and privacy officer together can make it."""
    return oprf.finalize(person.canonical, group.multiply(archive.u(moment), oprf.hash_identifier(person)))


__all__ = ["ANN", "BEN", "CAS", "RECLASSERING", "Archive", "quiet", "value_of"]
