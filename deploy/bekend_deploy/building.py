"""Everything that stands on disk before a federation runs, made by the code that real partners use.

    pki/                  the throw-away authority and a certificate per process
    covenant/             the demo covenant, signed by every ondertekenaar and the operator
    broker/               broker.yaml, keys/, manifest.note
    <partner>/            node.yaml, keys/, manifest.note, besluiten/, mappings/, import/

What in life lies in a safe (keys of ondertekenaars, of privacy officers, of those who approve a mapping) exists in
memory alone here, and is gone when the process ends.
"""

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from bekend_broker import keys as broker_keys
from bekend_node import keys as node_keys
from bekend_policy.keys import SigningKey
from bekend_policy.load import load_covenant
from bekend_policy.officer_key import OfficerKey
from bekend_policy.sign import add_line, verify_covenant
from bekend_policy.standing import StandingDecision
from bekend_proto.identity import pinned_keys
from bekend_proto.note import add_signature, note_name, sign_note, vkey_of
from nacl.signing import SigningKey as Ed25519

from bekend_deploy import covenant as demo_covenant
from bekend_deploy.partners import BROKER_OIN, SOCIAL, Pair, Partner, registers_in_use, served
from bekend_deploy.pki import Authority, TlsPaths
from bekend_deploy.population import Population, canary_of
from bekend_deploy.processes import free_ports
from bekend_deploy.questions import RELEASE_ROLES, ROLES

COLLEAGUE = "demo-collega"
"""Who else decides at each desk of the demo: a user that this machine does not have."""

_PRACTICE: Final = "oefenen.yaml"


@dataclass(frozen=True)
class OffLine:
    """The keys that people hold: per partner an ondertekenaar, a privacy officer, and two approvers of mappings."""

    signer: SigningKey
    privacy_officer: OfficerKey
    approvers: tuple[SigningKey, SigningKey]

    @classmethod
    def fresh(cls, oin: str) -> "OffLine":
        """New keys for one partner."""
        return cls(
            new_signer(note_name(oin, "ondertekenaar")),
            OfficerKey.generate(oin),
            (new_signer(f"bekend/{oin}/beheer-1"), new_signer(f"bekend/{oin}/beheer-2")),
        )


@dataclass(frozen=True)
class NodeFiles:
    """Where one partner's node finds its things."""

    partner: Partner
    folder: Path
    config: Path
    tls: TlsPaths
    imports: Mapping[str, Path]
    """Register -> CSV file, for the registers that some purpose needs."""
    off_line: OffLine
    metrics: int
    pages: int | None
    """Port of the pages, where the federation has them."""

    @property
    def socket(self) -> Path:
        """The node's control socket."""
        return self.folder / "node.sock"


@dataclass(frozen=True)
class Built:
    """A federation on disk, ready to start."""

    folder: Path
    authority: Authority
    covenant: Path
    operator: SigningKey
    broker_config: Path
    broker_port: int
    broker_tls: TlsPaths
    nodes: Mapping[str, NodeFiles]


def new_signer(name: str) -> SigningKey:
    """A fresh off-line key that is never written."""
    key = Ed25519.generate()
    return SigningKey(name, vkey_of(name, bytes(key.verify_key)), bytes(key))


