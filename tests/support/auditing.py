"""A week of lookups with all that an audit rests on: logs, sealed records, own records; and requesters that lie.

Everything is made from the protocol's own functions, no process and no network. `Trail.lookup` takes the lies.
"""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import sqlite_utils
from bekend_node.ask import blinds, own_record
from bekend_node.audit.basis import Basis, Given, load_basis
from bekend_node.audit.opening import Opening, open_sealed, read_opening, seal_opening
from bekend_node.audit.showing import Shown, show
from bekend_node.audit.testing import Report, judge
from bekend_node.store import Store
from bekend_node.store_export import write_export
from bekend_node.store_own import OwnRecord
from bekend_policy.log_use import Days
from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_policy.officer_key import OfficerKey
from bekend_proto import channel, dleq, group, log_table
from bekend_proto.checkpoint import cosign, log_origin, witness_vkey
from bekend_proto.clock import milliseconds, month_of
from bekend_proto.durable import LOG_DDL
from bekend_proto.identifiers import Identifier
from bekend_proto.ledger.exported import Export, Record
from bekend_proto.ledger.exporting import make_export
from bekend_proto.log_table import Entry
from bekend_proto.migrations import statements
from bekend_proto.note import sign_note, vkey_of
from bekend_proto.octets import i2osp
from bekend_proto.records import seal_hash
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from tests.support.auditors import AUDITOR, with_auditor
from tests.support.covenants import HAARLEM, NOW, OM, OPERATOR, POLITIE, RECLASSERING, ZSM, key_of, signed
from tests.support.sealed import ANN

NODES: Final = (OM, POLITIE, RECLASSERING, HAARLEM)
DAYS: Final = Days(date(2026, 11, 23), date(2026, 11, 29))
MOMENT: Final = datetime.fromisoformat("2026-11-25T12:00:00+00:00")
DRAWN: Final = datetime.fromisoformat("2026-11-30T12:00:00+00:00")


