"""`bekend audit`: one Question in twenty shown to the auditor, who makes every octet again. Off line; in Dutch."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_policy.audited import AUDITOR, oin_of
from bekend_policy.load import load_covenant
from bekend_policy.log_use import Days
from bekend_policy.model import Covenant
from bekend_policy.officer_key import OfficerKey, open_officer_key, write_officer_key
from bekend_policy.sign import verify_covenant
from bekend_proto.clock import SystemClock
from bekend_proto.errors import KeysError
from bekend_proto.note import note_name, sign_note, vkey_of

from bekend_node.audit.basis import Given, load_basis, newest_cosigned, read_keys, verified_export
from bekend_node.audit.opening import open_sealed, read_opening, seal_opening, unwrap
from bekend_node.audit.package_cli import package
from bekend_node.audit.showing import Case, show
from bekend_node.audit.testing import Judged, Report, judge
from bekend_node.records.files import read_file, write_together
from bekend_node.records.terminal import (
    NOT_GOOD,
    AsJson,
    PassphraseFile,
    anchor_of,
    bars,
    faults,
    officer_keys,
    passphrase,
    say,
)

EPILOG = """
**Voorbeelden**

    bekend audit sleutel auditor.key --oin 00000099000000008000         auditor, eenmalig

    bekend audit trekking makelaar.export punt.note --keys keys.txt --tot-en-met 2026-11-22     auditor

    bekend audit steekproef opening.json --van 2026-11-16 --tot-en-met 2026-11-22 --logboek makelaar.export
        --controlepunt punt.note --keys keys.txt --export export.db --sleutel po.key
        --convenant convenant --anker ondertekenaar.vkey                privacyfunctionaris

    bekend audit toets opening.json --van 2026-11-16 --tot-en-met 2026-11-22 --logboek exports
        --controlepunt punt.note --keys keys.txt --sleutel auditor.key
        --convenant convenant --anker ondertekenaar.vkey --uitslag uitslag.note     auditor

    bekend audit pakket pakket-2026 --uit dossier --anker ondertekenaar.vkey        voor een toezichthouder

**Uitgangscodes**

    0   gedaan; bij toets: alles wat is getrokken, klopt

    1   een fout: bestand, sleutel, logboek, controlepunt; de tekst zegt welke en wat te doen

    2   verkeerd gebruik van het commando

    3   steekproef: van een getrokken vraag is geen vastlegging; toets: een inbreuk, of een vraag is niet getoetst;
        pakket: een bestand klopt niet
"""

app = typer.Typer(
    name="audit",
    help="De audit met een steekproef: voor de privacyfunctionaris en de auditor. Zonder netwerk.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("pakket")(package)
_FORMATS: Final = ["%Y-%m-%d"]

First = Annotated[datetime, typer.Option("--van", formats=_FORMATS, help="Eerste dag.")]
Last = Annotated[datetime, typer.Option("--tot-en-met", formats=_FORMATS, help="Laatste dag.")]
Logs = Annotated[
    list[Path],
    typer.Option("--logboek", help="Export van een logboek, of een map met niets anders. Van elke makelaar; vaker."),
]
Checkpoints = Annotated[
    list[Path],
    typer.Option("--controlepunt", help="Het controlepunt dat de auditor nam; een per logboek van de makelaar."),
]
KeyList = Annotated[Path, typer.Option("--keys", help="Openbare sleutels, zoals 'bekend log keys' ze schrijft.")]
Absent = Annotated[
    list[str] | None,
    typer.Option("--zonder", metavar="OIN", help="Node die volgens de auditor niet hoeft mee te tekenen."),
]
CovenantFolder = Annotated[Path, typer.Option("--convenant", help="Map van het convenant.")]
Anchor = Annotated[str, typer.Option("--anker", help="Openbare sleutel van een ondertekenaar, of een bestand ermee.")]


@app.command()
def sleutel(
    file: Annotated[Path, typer.Argument(metavar="BESTAND", help="Nieuw bestand voor de sleutel.")],
    oin: Annotated[str, typer.Option("--oin", help="OIN van de auditor, 20 tekens.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Maak de sleutel van de auditor, en de twee regels voor afspraken.yaml. De auditor is geen deelnemer."""
    with faults(as_json):
        key = OfficerKey.generate(oin)
        write_officer_key(file, key, AUDITOR, passphrase(passphrase_file, "Wachtwoord van de auditor", new=True))
        vkey = vkey_of(note_name(oin, AUDITOR), key.signing_public)
        say(
            as_json,
            {"file": str(file), "auditor_sleutel": key.opening_public.hex(), "auditor_ondertekent": vkey},
            f"Sleutel: {file}. Bewaar hem buiten het netwerk. Deze regels horen in afspraken.yaml:",
            f'auditor_sleutel: "{key.opening_public.hex()}"',
            f'auditor_ondertekent: "{vkey}"',
        )


