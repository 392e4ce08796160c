"""`bekend audit pakket`: what the AP or an auditor asks for, in one folder that is checked off line (FG-46, FG-47).

    INDEX              the SHA-256 of every other file; INDEX.note: the same, signed by who made it
    LEESMIJ.txt        what is in it, what is missing, how to check it
    convenant/         the covenant and its signatures
    manifesten/        key manifests of partners and broker, signed (*.note)
    logboeken/         exports of logs, with checkpoints and proofs; none with sealed records
    bulletins/         the partners' figures per quarter
    bewaarbesluiten/   signed notes about audits and claims
    uitslagen/         what came of audits by sample, signed by the auditor
    overeenkomsten/    arrangements of AVG 26 and 28, DPIA, registers: the partners' own papers
    rapport.html       the covenant to read, with register and DPIA annex
    openbaar.html      what residents read

Each kind of file is verified by the rules of its own, when the package is made and whenever it is checked.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from bekend_proto.clock import day_of
from bekend_proto.errors import BekendError, MalformedError
from bekend_proto.ledger.keys import Keys
from bekend_proto.ledger.verify import verify
from bekend_proto.note import parse_note, sign_note, verify_note

from bekend_policy.audited import open_audited
from bekend_policy.bulletin import Bulletin, join, read_bulletin
from bekend_policy.faults import YamlFaults
from bekend_policy.keys import SigningKey
from bekend_policy.load import load_covenant
from bekend_policy.log_keys import log_keys
from bekend_policy.manifest import KeyManifest, open_manifest, parse_manifest
from bekend_policy.model import Covenant
from bekend_policy.retention import open_kept, parse_kept
from bekend_policy.sign import verify_covenant

KIND: Final = "bekend/1 auditpakket"
INDEX: Final = "INDEX"
NOTE: Final = "INDEX.note"
README: Final = "LEESMIJ.txt"
COVENANT: Final = "convenant"
PARTS: Final = ("manifesten", "logboeken", "bulletins", "bewaarbesluiten", "uitslagen", "overeenkomsten")
PAPERS: Final = {
    "art-26": "de onderlinge regeling (AVG 26)",
    "art-28": "de verwerkersovereenkomst met de beheerder van de makelaar (AVG 28)",
    "dpia": "de DPIA (AVG 35)",
    "register": "het register van verwerkingen (AVG 30)",
}
"""How the file of a paper begins, and what it is."""
UNFILLED: Final = b"[INVULLEN"
"""Stands in a template wherever something must be filled in."""
_LINE = re.compile(r"([0-9a-f]{64})  ([^\x00-\x1f\\\x7f]+)")


@dataclass(frozen=True)
class Checked:
    """What a package shows. `faults`: what does not hold; `missing`: what is not there, or not filled in."""

    files: int
    faults: tuple[str, ...]
    missing: tuple[str, ...]


def make_package(
    out: Path,
    covenant: Path,
    parts: Mapping[str, Path],
    *,
    anchor: str,
    key_lines: Iterable[str] = (),
    signer: SigningKey | None,
    now: datetime,
) -> Checked:
    """Write a package to a new folder; `parts`: folders of files for PARTS. Nothing is written when a fault is found.

    Raises MalformedError for a folder that exists or cannot be copied, and the faults of a covenant.
    """
    if out.exists():
        raise MalformedError(f"{out} bestaat al: noem een nieuwe map")
    named = verify_covenant(load_covenant(covenant), anchor, now)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir(mode=0o755)
        for name, source in {COVENANT: covenant, **parts}.items():
            _copy(source, folder / name)
        _write_pages(folder, named, now)
        (folder / README).write_text("\n".join(_readme(named, _missing(folder), now)) + "\n", "utf-8", newline="\n")
        index = _index(folder, named, now)
        (folder / INDEX).write_text(index, "utf-8", newline="\n")
        if signer is not None:
            (folder / NOTE).write_bytes(sign_note(index, signer.name, signer.seed))
        found = check_package(folder, anchor=anchor, key_lines=key_lines, signer=signer.vkey if signer else None)
        if not found.faults:
            folder.rename(out)
    return found


def check_package(folder: Path, *, anchor: str, key_lines: Iterable[str] = (), signer: str | None = None) -> Checked:
    """Check a package from its files alone, at the moment at which it was made.

    `anchor`: key of an ondertekenaar whom the reader trusts. `key_lines`: keys of logs from before the manifests in it.
    `signer`: who must have signed the index. Raises MalformedError for a folder that is no package.
    """
    text, made, listed = _read_index(folder)
    faults = [*_of_files(folder, listed), *_of_signature(folder, text, signer)]
    # What the index does not vouch for is not opened.
    if not faults:
        faults = [*_of_content(folder, text, made, anchor, key_lines)]
    return Checked(len(listed), tuple(faults), tuple(_missing(folder)))


# --- making ------------------------------------------------------------------------------------------------------


def _copy(source: Path, target: Path) -> None:
    links = [path for path in source.rglob("*") if path.is_symlink()]
    if not source.is_dir() or links:
        raise MalformedError(f"{links[0] if links else source}: geef een map met gewone bestanden")
    shutil.copytree(source, target, copy_function=shutil.copyfile)


def _write_pages(folder: Path, covenant: Covenant, now: datetime) -> None:
    from bekend_policy.public import public_page  # noqa: PLC0415 - templates are for pages alone
    from bekend_policy.report import report_page  # noqa: PLC0415

    bulletins = [read_bulletin(path.read_bytes(), path.name) for path in _files(folder / "bulletins")]
    day = day_of(now)
    (folder / "rapport.html").write_text(report_page(covenant, day), "utf-8")
    (folder / "openbaar.html").write_text(public_page(covenant, day, join(bulletins) if bulletins else None), "utf-8")


def _index(folder: Path, covenant: Covenant, now: datetime) -> str:
    rows = [f"{_hash(path)}  {path.relative_to(folder).as_posix()}" for path in _files(folder)]
    head = [f"soort: {KIND}", f"convenant: {covenant.hash.hex()}", f"gemaakt: {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"]
    return "\n".join([*head, *rows]) + "\n"


def _readme(covenant: Covenant, missing: Iterable[str], now: datetime) -> Iterator[str]:
    yield f"Auditpakket: {covenant.name}, versie {covenant.version}"
    yield f"Gemaakt op {day_of(now):%d-%m-%Y}."
    yield ""
    yield "Wat waar staat: convenant, manifesten (sleutels), logboeken, bulletins (cijfers), bewaarbesluiten,"
    yield "uitslagen (van audits), overeenkomsten, rapport.html (met register en DPIA-bijlage), openbaar.html."
    yield ""
    yield "Nagaan, zonder netwerk, met een sleutel die u al vertrouwt:"
    yield "    bekend audit pakket DEZE_MAP --toets --anker ondertekenaar.vkey"
    yield ""
    yield from [f"Ontbreekt: {one}" for one in missing] or [
        "Er ontbreekt niets van wat een toezichthouder meestal vraagt."
    ]
    yield ""
    yield "De software gaat na of bestanden echt zijn en bij elkaar horen. Of een grond deugt, zegt een jurist."


def _missing(folder: Path) -> Iterator[str]:
    for name in PARTS[:-1]:
        if not _files(folder / name):
            yield f"bestanden in {name}/"
    papers = _files(folder / "overeenkomsten")
    for start, what in PAPERS.items():
        if not any(path.name.startswith(start) for path in papers):
            yield f"{what}: een bestand in overeenkomsten/ dat begint met '{start}'"
    for path in papers:
        if UNFILLED in path.read_bytes():
            yield f"overeenkomsten/{path.relative_to(folder / 'overeenkomsten')} is nog niet helemaal ingevuld"


# --- checking ----------------------------------------------------------------------------------------------------


def _read_index(folder: Path) -> tuple[str, datetime, dict[str, str]]:
    try:
        text = (folder / INDEX).read_bytes().decode("utf-8")
        kind, covenant, made, *rows = text.splitlines()
        moment = datetime.strptime(made, "gemaakt: %Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (OSError, ValueError):
        raise MalformedError(f"{folder} is geen auditpakket: er hoort een bestand INDEX in te staan") from None
    found = [_LINE.fullmatch(row) for row in rows]
    listed = {row[2]: row[1] for row in found if row is not None}
    good = kind == f"soort: {KIND}" and re.fullmatch("convenant: [0-9a-f]{64}", covenant)
    if not good or len(listed) != len(rows) or any(not _inside(name) for name in listed):
        raise MalformedError(f"{folder}/INDEX heeft een regel die er niet hoort")
    return text, moment, listed


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _of_files(folder: Path, listed: Mapping[str, str]) -> Iterator[str]:
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(listed.keys() - present.keys()):
        yield f"{name} ontbreekt"
    for name, path in sorted(present.items()):
        if path.is_symlink() or not path.is_file():
            yield f"{name} is geen gewoon bestand"
        elif name in {INDEX, NOTE}:
            continue
        elif name not in listed:
            yield f"{name} staat niet in INDEX"
        elif _hash(path) != listed[name]:
            yield f"{name} is veranderd"


def _of_signature(folder: Path, text: str, signer: str | None) -> Iterator[str]:
    path = folder / NOTE
    if not path.is_file():
        if signer is not None:
            yield "INDEX is niet ondertekend"
        return
    try:
        note = parse_note(path.read_bytes())
        if note.text != text:
            yield "INDEX.note hoort bij een andere INDEX"
        elif signer is not None and not verify_note(note, signer):
            yield f"INDEX mist de handtekening van {signer.partition('+')[0]}"
    except BekendError as fault:
        yield f"INDEX.note: {fault.detail}"


def _of_content(folder: Path, text: str, made: datetime, anchor: str, key_lines: Iterable[str]) -> Iterator[str]:
    try:
        covenant = verify_covenant(load_covenant(folder / COVENANT), anchor, made)
    except (BekendError, YamlFaults) as fault:
        yield f"convenant: {fault}"
        return
    if f"convenant: {covenant.hash.hex()}" not in text.splitlines()[1:2]:
        yield "INDEX noemt een ander convenant"
    manifests: list[KeyManifest] = []
    yield from _each(folder / "manifesten", lambda it: manifests.append(_manifest(it.read_bytes(), covenant, made)))
    lines = [line for it in manifests for line in log_keys(it, is_broker=it.oin == covenant.broker_oin)]
    keys = Keys.parse([*lines, *key_lines])
    bulletins: list[Bulletin] = []
    checks: dict[str, Callable[[Path], object]] = {
        "logboeken": lambda it: _export(it, keys),
        "bulletins": lambda it: bulletins.append(_bulletin(it, covenant)),
        "bewaarbesluiten": lambda it: _kept(it.read_bytes(), covenant, made),
        "uitslagen": lambda it: open_audited(it.read_bytes(), covenant),
    }
    for name, check in checks.items():
        yield from _each(folder / name, check)
    if bulletins:
        yield from _each(folder / "bulletins", lambda _: join(bulletins), only=1)


def _each(folder: Path, check: Callable[[Path], object], only: int | None = None) -> Iterator[str]:
    for path in _files(folder)[:only]:
        try:
            check(path)
        except (BekendError, YamlFaults) as fault:
            yield f"{folder.name}/{path.relative_to(folder)}: {fault}"


def _manifest(note: bytes, covenant: Covenant, made: datetime) -> KeyManifest:
    oin = parse_manifest(parse_note(note).text).oin
    signers = {one.oin: one.signer for one in covenant.participants.values()} | {
        covenant.broker_oin: covenant.operator_key
    }
    if oin not in signers:
        raise MalformedError(f"{oin} staat niet in het convenant")
    return open_manifest(note, signers[oin], made)


def _export(path: Path, keys: Keys) -> None:
    looked = verify(path.name, path.read_bytes(), keys)
    if looked.findings:
        raise MalformedError(
            "dit logboek klopt niet of mist een sleutel. Leg in manifesten/ het sleuteloverzicht van elke partner. "
            f"Sleutels van toen geeft u met --keys. Gevonden: {'; '.join(map(str, looked.findings))}"
        )
    if looked.export is not None and looked.export.records:
        raise MalformedError("hierin staan verzegelde vastleggingen: die gaan alleen naar de auditor (bekend audit)")


def _bulletin(path: Path, covenant: Covenant) -> Bulletin:
    found = read_bulletin(path.read_bytes(), path.name)
    if found.covenant != covenant.id or found.oin not in covenant.participants:
        raise MalformedError("dit bulletin is van een ander convenant, of van wie geen deelnemer is")
    return found


def _kept(note: bytes, covenant: Covenant, made: datetime) -> None:
    by = parse_kept(parse_note(note).text).by
    keys = {one.oin: one.keys for one in covenant.participants.values()} | {
        covenant.broker_oin: (covenant.operator_key,)
    }
    if by not in keys:
        raise MalformedError(f"{by} staat niet in het convenant")
    open_kept(note, by, keys[by], day_of(made))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