@dataclass
class Trail:
    """The federation's logs, and the node of the OM, whose Questions are audited."""

    folder: Path
    oin: str = OM
    officer: OfficerKey = field(default_factory=lambda: OfficerKey.generate(OM))
    u: bytes = field(default_factory=group.random_scalar)
    auditor_key: OfficerKey | None = AUDITOR
    held: bool = False
    """Whether the broker's export holds the cosigned checkpoint."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        change = (lambda it: with_auditor(it, self.auditor_key)) if self.auditor_key else (lambda it: it)
        self.covenant: Covenant = signed(self.folder / "convenant", change)
        self.store = Store.open(self.folder / "data")
        self.keys = {oin: SigningKey.generate() for oin in (OPERATOR, *NODES)}
        self.officers = {oin: PrivateKey.generate() for oin in NODES}
        self.entries: dict[str, list[Entry]] = {oin: [] for oin in (OPERATOR, *NODES)}
        self.records: dict[str, list[Record]] = {oin: [] for oin in NODES}
        self.own: list[OwnRecord] = []

    # --- filling

    def lookup(
        self,
        persons: Sequence[Identifier] = (ANN,),
        sources: Sequence[str] = (POLITIE,),
        *,
        at: datetime = MOMENT,
        answered: bool = True,
        recorded: bool = True,
        sealed_as: Sequence[Identifier] | None = None,
        content: Mapping[str, Any] | None = None,
        purpose: str = ZSM,
        begin_logged: bool = True,
    ) -> list[bytes]:
        """One lookup, all the way; gives the hashes of its Questions.

        `sealed_as`: persons whose c is sealed into E in their place. `content`: what the own record says instead.
        `recorded`: whether there is one.
        """
        secret = blinds.draw(persons, sources)
        evaluated, begun = self._begun(secret)
        values = secret.finalize(evaluated)
        if sealed_as is not None:
            lie = blinds.derive(secret.seed, sealed_as, sources)
            values = lie.finalize([group.multiply(self.u, one) for one in lie.begin_elements])
        begin = self._begin(secret, purpose, at)
        if begin_logged:
            self._log(OPERATOR, "begin", channel.begin_hash(begin), at, requester=self.oin)
        rows = []
        for source in sources:
            row, question, sealed = self._question(secret, values, source, purpose=purpose, at=at)
            name = channel.question_hash(question)
            rows.append(row | {"question_hash": name.hex()})
            self._log(self.oin, "asked", name, at, requester=self.oin, source=source)
            self._log(OPERATOR, "question", name, at, requester=self.oin, source=source)
            if answered:
                self._log(source, "answered", name, at, requester=self.oin, source=source)
                self._log(self.oin, "told", name, at, requester=self.oin, source=source)
                self.records[source].append(Record(question, tuple(sealed)))
        if recorded:
            self._keep(secret, begin, begun, rows, purpose=purpose, at=at, content=content or {})
        return [bytes.fromhex(row["question_hash"]) for row in rows]

    def _begun(self, secret: blinds.Blinds) -> tuple[list[bytes], broker_pb2.Begun]:
        evaluated = [group.multiply(self.u, element) for element in secret.begin_elements]
        proof = dleq.prove(self.u, group.multiply_base(self.u), list(secret.begin_elements), evaluated)
        return evaluated, broker_pb2.Begun(evaluated=evaluated, proof=proof)

    def _begin(self, secret: blinds.Blinds, purpose: str, at: datetime) -> signed_pb2.Signed:
        message = signed_pb2.Begin(
            protocol_version=1, begin_id=secrets.token_bytes(16), requester=self.oin, purpose=purpose,
            covenant_hash=self.covenant.hash, record_month=month_of(at), requester_manifest=1, broker_manifest=1,
            time=milliseconds(at), elements=secret.begin_elements,
        )  # fmt: skip
        return channel.sign_message(self.keys[self.oin], channel.LABEL_BEGIN, message)

    def _question(
        self, secret: blinds.Blinds, values: Sequence[bytes], source: str, *, purpose: str, at: datetime
    ) -> tuple[dict[str, str], signed_pb2.Signed, list[bytes]]:
        id_, salt = secrets.token_bytes(16), secrets.token_bytes(32)
        sealed = secret.sealed_records(
            values, requester=self.oin, source=source, purpose=purpose, question_id=id_,
            privacy_officer=bytes(self.officers[source].public_key),
        )  # fmt: skip
        message = signed_pb2.Question(
            protocol_version=1, question_id=id_, requester=self.oin, source=source, purpose=purpose,
            covenant_hash=self.covenant.hash, epoch="2026Q4", record_month=month_of(at), requester_manifest=1,
            source_manifest=1, broker_manifest=1, time=milliseconds(at), kind_class=signed_pb2.KIND_CLASS_CERTAIN,
            elements=secret.source(source).elements, seal_hashes=[seal_hash(one) for one in sealed],
            x25519=secrets.token_bytes(32), mlkem=secrets.token_bytes(1184), checkpoint=bytes(72),
            case_commitment=channel.case_commitment(salt, "15/234567-26", "jansen"),
        )  # fmt: skip
        row = {"source": source, "question_id": id_.hex(), "case_salt": salt.hex(), "consent": "een toestemming"}
        return row, channel.sign_message(self.keys[self.oin], channel.LABEL_QUESTION, message), sealed

    def _keep(
        self, secret: blinds.Blinds, begin: signed_pb2.Signed, begun: broker_pb2.Begun, rows: list[dict[str, str]], *,
        purpose: str, at: datetime, content: Mapping[str, Any],
    ) -> None:  # fmt: skip
        id_ = signed_pb2.Begin.FromString(begin.payload).begin_id
        said = {
            "kind": "bekend/1 lookup", "begin_id": id_.hex(), "time": at.isoformat(), "officer": "jansen",
            "officer_name": "J. Jansen", "role": "officier", "case": "15/234567-26", "justification": "een reden",
            "attested": [], "requester": self.oin, "on_behalf_of": None, "purpose": purpose,
            "covenant_hash": self.covenant.hash.hex(),
            "identifiers": [{"kind": one.kind, "value": one.value.rjust(18)} for one in secret.identifiers],
            "seed": secret.seed.hex(), "begin": own_record._base64(begin), "begun": own_record._base64(begun),
            "questions": rows, **content,
        }  # fmt: skip
        box = own_record.OfficerBox(self.officer.opening.public_key)
        record = OwnRecord(id_, own_record.KIND_LOOKUP, own_record._seal(box, said))
        asyncio.run(self.store.admit_asking(records=[record], at=at))

    def _log(self, oin: str, kind: str, hash_: bytes, at: datetime, *, requester: str = "", source: str = "") -> None:
        self.entries[oin].append(Entry(kind, hash_, milliseconds(at), requester, source))

    # --- files

    def _log_export(self, oin: str, records: Iterable[Record] = ()) -> Export:
        """The log of a party; the broker's with an entry after the period, and cosigned by all."""
        origin = log_origin(oin, "main" if oin == OPERATOR else "node")
        connection = sqlite3.connect(":memory:")
        for statement in statements(LOG_DDL):
            connection.execute(statement)
        log_table.add_tree(sqlite_utils.Database(connection))
        entries = sorted(self.entries[oin], key=lambda one: one.at)
        after = Entry("exported", bytes(28) + i2osp(len(entries), 4), milliseconds(DRAWN))
        log_table.append(connection, [*entries, after])
        since, _ = DAYS.span
        made = make_export(
            connection, origin, self.keys[oin], since=since, until=milliseconds(DRAWN) + 1,
            made=milliseconds(NOW), records=records,
        )  # fmt: skip
        connection.close()
        return made

    def write(self) -> "Files":
        """All files that are given to the officer and the auditor."""
        folder = self.folder / f"files-{secrets.token_hex(4)}"
        logs = folder / "exports"
        logs.mkdir(parents=True)
        broker = self._log_export(OPERATOR)
        note = broker.checkpoint
        for oin in NODES:
            note = cosign(note, oin, self.keys[oin], int(DRAWN.timestamp()) + 60)
        if self.held:
            broker = replace(broker, held=(note,))
        (logs / "makelaar.export").write_bytes(broker.to_bytes(self.keys[OPERATOR]))
        for oin in NODES:
            made = self._log_export(oin, self.records[oin])
            (logs / f"{oin}.export").write_bytes(made.to_bytes(self.keys[oin]))
        (folder / "punt.note").write_bytes(note)
        lines = [vkey_of(log_origin(OPERATOR, "main"), bytes(self.keys[OPERATOR].verify_key))]
        for oin in NODES:
            public = bytes(self.keys[oin].verify_key)
            lines += [vkey_of(log_origin(oin, "node"), public), witness_vkey(oin, public)]
        (folder / "keys.txt").write_text("\n".join(lines) + "\n", "utf-8")
        meta = {
            "oin": self.oin.encode(), "made": b"0", "manifest": self.manifest(self.oin),
            "broker_manifest": self.broker_manifest(),
            "manifests": json.dumps([self.manifest(oin).hex() for oin in NODES]).encode(),
        }  # fmt: skip
        write_export(self.store, folder / "export.db", meta)
        return Files(self, folder)

    def manifest(self, oin: str, number: int = 1) -> bytes:
        own = oin == self.oin
        made = KeyManifest(
            oin=oin, number=number, issued=MOMENT - timedelta(days=9), valid_until=NOW + timedelta(days=300),
            protocol_versions=(1,), signing_keys=(bytes(self.keys[oin].verify_key),),
            privacy_officer=self.officer.opening_public if own else bytes(self.officers[oin].public_key),
            privacy_officer_signing=self.officer.signing_public if own else None,
        )  # fmt: skip
        key = key_of(oin)
        return sign_note(made.text(), key.name, key.seed)

    def broker_manifest(self) -> bytes:
        made = KeyManifest(
            oin=OPERATOR, number=1, issued=MOMENT - timedelta(days=9), valid_until=NOW + timedelta(days=300),
            protocol_versions=(1,), signing_keys=(bytes(self.keys[OPERATOR].verify_key),),
            record_keys={month_of(MOMENT): group.multiply_base(self.u)}, logs=("main",),
        )  # fmt: skip
        key = key_of(OPERATOR)
        return sign_note(made.text(), key.name, key.seed)

    def fill(self, count: int = 80, **facts: Any) -> list[bytes]:
        """So many lookups."""
        return [one for _ in range(count) for one in self.lookup(**facts)]