@app.command()
def trekking(  # noqa: PLR0917 - options have names on the command line
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="Export van het logboek van een makelaar.")],
    out: Annotated[Path, typer.Argument(metavar="BESTAND", help="Nieuw bestand voor het controlepunt.")],
    keys: KeyList,
    last: Last,
    absent: Absent = None,
    as_json: AsJson = False,
) -> None:
    """Neem het controlepunt waarmee wordt getrokken: het nieuwste van na de periode dat alle nodes meetekenden.

    Doe dit één keer per periode, op een moment dat u niet aankondigt, en geef hetzelfde bestand aan iedereen.
    """
    with faults(as_json):
        known = read_keys(keys)
        until = Days(last.date(), last.date()).span[1]
        note = newest_cosigned(verified_export(export, known), known, until, absent or ())
        write_together({out: note})
        say(as_json, {"checkpoint": str(out), "absent": absent or []}, f"Controlepunt: {out}. Geef dit aan iedereen.")


@app.command()
def steekproef(  # noqa: PLR0917 - options have names on the command line
    out: Annotated[Path, typer.Argument(metavar="BESTAND", help="Nieuw bestand voor de auditor.")],
    first: First,
    last: Last,
    logs: Logs,
    checkpoints: Checkpoints,
    keys: KeyList,
    exported: Annotated[Path, typer.Option("--export", help="Export van uw node (bekend inzage export).")],
    key_files: Annotated[list[Path], typer.Option("--sleutel", help="Uw sleutelbestand; oudere daarna genoemd.")],
    folder: CovenantFolder,
    anchor: Anchor,
    passphrase_files: Annotated[
        list[Path] | None, typer.Option("--wachtwoordbestand", help="Een per sleutel, in dezelfde volgorde.")
    ] = None,
    auditor_passphrase: Annotated[
        Path | None,
        typer.Option("--wachtwoord-auditor", help="Alleen als het convenant geen sleutel van de auditor noemt."),
    ] = None,
    absent: Absent = None,
    as_json: AsJson = False,
) -> None:
    """Open wat is getrokken van uw organisatie, en verzegel het voor de auditor.

    In het bestand staan nummers van personen. Alleen de auditor kan het openen.
    """
    with faults(as_json):
        covenant = _covenant(folder, anchor)
        officers = officer_keys(key_files, passphrase_files or [])
        given = Given(logs, checkpoints, keys, Days(first.date(), last.date()), absent or ())
        with bars(_STAGES) as stage:
            basis = load_basis(given, covenant.broker_oin)
            shown = show(exported, [one.opening for one in officers], officers[0].oin, basis, stage("eigen"))
        to = covenant.agreement.auditor_key
        secret = "" if to else passphrase(auditor_passphrase, "Wachtwoord voor de auditor", new=True)
        name = covenant.agreement.auditor or "de auditor (het convenant noemt er geen)"
        write_together({out: seal_opening(shown.opening, officers[0], auditor=name, to=to, passphrase=secret)})
        facts = {
            "opening": str(out),
            "drawn": shown.drawn,
            "shown": shown.drawn - len(shown.missing),
            "missing": list(shown.missing),
            "cases": [_case(one) for one in shown.cases],
            "auditor": name,
        }
        say(
            as_json,
            facts,
            f"Opening: {out}. Geef dit bestand aan: {name}.",
            f"Van uw organisatie zijn {shown.drawn} vragen getrokken; {facts['shown']} staan in het bestand.",
            *_case_lines(shown.cases),
            *(f"GEEN VASTLEGGING van vraag {one[:16]}…: dit is een inbreuk. Bespreek het met uw FG."
              for one in shown.missing),
        )  # fmt: skip
    raise typer.Exit(NOT_GOOD if shown.missing else 0)


