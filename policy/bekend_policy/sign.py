"""Signatures on a covenant: what is signed, by whom, and whether it holds.

Signed is the covenant's manifest: `bekend/1 convenant <id> versie <n>`, then one line `sha256  path` for each file
outside handtekeningen/, over the exact bytes, sorted by path. Its SHA-256 is the covenant hash. Each signer adds one
signed note, `handtekeningen/<oin>.note`, with that text: each partner's ondertekenaar, and the operator's beheerder.

A node is given one key by hand: that of its own ondertekenaar (the anchor). A covenant that this key signed pins the
keys of everybody else (protocol section 4).
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bekend_proto.errors import MalformedError
from bekend_proto.note import parse_note, sign_note, verify_note

from bekend_policy.faults import CovenantFaults, Fault
from bekend_policy.keys import SigningKey
from bekend_policy.load import SIGNATURES, load_covenant
from bekend_policy.model import Covenant


def sign_covenant(folder: Path, key: SigningKey) -> Path:
    """Sign the covenant in this folder as one of its signers; returns the note's path.

    Raises CovenantFaults if it has any fault, or if the key is not that of one of its signers.
    """
    covenant = load_covenant(folder)
    oin = next((oin for oin, vkey in signers(covenant) if vkey == key.vkey), None)
    if oin is None:
        raise _fault(
            covenant,
            f"de sleutel '{key.name}' hoort bij geen deelnemer en niet bij de beheerder",
            "Neem de openbare sleutel eerst op in deelnemers/ of afspraken.yaml.",
        )
    path = folder / SIGNATURES / f"{oin}.note"
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, sign_note(covenant.manifest, key.name, key.seed))
    return path


def verify_covenant(covenant: Covenant, anchor_vkey: str, now: datetime, *, newest_seen: int = 0) -> Covenant:
    """The covenant with `signed_by` filled in, or CovenantFaults with every reason why it does not hold.

    `anchor_vkey` is the verifier's own ondertekenaar (a node) or beheerder (the broker); it must be pinned in the
    covenant and have signed this version. `newest_seen` is the highest version that the verifier ever accepted.
    """
    faults = list(_dates_and_version(covenant, now, newest_seen))
    signed = frozenset(_verified(covenant, faults))
    if anchor_vkey not in {vkey for _, vkey in signers(covenant)}:
        faults.append(
            _one(
                covenant, "de eigen sleutel staat niet in het convenant", "Vergelijk hem met deelnemers/ of beheerder."
            )
        )
    for oin, vkey in signers(covenant):
        if oin not in signed and vkey in {anchor_vkey, covenant.operator_key}:
            who = "de beheerder" if vkey == covenant.operator_key else "de eigen ondertekenaar"
            faults.append(
                _one(
                    covenant,
                    f"{who} heeft deze versie niet getekend",
                    "Teken met 'bekend policy sign', of wacht daarop.",
                )
            )
    participants = signed & covenant.participants.keys()
    if len(participants) < covenant.agreement.quorum:
        faults.append(
            _one(
                covenant,
                f"{len(participants)} van de vereiste {covenant.agreement.quorum} deelnemers hebben getekend (quorum)",
                "Vraag de andere ondertekenaars om te tekenen.",
            )
        )
    if faults:
        raise CovenantFaults(faults)
    return replace(covenant, signed_by=participants)


def signers(covenant: Covenant) -> Iterator[tuple[str, str]]:
    """OIN and pinned key of everyone who may sign: the participants, then the operator."""
    yield from ((one.oin, one.signer) for one in covenant.participants.values())
    yield covenant.broker_oin, covenant.operator_key


def _dates_and_version(covenant: Covenant, now: datetime, newest_seen: int) -> Iterator[Fault]:
    if now < covenant.valid_from:
        yield _one(covenant, f"geldt pas vanaf {covenant.agreement.first_day}", "Gebruik tot dan de vorige versie.")
    if now >= covenant.valid_until:
        yield _one(covenant, f"is verlopen op {covenant.agreement.last_day}", "Laat een nieuwe versie tekenen.")
    if covenant.version < newest_seen:
        yield _one(
            covenant,
            f"versie {covenant.version} is ouder dan versie {newest_seen}, die al gold",
            "Teruggaan kan niet: geef wijzigingen een hoger versienummer.",
        )


def _verified(covenant: Covenant, faults: list[Fault]) -> Iterator[str]:
    """OINs whose note on exactly this text verifies. A note on another text does not count; a false one is a fault."""
    pinned = dict(signers(covenant))
    for file, raw in covenant.notes.items():
        path, oin = f"{SIGNATURES}/{file}", file.removesuffix(".note")
        if oin not in pinned:
            faults.append(Fault(path, 0, f"{oin} is geen deelnemer en niet de beheerder", "Verwijder dit bestand."))
            continue
        try:
            note = parse_note(raw)
        except MalformedError:
            faults.append(Fault(path, 0, "dit is geen ondertekende tekst", "Laat opnieuw tekenen."))
            continue
        if note.text != covenant.manifest:
            continue
        if verify_note(note, pinned[oin]):
            yield oin
        else:
            faults.append(
                Fault(path, 0, "de handtekening klopt niet", "Laat opnieuw tekenen met de sleutel van dit OIN.")
            )


def stale_notes(covenant: Covenant) -> list[str]:
    """Files in handtekeningen/ that sign another text than this version: signed earlier, or changed since."""
    stale = []
    for file, raw in covenant.notes.items():
        try:
            if parse_note(raw).text != covenant.manifest:
                stale.append(file)
        except MalformedError:
            stale.append(file)
    return stale


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one step, durable when this returns."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _one(covenant: Covenant, what: str, remedy: str) -> Fault:
    return Fault(f"convenant {covenant.id} versie {covenant.version}", 0, what, remedy)


def _fault(covenant: Covenant, what: str, remedy: str) -> CovenantFaults:
    return CovenantFaults([_one(covenant, what, remedy)])
