"""A real node on top of the test federation: its folder, its imports, the node itself in this process."""

import contextlib
import csv
import getpass
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml
from bekend_deploy.partners import COVENANT, Pair, agreements, registers_in_use, served
from bekend_node.app import Node, start_node
from bekend_node.config import NodeConfig, load_config
from bekend_node.enrol.command import enrol_file
from bekend_node.enrol.lists import Wanted
from bekend_node.enrol.plan import Report
from bekend_node.keys import NodeKeys, draft_manifest
from bekend_policy.standing import StandingDecision
from bekend_proto import channel
from bekend_proto.clock import day_of
from bekend_proto.filter import ClosedFilter, tag
from bekend_proto.identifiers import Identifier
from bekend_proto.note import add_signature, note_name, sign_note, vkey_of
from bekend_proto.oprf import lookup_blind, unblind
from bekend_proto.v1 import broker_pb2, broker_pb2_grpc, signed_pb2
from nacl.signing import SigningKey

from tests.support.federation import Federation, Lookup, Party, told
from tests.support.filled import Filling, last_month

CANARY = "999993872"


@dataclass
class NodeHome:
    """One partner's folder, with everything that a node finds there."""

    federation: Federation
    oin: str
    folder: Path
    keys: NodeKeys
    pairs: Sequence[Pair]
    approvers: tuple[SigningKey, SigningKey]
    size: int = 4000
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def create(cls, federation: Federation, oin: str) -> "NodeHome":
        """Keys, manifest, mappings and standing decisions of one partner of the federation."""
        folder = federation.folder / f"node-{oin[-6:]}"
        keys = NodeKeys.create(folder / "keys", oin, federation.clock.now())
        approvers = (SigningKey.generate(), SigningKey.generate())
        home = cls(federation, oin, folder, keys, agreements(federation.members), approvers)
        home.party.signing = keys.signing
        home.write_manifest()
        for register in (*registers_in_use(home.pairs, oin), "afgeschermd"):
            home.write_mapping(register)
        home.write_decisions()
        return home

    @property
    def party(self) -> Party:
        """The federation's own idea of this partner: its ondertekenaar and privacy officer."""
        return self.federation.parties[self.oin]

    @property
    def purposes(self) -> list[str]:
        return sorted(served(self.pairs, self.oin))

    @property
    def registers(self) -> tuple[str, ...]:
        return registers_in_use(self.pairs, self.oin)

    def write_manifest(self, **changes: Any) -> None:
        self.party.number += 1
        facts: dict[str, Any] = {
            "purposes": self.purposes,
            "sizes": {"afgeschermd": 1000} | dict.fromkeys(self.registers, self.size),
            "privacy_officer": bytes(self.party.officer.public_key),
            "number": self.party.number,
            "now": self.federation.clock.now(),
        }
        draft = draft_manifest(self.keys, **(facts | changes))
        self.party.note = sign_note(draft.text(), note_name(self.oin, "ondertekenaar"), bytes(self.party.signer))
        (self.folder / "manifest.note").write_bytes(self.party.note)

    def write_mapping(
        self, register: str, *, columns: dict[str, str] | None = None, signers: int = 2, **more: Any
    ) -> None:
        tree = {
            "kind": "bekend/1 mapping",
            "register": register,
            "identifier_kind": "bsn",
            "columns": columns or {"identifier": "bsn", "end": "einddatum", "change": "mutatie"},
            **more,
        }
        if columns is None:
            tree["columns"] = {"identifier": "bsn", "end": "einddatum"} | (
                {"change": "mutatie"} if "change" not in more else {}
            )
        tree = {key: value for key, value in tree.items() if value is not None}
        note = b""
        for number, key in enumerate(self.approvers[:signers]):
            name = f"bekend/{self.oin}/beheer-{number}"
            text = yaml.safe_dump(tree, sort_keys=False)
            note = add_signature(note, name, bytes(key)) if note else sign_note(text, name, bytes(key))
        path = self.folder / "mappings" / f"{register}.note"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(note)

    def write_decisions(self, *, first: int = -1, last: int = 90) -> None:
        folder = self.folder / "besluiten"
        folder.mkdir(exist_ok=True)
        today = day_of(self.federation.clock.now())
        for pair in self.pairs:
            if pair.oin == self.oin and pair.mode == "standaardbesluit":
                decision = StandingDecision(
                    covenant_id=COVENANT,
                    source=self.oin,
                    purpose=pair.purpose,
                    first_day=today + timedelta(days=first),
                    last_day=today + timedelta(days=last),
                    decision="Proefbesluit",
                )
                note = sign_note(decision.text(), note_name(self.oin, "ondertekenaar"), bytes(self.party.signer))
                (folder / f"{pair.purpose.partition('/')[2]}.note").write_bytes(note)

    def tree(self, port: int) -> dict[str, Any]:
        """What stands in node.yaml."""
        return {
            "oin": self.oin,
            "covenant": str(self.federation.covenant_folder),
            "anchor": self.party.signer_vkey,
            "manifest": "manifest.note",
            "desk": "Loket, loket@partner.example",
            "standing_decisions": "besluiten",
            "brokers": [{"address": f"localhost:{port}"}],
            "tls": {
                "certificate": str(self.party.tls.certificate),
                "key": str(self.party.tls.key),
                "authorities": str(self.party.tls.authorities),
            },
            "canary": f"bsn:{CANARY}",
            "registers": {
                register: {"mapping": f"mappings/{register}.note", "size": self.size}
                for register in (*self.registers, "afgeschermd")
            },
            "approvers": [
                vkey_of(f"bekend/{self.oin}/beheer-{number}", bytes(key.verify_key))
                for number, key in enumerate(self.approvers)
            ],
            "workers": 1,
            "desk_staff": [{"user": getpass.getuser(), "name": "A. de Vries", "purposes": self.purposes}],
            **self.settings,
        }

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def config(self, port: int) -> NodeConfig:
        path = self.folder / "node.yaml"
        path.write_text(yaml.safe_dump(self.tree(port), sort_keys=False))
        return load_config(path)

    def csv(self, register: str, persons: Iterable[Identifier], *, end: str = "", change: str | None = None) -> Path:
        """A register's export."""
        path = self.folder / f"{register}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, delimiter=";", lineterminator="\n")
            rows.writerow(["bsn", "einddatum", *(["mutatie"] if change else [])])
            for person in persons:
                rows.writerow([person.value, end, *([change] if change else [])])
        return path

    async def enrol(self, port: int, register: str, file: Path | None, **wanted: Any) -> Report:
        """Import in this process."""
        wanted.setdefault("as_of", self.today)
        with ThreadPoolExecutor(2) as executor:
            return await enrol_file(
                self.config(port),
                Wanted(register=register, file=file, **wanted),
                self.federation.clock,
                executor,
                lambda *_: None,
            )

    async def enrol_all(self, port: int, persons: Sequence[Identifier], **more: Any) -> None:
        """The same persons in every register."""
        for register in self.registers:
            await self.enrol(port, register, self.csv(register, persons), **more)

    def fill(self, port: int, persons: Sequence[Identifier]) -> None:
        """The same persons in every register, as an import leaves them: for tests that are not about imports."""
        now = self.federation.clock.now()
        filling = Filling(self.config(port), self.federation.covenant, self.federation.folder / "keys", now)
        rows = [(person, last_month(now)) for person in persons]
        filling.put_into_service(dict.fromkeys(self.registers, rows))

    @property
    def today(self) -> date:
        return day_of(self.federation.clock.now())

    @contextlib.asynccontextmanager
    async def node(self, port: int, *, dev: bool = False) -> AsyncIterator[Node]:
        """The node, attached, its first filters in service if they can be."""
        node = await start_node(self.config(port), self.federation.clock, dev=dev)
        try:
            for attachment in node.attachments:
                await attachment.attached.wait()
            await node.directory.wait()
            await node.filters.tick()
            await node.filters.settle()
            yield node
        finally:
            await node.stop(2)