def build(
    folder: Path,
    members: Sequence[Partner],
    pairs: Sequence[Pair],
    population: Population,
    settings: demo_covenant.Settings,
    *,
    now: datetime,
    pages: bool = False,
    write: Callable[..., None] = demo_covenant.write,
) -> Built:
    """Write a whole federation under `folder`, which exists and is empty; with `pages`, each node has them.

    `write` makes the covenant's files, unless they are to be those of the demo.
    """
    authority = Authority(folder / "pki", now)
    off_line = {member.oin: OffLine.fresh(member.oin) for member in members}
    operator = new_signer(note_name(BROKER_OIN, "beheerder"))
    covenant = folder / "covenant"
    signers = {oin: keys.signer.vkey for oin, keys in off_line.items()}
    write(covenant, members, pairs, signers=signers, operator=operator.vkey, today=population.today, settings=settings)
    unsigned = load_covenant(covenant)
    for key in (*(keys.signer for keys in off_line.values()), operator):
        add_line(covenant, unsigned, key)
    loaded = verify_covenant(load_covenant(covenant), operator.vkey, now)
    if pages:
        _practice(folder, population)
    ports = iter(free_ports(2 + (1 + pages) * len(members)))
    broker_port, broker_metrics = next(ports), next(ports)

    broker_folder = folder / "broker"
    broker_tls = authority.issue("broker", "Beheerder van de demo", BROKER_OIN)
    broker_keys.create_missing(broker_folder / "keys", now)
    pinned = pinned_keys([broker_tls.certificate])
    draft = broker_keys.draft_manifest(broker_folder / "keys", loaded, BROKER_OIN, 1, now, tls_keys=pinned)
    (broker_folder / "manifest.note").write_bytes(sign_note(draft.text(), operator.name, operator.seed))
    broker_config = _dump(
        broker_folder / "broker.yaml",
        {
            "oin": BROKER_OIN,
            "covenant": "../covenant",
            "anchor": operator.vkey,
            "manifest": "manifest.note",
            "listen": f"127.0.0.1:{broker_port}",
            "metrics": f"127.0.0.1:{broker_metrics}",
            "tls": _tls(broker_tls, broker_folder),
        },
    )
    nodes = {
        member.oin: _node(
            folder / member.slug,
            member,
            pairs,
            population,
            off_line[member.oin],
            tls=authority.issue(member.slug, member.name, member.oin),
            place=place,
            broker=broker_port,
            metrics=next(ports),
            pages=next(ports) if pages else None,
            # By a combination everything comes to the desk, whatever the mode is.
            at_desk=[pair for pair in pairs if settings.combinations or pair.mode != "automatisch"],
            now=now,
        )
        for place, member in enumerate(members)
    }
    return Built(folder, authority, covenant, operator, broker_config, broker_port, broker_tls, nodes)


def _node(
    folder: Path,
    partner: Partner,
    pairs: Sequence[Pair],
    population: Population,
    off_line: OffLine,
    *,
    tls: TlsPaths,
    place: int,
    broker: int,
    metrics: int,
    pages: int | None,
    at_desk: Sequence[Pair],
    now: datetime,
) -> NodeFiles:
    folder.mkdir(mode=0o700)
    keys = node_keys.NodeKeys.create(folder / "keys", partner.oin, now)
    used = registers_in_use(pairs, partner.oin)
    files = population.write(folder / "import", partner.oin)
    sizes = {register: max(1, len(population.registers[partner.oin, register])) for register in used}
    contact = {"desk": f"Loket {partner.name}, loket@{partner.slug}.example", "opening_hours": "werkdagen 9-17 uur"}
    officer = off_line.privacy_officer
    (folder / "privacy-officer.pub").write_text(officer.public_file, encoding="ascii")
    draft = node_keys.draft_manifest(
        keys,
        served(pairs, partner.oin),
        sizes,
        privacy_officer=officer.opening_public,
        privacy_officer_signing=officer.signing_public,
        number=1,
        now=now,
        tls_keys=pinned_keys([tls.certificate]),
        desk=contact["desk"],
        opening_hours=contact["opening_hours"],
    )
    (folder / "manifest.note").write_bytes(sign_note(draft.text(), off_line.signer.name, off_line.signer.seed))
    for register in used:
        _write_mapping(folder / "mappings" / f"{register}.note", register, population.kind, off_line.approvers)
    for pair in pairs:
        if pair.oin == partner.oin and pair.mode == "standaardbesluit":
            _write_decision(folder / "besluiten", pair, off_line.signer, population.today)
    config = _dump(
        folder / "node.yaml",
        {
            "oin": partner.oin,
            "covenant": "../covenant",
            "anchor": off_line.signer.vkey,
            "manifest": "manifest.note",
            **contact,
            "standing_decisions": "besluiten",
            "privacy_officer": "privacy-officer.pub",
            "brokers": [{"address": f"127.0.0.1:{broker}"}],
            "tls": _tls(tls, folder),
            "metrics": f"127.0.0.1:{metrics}",
            "socket": "node.sock",
            **({"web": _pages(pages)} if pages else {}),
            "canary": f"{population.kind}:{canary_of(place, population.kind)}",
            "officers": _officers(partner, has_release=any(pair.purpose == SOCIAL for pair in pairs), pages=pages),
            **({"log_readers": [_privacy_officer(partner)]} if pages else {}),
            "desk_staff": _desk_staff(partner, at_desk, pages=pages is not None),
            "registers": {
                register: {"mapping": f"mappings/{register}.note", "size": str(size)}
                for register, size in sizes.items()
            },
            "approvers": [key.vkey for key in off_line.approvers],
        },
    )
    imports = {register: files[register] for register in used}
    return NodeFiles(partner, folder, config, tls, imports, off_line, metrics, pages)


