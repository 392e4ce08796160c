"""From a folder to a Covenant, or all faults at once.

    afspraken.yaml          what holds for everyone
    deelnemers/*.yaml       one partner each
    doelen/*.yaml           one purpose each
    toetsen/*.yaml          tables of expected decisions; signed along, not read here
    LEESMIJ.md              may be there; signed along
    handtekeningen/*.note   one signed note per signer (see sign.py)

Nothing else may be in the folder: what is signed and what is read are the same files.
"""

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from bekend_proto.errors import MalformedError
from bekend_proto.note import Note, parse_note

from bekend_policy.check import check_covenant
from bekend_policy.faults import CovenantFaults, Fault
from bekend_policy.model import KEYS, ROLE, RULES, Covenant
from bekend_policy.scalars import is_oin
from bekend_policy.strict_yaml import Document, StrictModel, parse_yaml, validate
from bekend_policy.terms import Agreement, Participant, Purpose

AGREEMENT = "afspraken.yaml"
SIGNATURES = "handtekeningen"
_FOLDERS = {"deelnemers": ".yaml", "doelen": ".yaml", "toetsen": ".yaml"}
_LOOSE = {AGREEMENT, "LEESMIJ.md"}
_MAX_FILES = 2000

Terms = TypeVar("Terms", bound=StrictModel)


@dataclass
class Loaded:
    """What was read, with the documents, so that a fault found later still has its line."""

    participants: dict[str, Participant] = field(default_factory=dict)
    """By path in the folder."""
    purposes: dict[str, Purpose] = field(default_factory=dict)
    """By path in the folder."""
    documents: dict[str, Document] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def load_covenant(folder: Path) -> Covenant:
    """The covenant in this folder, its signatures not yet verified (see `sign.verify_covenant`).

    Raises CovenantFaults with every fault, in Dutch, each with file, line and remedy.
    """
    loaded = Loaded()
    files = _files(folder, loaded)
    agreement = _parse(files, AGREEMENT, Agreement, loaded) if AGREEMENT in files else None
    for path in files:
        if path.startswith("deelnemers/") and (participant := _parse(files, path, Participant, loaded)):
            loaded.participants[path] = participant
        if path.startswith("doelen/") and (purpose := _parse(files, path, Purpose, loaded)):
            loaded.purposes[path] = purpose
    check_covenant(agreement, loaded.participants, loaded.purposes, loaded.documents, loaded.faults)
    if loaded.faults or agreement is None:
        raise CovenantFaults(sorted(set(loaded.faults)))
    manifest = manifest_text(agreement, loaded, files)
    return Covenant(
        agreement=agreement,
        participants={one.oin: one for one in sorted(loaded.participants.values(), key=lambda one: one.name)},
        purposes={purpose.id: purpose for purpose in loaded.purposes.values()},
        manifest=manifest,
        hash=hashlib.sha256(manifest.encode()).digest(),
        paths={one.oin: path for path, one in loaded.participants.items()}
        | {purpose.id: path for path, purpose in loaded.purposes.items()},
        notes=_notes(folder, manifest),
    )


def manifest_text(agreement: Agreement, loaded: Loaded, files: dict[str, bytes]) -> str:
    """The text that is signed: name, version and dates, then `sha256  path` per file, sorted by path.

    Below stand three kinds of lines on parts of files, so that a signature can go on counting for what it covered
    when another part changes: `afspraken.yaml#regels`, and per partner `#rol` (who it is) and `#sleutels` (its keys).
    A part is hashed as JSON of what was read, keys sorted; a key that the file leaves out is left out here too, so that
    a program that knows more keys finds the same text. For the same reason the default of a key never changes.
    """
    parts = {RULES: _part(agreement, exclude=set(_NOT_RULES))}
    for path, one in loaded.participants.items():
        parts[path + ROLE] = _part(one, include={"oin", "name", "kind", "parent", "region", "houses"})
        parts[path + KEYS] = _keys_part(one)
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in {**files, **parts}.items()}
    header = f"bekend/1 convenant {agreement.id} versie {agreement.version}\n"
    dates = f"geldig van {agreement.first_day} tot en met {agreement.last_day}\n"
    return header + dates + "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes))


# What a new version may change without asking anybody to sign again; a later end is no such thing.
_NOT_RULES = ("version", "first_day", "signatures_from")


def key_hash(participant: Participant) -> str:
    """What the manifest's `#sleutels` line says of these keys."""
    return hashlib.sha256(_keys_part(participant)).hexdigest()


def _keys_part(participant: Participant) -> bytes:
    return _part(participant, include={"signer", "lawyer"})


def _part(terms: StrictModel, *, include: set[str] | None = None, exclude: set[str] | None = None) -> bytes:
    content = terms.model_dump(by_alias=True, include=include, exclude=exclude, exclude_unset=True, exclude_none=True)
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def _parse(files: dict[str, bytes], path: str, model: type[Terms], loaded: Loaded) -> Terms | None:
    document = parse_yaml(files[path], language="nl", name=path)
    loaded.documents[path] = document
    terms = validate(document, model)
    loaded.faults.extend(document.faults)
    return terms


def _files(folder: Path, loaded: Loaded) -> dict[str, bytes]:
    """Path -> the exact bytes, each file read once, outside handtekeningen/; what does not belong is a fault."""
    files: dict[str, bytes] = {}
    if not folder.is_dir():
        loaded.faults.append(Fault(str(folder), 0, "de map bestaat niet", "Geef de map met afspraken.yaml."))
        return files
    if not (folder / AGREEMENT).is_file():
        # Some other folder, most often one inside the covenant: of none of its files we say that it does not belong.
        remedy = f"Noem de map van het convenant: daarin staat {AGREEMENT}."
        loaded.faults.append(Fault(str(folder), 0, f"hier staat geen {AGREEMENT}", remedy))
        return files
    entries = sorted(folder.rglob("*"))
    if len(entries) > _MAX_FILES:
        what = f"de map bevat meer dan {_MAX_FILES} bestanden"
        loaded.faults.append(Fault(str(folder), 0, what, "Verwijder wat er niet hoort."))
        return files
    for entry in entries:
        path = entry.relative_to(folder).as_posix()
        if entry.is_symlink() or not _belongs(path, entry.is_dir()):
            loaded.faults.append(
                Fault(
                    path,
                    0,
                    "dit hoort niet in een convenant",
                    "Verwijder het: wat niet gelezen wordt, wordt niet getekend.",
                )
            )
        elif entry.is_file() and not path.startswith(f"{SIGNATURES}/"):
            files[path] = entry.read_bytes()
    return files


def _notes(folder: Path, manifest: str) -> dict[str, Note | None]:
    return {entry.name: _note(entry.read_bytes(), manifest) for entry in sorted((folder / SIGNATURES).glob("*.note"))}


def _note(raw: bytes, manifest: str) -> Note | None:
    """A note over the present manifest holds that very text: of 400 signers nobody keeps 400 copies of it."""
    try:
        note = parse_note(raw)
    except MalformedError:
        return None
    return replace(note, text=manifest) if note.text == manifest else note


def _belongs(path: str, is_folder: bool) -> bool:
    folder, _, name = path.partition("/")
    if is_folder:
        return not name and folder in {*_FOLDERS, SIGNATURES}
    if not name:
        return path in _LOOSE
    if folder == SIGNATURES:
        return name.endswith(".note") and is_oin(name.removesuffix(".note"))
    return "/" not in name and folder in _FOLDERS and name.endswith(_FOLDERS[folder]) and not name.startswith(".")