@dataclass(frozen=True)
class Fetched:
    """A source's filter as a requester gets it."""

    header: signed_pb2.FilterHeader
    body: ClosedFilter

    def knows(self, lookup: Lookup, answer: broker_pb2.SealedAnswer) -> list[bool]:
        """Step (10) of an honest requester, against this filter."""
        inner = open_answer(lookup, answer)
        source = self.header.source
        return [
            self.body.contains(
                tag(unblind(lookup_blind(lookup.seed, source, j), z), source, self.header.purpose, inner.filter_version)
            )
            for j, z in enumerate(inner.evaluated)
        ]


def open_answer(lookup: Lookup, answer: broker_pb2.SealedAnswer) -> signed_pb2.Answer:
    """The Answer inside, its signature verified."""
    source, own = lookup.asked[answer.question_id]
    other = lookup.party.federation.parties[source]
    opened = own.open(lookup.party.oin, source, answer.question_id, answer.x25519, answer.mlkem)
    signed = channel.parse_strict(signed_pb2.Signed, opened.open_from_source(0, answer.box))
    return channel.open_signed(signed_pb2.Answer, signed, channel.LABEL_ANSWER, [bytes(other.signing.verify_key)])


async def fetch(party: Party, source: str, purpose: str, **changes: Any) -> Fetched:
    """A source's filter, fetched over the broker, opened and verified. Raises the refusal as a BekendError."""
    own = channel.RequesterChannel()
    order = party.order(source, purpose, x25519=own.x25519, mlkem=own.mlkem, **changes)
    stub: broker_pb2_grpc.BrokerServiceStub = party.stub
    call: Any = stub.Fetch(broker_pb2.FetchRequest(order=party.sign(order)))
    pieces = [message.piece async for message in _all(call)]
    opened = own.open(party.oin, source, order.fetch_id, pieces[0].x25519, pieces[0].mlkem)
    signed = channel.parse_strict(signed_pb2.Signed, opened.open_from_source(0, pieces[0].box))
    keys = [bytes(party.federation.parties[source].signing.verify_key)]
    header = channel.open_signed(signed_pb2.FilterHeader, signed, channel.LABEL_FILTER, keys)
    body = b"".join(opened.open_from_source(number, piece.box) for number, piece in enumerate(pieces[1:], start=1))
    return Fetched(header, ClosedFilter(body))


async def _all(call: Any) -> AsyncIterator[Any]:
    while hasattr(message := await told(call.read()), "piece"):
        yield message


async def ask(party: Party, source: str, purpose: str, *persons: Identifier, **changes: Any) -> Any:
    """One honest lookup up to its reply; returns it with the lookup: an answer, or the name of a failure's code."""
    lookup = await party.lookup(purpose, persons).begin()
    await lookup.ask(lookup.question(source, **changes))
    return lookup, (await lookup.replies())[source]


async def bit(
    party: Party, source: str, purpose: str, person: Identifier, held: "Fetched | None" = None
) -> "bool | str":
    """Whether the source knows the person, or the name of the failure's code."""
    lookup, reply = await ask(party, source, purpose, person)
    if isinstance(reply, str):
        return reply
    held = held or await fetch(party, source, purpose)
    return held.knows(lookup, reply)[0]