def _user() -> str:
    """Whoever runs the demo, as the nodes' sockets see it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _desk_staff(partner: Partner, at_desk: Sequence[Pair], *, pages: bool) -> list[dict[str, Any]]:
    """Who decides at the desk, for what may be answered by hand: who runs the demo, and somebody to hand over to; on
    pages a deputy too.
    """
    purposes = [pair.purpose for pair in at_desk if pair.oin == partner.oin]
    staff = {_user(): "Demo-collega", COLLEAGUE: "Tweede demo-collega"} if purposes else {}
    found: list[dict[str, Any]] = [
        {"user": user, "name": f"{name} {partner.name}", "purposes": [*purposes]} for user, name in staff.items()
    ]
    if purposes and pages:
        name = f"Demo-plaatsvervanger {partner.name}"
        found.append({"user": "plaatsvervanger", "name": name, "purposes": [*purposes], "deputy": "true"})
    return found


def _practice(folder: Path, population: Population) -> None:
    """The fixed persons to practise with: one file for all, in no node's folder."""
    fixed = population.fixed
    shows = {
        fixed.everywhere: "Bekend bij elke partner die direct antwoordt.",
        fixed.nowhere: "Bij niemand bekend: u ziet 'geen uitsluitsel'.",
        fixed.expired: "Was bekend, maar dat is te lang geleden: u ziet 'geen uitsluitsel'.",
    }
    persons = [{"person": f"{population.kind}:{number}", "shows": text} for number, text in shows.items()]
    _dump(folder / _PRACTICE, {"persons": persons})


def _pages(port: int) -> dict[str, str]:
    address = f"127.0.0.1:{port}"
    return {"listen": address, "origin": f"http://{address}", "practice": f"../{_PRACTICE}"}


def _officers(partner: Partner, *, has_release: bool, pages: int | None) -> list[dict[str, str]]:
    """Whoever runs the demo is the officer of every partner that may ask; on pages there is a privacy officer too."""
    further = RELEASE_ROLES.get(partner.kind, ()) if has_release else ()
    roles = (ROLES.get(partner.kind, "medewerker"), *further, "beheer")
    found = [{"user": _user(), "name": f"Demo-medewerker {partner.name}", "role": role} for role in roles]
    return [*found, {**_privacy_officer(partner), "role": "privacy-officer"}] if pages else found


def _privacy_officer(partner: Partner) -> dict[str, str]:
    """Somebody else than who asks; the log's reader."""
    return {"user": "privacyfunctionaris", "name": f"Demo-privacyfunctionaris {partner.name}"}


def _write_mapping(path: Path, register: str, kind: str, approvers: tuple[SigningKey, SigningKey]) -> None:
    path.parent.mkdir(exist_ok=True)
    column = "bsn" if kind == "bsn" else "nummer"
    text = (
        "kind: bekend/1 mapping\n"
        f"register: {register}\n"
        f"identifier_kind: {kind}\n"
        f"columns:\n  identifier: {column}\n  end: einddatum\n  change: mutatie\n"
    )
    first, second = approvers
    path.write_bytes(add_signature(sign_note(text, first.name, first.seed), second.name, second.seed))


def _write_decision(folder: Path, pair: Pair, signer: SigningKey, today: date) -> None:
    decision = StandingDecision(
        covenant_id=pair.purpose.partition("/")[0],
        source=pair.oin,
        purpose=pair.purpose,
        first_day=today - timedelta(days=1),
        last_day=today + timedelta(days=90),
        decision="Demobesluit: alleen voor verzonnen personen",
    )
    folder.mkdir(exist_ok=True)
    name = pair.purpose.partition("/")[2]
    (folder / f"{name}.note").write_bytes(sign_note(decision.text(), signer.name, signer.seed))


def _tls(paths: TlsPaths, folder: Path) -> dict[str, str]:
    """Paths as a configuration in `folder` names them."""
    return {
        "certificate": os.path.relpath(paths.certificate, folder),
        "key": os.path.relpath(paths.key, folder),
        "authorities": os.path.relpath(paths.authorities, folder),
    }


def _dump(path: Path, tree: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False, width=200), encoding="utf-8")
    return path