@app.command()
def toets(  # noqa: PLR0917 - options have names on the command line
    file: Annotated[Path, typer.Argument(metavar="OPENING", help="Het bestand van de privacyfunctionaris.")],
    first: First,
    last: Last,
    logs: Logs,
    checkpoints: Checkpoints,
    keys: KeyList,
    folder: CovenantFolder,
    anchor: Anchor,
    key_file: Annotated[Path | None, typer.Option("--sleutel", help="Sleutelbestand van de auditor.")] = None,
    passphrase_file: PassphraseFile = None,
    opening_passphrase: Annotated[
        Path | None, typer.Option("--wachtwoord-opening", help="Als de opening onder een wachtwoord is verzegeld.")
    ] = None,
    manifests: Annotated[
        list[Path] | None, typer.Option("--overzicht", help="Ouder sleuteloverzicht van een bron, ondertekend.")
    ] = None,
    result: Annotated[
        Path | None, typer.Option("--uitslag", help="Nieuw bestand voor de ondertekende uitslag.")
    ] = None,
    absent: Absent = None,
    as_json: AsJson = False,
) -> None:
    """Maak alles wat is getrokken opnieuw, en vergelijk het met de logboeken en met wat de bronnen bewaren.

    Geef bij `--logboek` de exports van elke makelaar, en van de bronnen, gemaakt met `--records`.
    """
    with faults(as_json):
        covenant = _covenant(folder, anchor)
        auditor = _auditor(key_file, passphrase_file, covenant, result)
        given = Given(logs, checkpoints, keys, Days(first.date(), last.date()), absent or ())
        sealed = read_opening(read_file(file, whole=True))
        if sealed.wrapped is not None:
            opener = unwrap(sealed, passphrase(opening_passphrase, "Wachtwoord van de opening"))
        elif auditor is not None:
            opener = auditor.opening
        else:
            raise KeysError("geef uw sleutel met --sleutel: de opening is voor de auditor verzegeld")
        signature, payload, opening = open_sealed(sealed, opener)
        with bars(_STAGES) as stage:
            basis = load_basis(given, covenant.broker_oin)
            report = judge(
                opening, (signature, payload), basis, covenant, SystemClock().now(),
                manifests=[read_file(one) for one in manifests or ()], progress=stage("toets"),
            )  # fmt: skip
        if result is not None and auditor is not None:
            name = note_name(auditor.oin, AUDITOR)
            write_together({result: sign_note(report.audited.text(), name, bytes(auditor.signing))})
        say(as_json, _facts(report, result), *_lines(report, covenant, result))
    raise typer.Exit(0 if report.audited.is_good else NOT_GOOD)


def _facts(report: Report, result: Path | None) -> dict[str, Any]:
    one = report.audited
    return {
        "good": one.is_good,
        "requester": one.by,
        "from": one.first.isoformat(),
        "until": one.last.isoformat(),
        "questions": one.questions,
        "drawn": one.drawn,
        "tested": one.tested,
        "unanswered": one.unanswered,
        "breaches": [_judged(it) for it in report.breaches],
        "untested": [_judged(it) for it in report.untested],
        "cases": [_case(it) for it in report.cases],
        "result": str(result) if result else None,
    }


def _judged(one: Judged) -> dict[str, str]:
    return {
        "question": one.question,
        "requester": one.requester,
        "source": one.source,
        "what": one.what.name.lower(),
    }


def _case(one: Case) -> dict[str, str | None]:
    return {
        "question": one.question,
        "time": one.time,
        "source": one.source,
        "purpose": one.purpose,
        "case": one.case,
        "officer": one.officer,
    }


def _lines(report: Report, covenant: Covenant, result: Path | None) -> Iterator[str]:
    one = report.audited
    yield f"{covenant.participants[one.by].name}: {one.first:%d-%m-%Y} tot en met {one.last:%d-%m-%Y}"
    yield f"{one.questions} vragen, {one.drawn} getrokken: {one.tested} kloppen, {one.unanswered} zijn niet beantwoord."
    yield from (f"INBREUK vraag {it.question} van {it.requester} aan {it.source}: {it.what}" for it in report.breaches)
    yield from (f"NIET GETOETST vraag {it.question} aan {it.source}: {it.what}" for it in report.untested)
    yield from _case_lines(report.cases)
    if result is not None:
        yield f"Ondertekende uitslag: {result}."
    yield "Alles klopt." if one.is_good else f"{one.breaches} inbreuken, {one.untested} niet getoetst."


def _case_lines(cases: tuple[Case, ...]) -> Iterator[str]:
    if cases:
        yield "Voor een mens: bekijk bij deze vragen de zaak. Was de vraag nodig?"
    yield from (f"  {one.time[:16]} zaak {one.case or 'zonder'} ({one.purpose}), door {one.officer}" for one in cases)


def _covenant(folder: Path, anchor: str) -> Covenant:
    return verify_covenant(load_covenant(folder), anchor_of(anchor), SystemClock().now())


def _auditor(
    file: Path | None, passphrase_file: Path | None, covenant: Covenant, result: Path | None
) -> OfficerKey | None:
    """The auditor's key. Raises KeysError: none for a result, or one that is not the covenant's."""
    if file is None:
        if result is not None:
            raise KeysError("een uitslag wordt ondertekend: geef uw sleutel met --sleutel")
        return None
    key = open_officer_key(file, passphrase(passphrase_file, f"Wachtwoord van {file.name}"))
    named = covenant.agreement.auditor_signer
    own = vkey_of(note_name(oin_of(named or ""), AUDITOR), key.signing_public)
    if result is not None and named != own:
        raise KeysError("het convenant noemt deze sleutel niet bij 'auditor_ondertekent': de uitslag zou niet tellen")
    return key


_STAGES = {"eigen": "Eigen vragen", "toets": "Bevragingen"}
