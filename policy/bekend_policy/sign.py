"""Signatures on a covenant: what is signed, by whom, and whether it holds.

Signed is the covenant's manifest (see `load.manifest_text`): name, version, dates, and the hash of every file outside
handtekeningen/. Its SHA-256 is the covenant hash. Each party has one signed note, `handtekeningen/<oin>.note`: a
partner's with the line of its ondertekenaar and, where the covenant names one, of its jurist (FG-05); the operator's
with that of its beheerder.

A node is given one key by hand: that of its own ondertekenaar (the anchor). A covenant that this key signed pins the
keys of everybody else (protocol section 4).

**Signatures on an earlier version.** A note may hold the manifest of an earlier version. It goes on counting for what
is the same in this one, purpose by purpose and partner by partner (`Covenant.covers`), as long as the earlier version
would have been in force. Who signed only before has not agreed to new keys of others: such a key counts for it only
if the key that it replaces also signed this version.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import MalformedError
from bekend_proto.note import Note, add_signature, parse_note, sign_note, verify_note

from bekend_policy.faults import CovenantFaults, Fault
from bekend_policy.keys import SigningKey
from bekend_policy.load import SIGNATURES, key_hash, load_covenant
from bekend_policy.model import KEYS, RULES, Covenant, Participant


def sign_covenant(folder: Path, key: SigningKey) -> Path:
    """Sign the covenant in this folder as one of its signers; returns the note's path.

    A line is added to a note on this same text; a note on another text is replaced. Raises CovenantFaults if the
    covenant has any fault, or if the key is not that of one of its signers.
    """
    return add_line(folder, load_covenant(folder), key)


def add_line(folder: Path, covenant: Covenant, key: SigningKey) -> Path:
    """`sign_covenant`, for who has just loaded the covenant."""
    oin = next((oin for oin, vkeys in signers(covenant).items() if key.vkey in vkeys), None)
    if oin is None:
        raise _fault(
            covenant,
            f"de sleutel '{key.name}' hoort bij geen deelnemer en niet bij de beheerder",
            "Neem de openbare sleutel eerst op in deelnemers/ of afspraken.yaml.",
        )
    path = folder / SIGNATURES / f"{oin}.note"
    path.parent.mkdir(exist_ok=True)
    present = path.read_bytes() if path.exists() else None
    if present is not None and _text_of(present) == covenant.manifest:
        write_atomic(path, add_signature(present, key.name, key.seed))
    else:
        write_atomic(path, sign_note(covenant.manifest, key.name, key.seed))
    return path


def verify_covenant(covenant: Covenant, anchor_vkey: str, now: datetime, *, newest_seen: int = 0) -> Covenant:
    """The covenant with its signatures filled in, or CovenantFaults with every reason why it does not hold.

    `anchor_vkey` is the verifier's own ondertekenaar (a node) or beheerder (the broker); it must be pinned in the
    covenant, and its owner must have signed this version, or an earlier one whose general rules are the same.
    `newest_seen` is the highest version that the verifier ever accepted.
    """
    faults = list(_dates_and_version(covenant, now, newest_seen))
    found = _signatures(covenant, faults, now)
    _own_and_operator(covenant, anchor_vkey, found, faults)
    trusted = _trusted(covenant, owner_of(covenant, anchor_vkey), found)
    participants = found.full & trusted
    earlier = {oin: lines for oin, lines in found.earlier.items() if RULES in lines and oin in trusted - participants}
    if len(participants) + len(earlier) < covenant.agreement.quorum:
        count = len(participants) + len(earlier)
        faults.append(
            _one(
                covenant,
                f"{count} van de vereiste {covenant.agreement.quorum} deelnemers hebben getekend (quorum)",
                "Vraag de andere ondertekenaars om te tekenen.",
            )
        )
    if faults:
        raise CovenantFaults(faults)
    return replace(covenant, signed_by=frozenset(participants), signed_before=earlier)


def signers(covenant: Covenant) -> dict[str, tuple[str, ...]]:
    """OIN -> keys that may put a line: of each participant (also the keys that its keys replace), and the operator."""
    keys = {one.oin: (*one.keys, *one.former_keys) for one in covenant.participants.values()}
    return {**keys, covenant.broker_oin: (covenant.operator_key,)}


def owner_of(covenant: Covenant, vkey: str) -> str | None:
    """The participant whose ondertekenaar has this key."""
    return next((one.oin for one in covenant.participants.values() if one.signer == vkey), None)


# --- what the notes show ---------------------------------------------------------------------------------------


@dataclass
class _Found:
    """Who signed what, verified."""

    full: set[str]
    """OINs that signed this version with every key that they need."""
    earlier: dict[str, frozenset[str]]
    """OIN -> paths whose lines in this manifest are the same in the earlier one that it signed."""
    renewed: dict[str, frozenset[str]]
    """OIN -> hashes of the `#sleutels` lines that its former keys, which signed this version too, stood in."""


def _signatures(covenant: Covenant, faults: list[Fault], now: datetime) -> _Found:
    """Read every note. One on no version of this covenant does not count; a false line is a fault."""
    found = _Found(set(), {}, {})
    lines, known = _lines(covenant.manifest), signers(covenant).keys()
    for file, note in covenant.notes.items():
        path, oin = f"{SIGNATURES}/{file}", file.removesuffix(".note")
        if oin not in known:
            faults.append(Fault(path, 0, f"{oin} is geen deelnemer en niet de beheerder", "Verwijder dit bestand."))
            continue
        if note is None:
            faults.append(Fault(path, 0, "dit is geen ondertekende tekst", "Laat opnieuw tekenen."))
            continue
        if note.text == covenant.manifest:
            if not _count(covenant, oin, note, found):
                remedy = "Laat opnieuw tekenen met de sleutel van dit OIN."
                faults.append(Fault(path, 0, "de handtekening klopt niet", remedy))
        elif _counts_still(covenant, oin, note, now):
            found.earlier[oin] = frozenset(line.partition("  ")[2] for line in lines & _lines(note.text))
    return found


def _count(covenant: Covenant, oin: str, note: Note, found: _Found) -> bool:
    """Count the lines under this version; False when one is false, or none is of this OIN."""
    participant = covenant.participants.get(oin)
    needed = participant.keys if participant is not None else (covenant.operator_key,)
    former = participant.former_keys if participant is not None else ()
    valid = {vkey for vkey in (*needed, *former) if verify_note(note, vkey)}
    if not valid or any(_is_false(note, vkey) for vkey in {*needed, *former} - valid):
        return False
    if valid.issuperset(needed):
        found.full.add(oin)
        if participant is not None:
            found.renewed[oin] = frozenset(_former_hashes(participant, valid.intersection(former)))
    return True


def _is_false(note: Note, vkey: str) -> bool:
    name, key_id = vkey.split("+")[:2]
    claims = any((line.name, line.key_id.hex()) == (name, key_id) for line in note.signatures)
    return claims and not verify_note(note, vkey)


def _former_hashes(participant: Participant, former: set[str]) -> Iterator[str]:
    """What the `#sleutels` line may have said before: one former key or both in the place of these."""
    signers_before = [vkey for vkey in former if vkey.split("+")[0] == participant.signer.split("+")[0]]
    lawyers_before = former.difference(signers_before)
    for signer in (participant.signer, *signers_before):
        for lawyer in (participant.lawyer, *lawyers_before, None):
            yield key_hash(participant.model_copy(update={"signer": signer, "lawyer": lawyer}))


_HEADER = re.compile(r"bekend/1 convenant (\S+) versie ([0-9]{1,9})")
_DATES = re.compile(r"geldig van (\d{4}-\d{2}-\d{2}) tot en met (\d{4}-\d{2}-\d{2})")


def _counts_still(covenant: Covenant, oin: str, note: Note, now: datetime) -> bool:
    """Whether a partner signed, with its present keys, an earlier version that may count and is in force by its dates.

    Where it added a jurist since, what it signed without one counts no more.
    """
    participant = covenant.participants.get(oin)
    if participant is None or not all(verify_note(note, vkey) for vkey in participant.keys):
        return False
    first, _, rest = note.text.partition("\n")
    header, dates = _HEADER.fullmatch(first), _DATES.fullmatch(rest.partition("\n")[0])
    if header is None or dates is None or header[1] != covenant.id:
        return False
    oldest = covenant.agreement.signatures_from or covenant.version - 1
    today = now.astimezone(AMSTERDAM).date()
    try:
        in_force = date.fromisoformat(dates[1]) <= today <= date.fromisoformat(dates[2])
    except ValueError:
        return False  # no covenant has such a day: whoever signs it keeps nobody from reading the others' notes
    return oldest <= int(header[2]) < covenant.version and in_force


def _lines(manifest: str) -> set[str]:
    return set(manifest.splitlines()[2:])


def _trusted(covenant: Covenant, own: str | None, found: _Found) -> set[str]:
    """Whose keys the verifier goes by: of all, where it signed this version or is the operator.

    Where it signed nothing that counts, that fault is told by itself (`_own_and_operator`).
    """
    if own is None or own in found.full or own not in found.earlier:
        return set(covenant.participants)
    return {oin for oin in covenant.participants if oin == own or _keys_hold(covenant, own, oin, found)}


def _keys_hold(covenant: Covenant, own: str, other: str, found: _Found) -> bool:
    """Whether who signed only an earlier version may go by the key that this one pins for another.

    The key stood in what it signed; or a key that stood there, and that this one replaces, signed this version too.
    """
    line = f"{covenant.paths[other]}{KEYS}"
    if line in found.earlier[own]:
        return True
    old = _signed_hash(covenant, own, line)
    return old is not None and old in found.renewed.get(other, frozenset())


def _signed_hash(covenant: Covenant, own: str, path: str) -> str | None:
    note = covenant.notes[f"{own}.note"]
    assert note is not None  # it signed an earlier version
    return next((line.partition("  ")[0] for line in note.text.splitlines() if line.endswith(f"  {path}")), None)


# --- whether it holds ------------------------------------------------------------------------------------------


def _own_and_operator(covenant: Covenant, anchor_vkey: str, found: _Found, faults: list[Fault]) -> None:
    own = owner_of(covenant, anchor_vkey)
    if own is None and anchor_vkey != covenant.operator_key:
        remedy = "Vergelijk hem met deelnemers/ of beheerder."
        faults.append(_one(covenant, "de eigen sleutel staat niet in het convenant", remedy))
    remedy = "Teken met 'bekend policy sign', of wacht daarop."
    if own is not None and own not in found.full and RULES not in found.earlier.get(own, frozenset()):
        faults.append(_one(covenant, f"de eigen {_who(covenant, own)} deze versie niet getekend", remedy))
    if covenant.broker_oin not in found.full:
        faults.append(_one(covenant, "de beheerder heeft deze versie niet getekend", remedy))


def _who(covenant: Covenant, own: str) -> str:
    return "ondertekenaar heeft" if covenant.participants[own].lawyer is None else "ondertekenaar en jurist hebben"


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


def stale_notes(covenant: Covenant) -> list[str]:
    """Files in handtekeningen/ that sign another text than this version: signed earlier, or changed since."""
    return [file for file, note in covenant.notes.items() if note is None or note.text != covenant.manifest]


def _text_of(raw: bytes) -> str | None:
    try:
        return parse_note(raw).text
    except MalformedError:
        return None


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one step, durable when this returns. Raises OSError, which names it; then it is as it was."""
    part = path.with_name(f".{path.name}.part")
    try:
        # A new file: where others may write too, one of its name may be a link that leads elsewhere.
        part.unlink(missing_ok=True)
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as fault:
        part.unlink(missing_ok=True)
        raise OSError(fault.errno, fault.strerror, str(path)) from fault


def _one(covenant: Covenant, what: str, remedy: str) -> Fault:
    return Fault(f"convenant {covenant.id} versie {covenant.version}", 0, what, remedy)


def _fault(covenant: Covenant, what: str, remedy: str) -> CovenantFaults:
    return CovenantFaults([_one(covenant, what, remedy)])