@dataclass
class Files:
    """What stands on the tables of the privacy officer and the auditor."""

    trail: Trail
    folder: Path

    def given(self, *, officer: bool = False) -> Given:
        logs = self.folder / "exports"
        exports = [logs / "makelaar.export"] if officer else [logs]
        return Given(exports, [self.folder / "punt.note"], self.folder / "keys.txt", DAYS)

    def basis(self, *, officer: bool = False) -> Basis:
        return load_basis(self.given(officer=officer), OPERATOR)

    def drawn(self) -> set[bytes]:
        """What is drawn, computed from the broker's export alone."""
        return {one.hash for one in self.basis(officer=True).selected}

    def shown(self) -> Shown:
        keys = [self.trail.officer.opening]
        return show(self.folder / "export.db", keys, self.trail.oin, self.basis(officer=True))

    def judge(self, opening: Opening | None = None, **more: Any) -> Report:
        """Seal, open, look."""
        made = seal_opening(
            opening or self.shown().opening, self.trail.officer, auditor="de auditor", to=AUDITOR.opening_public
        )
        signature, payload, opened = open_sealed(read_opening(made), AUDITOR.opening)
        return judge(opened, (signature, payload), self.basis(), self.trail.covenant, NOW, **more)


__all__ = ["DAYS", "MOMENT", "NODES", "Files", "Trail"]
