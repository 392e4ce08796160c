"""`bekend policy`: de sleutels, handtekeningen en fouten van een convenant. De uitvoer is Nederlands."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_proto.clock import SystemClock
from bekend_proto.errors import MalformedError
from bekend_proto.note import parse_note, parse_vkey, verify_note

from bekend_policy import tools_cli
from bekend_policy.decide import Asked, decide
from bekend_policy.faults import CovenantFaults, Fault
from bekend_policy.findings import findings
from bekend_policy.keys import create_signing_key, open_signing_key
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.notes import describe, sign_text
from bekend_policy.passphrase import open_to_others
from bekend_policy.public_cli import write_public_page
from bekend_policy.sign import sign_covenant, stale_notes, verify_covenant
from bekend_policy.terminal import FAULT, OK, AsJson, faults_shown, must_be_oins, must_exist, say, stop, wrong_use
from bekend_policy.words import IdentifierKind, class_of_kind

EPILOG = """
**Voorbeelden**

    bekend policy check convenant                     alle fouten in een map, met bestand en regel

    bekend policy show convenant --doel zsm-context   lees één doel; matrix: wie mag wie vragen

    bekend policy test convenant                      komt uit de tabellen in toetsen/ wat er staat?

    bekend policy diff oud nieuw                      wat verandert er, en voor wie?

    bekend policy report convenant convenant.html     één pagina om te printen en te tekenen

    bekend policy openbaar convenant --uit openbaar.html     de pagina voor inwoners

    bekend policy keygen om.key --naam bekend/00000099000000001000/ondertekenaar

    bekend policy sign convenant --sleutel om.key     teken een convenant, of een tekstbestand

    bekend policy verify convenant --anker om.vkey    wie heeft getekend, en geldt het?

**Uitgangscodes**

    0   goed

    1   er is een fout gevonden; de tekst zegt welke en wat te doen

    2   verkeerd gebruik van het commando
"""

app = typer.Typer(
    name="policy",
    help="Het convenant: lezen, toetsen, vergelijken, tekenen, nagaan wie tekende.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(tools_cli.app)
app.command("openbaar")(write_public_page)

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--wachtwoordbestand", help="Bestand met het wachtwoord (mode 0600); anders wordt het gevraagd."),
]


@app.command()
def keygen(
    file: Annotated[Path, typer.Argument(metavar="BESTAND", help="Nieuw sleutelbestand.")],
    name: Annotated[str, typer.Option("--naam", help="bekend/OIN/ondertekenaar, .../jurist of .../beheerder.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Maak een ondertekensleutel. Het bestand wordt nooit overschreven; toon anderen alleen de openbare sleutel."""
    with faults_shown(as_json):
        public = file.with_suffix(".vkey")
        if public.exists():
            raise CovenantFaults(
                [Fault(str(public), 0, "bestaat al", "Een sleutel wordt nooit overschreven: geef een andere naam.")]
            )
        key = create_signing_key(file, name, _passphrase(passphrase_file, new=True))
        public.write_text(f"{key.vkey}\n", "utf-8", newline="\n")
        say(
            as_json,
            {"file": str(file), "name": key.name, "vkey": key.vkey, "public": str(public)},
            f"Sleutel gemaakt: {file}. Bewaar hem buiten het netwerk, met een kopie op een tweede plek.",
            f"Openbare sleutel, voor deelnemers/ of afspraken.yaml, ook in {public}:\n{key.vkey}",
        )


@app.command()
def sign(
    path: Annotated[Path, typer.Argument(metavar="PAD", help="Map van een convenant, of een tekstbestand.")],
    key_file: Annotated[Path, typer.Option("--sleutel", help="Sleutelbestand van keygen.")],
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Teken een convenant (map), of een sleutelmanifest, standaardbesluit of kolomindeling (bestand)."""
    with faults_shown(as_json):
        must_exist(path)
        must_exist(key_file)
        if path.is_dir():
            load_covenant(path)  # every fault first: nobody types a passphrase for a covenant that cannot be used
        key = open_signing_key(key_file, _passphrase(passphrase_file, new=False))
        note = sign_covenant(path, key) if path.is_dir() else sign_text(path, key)
        say(as_json, {"note": str(note), "signer": key.name}, f"Getekend als {key.name}: {note}")


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="PAD", help="Map van een convenant, of een .note-bestand.")],
    anchor: Annotated[
        str, typer.Option("--anker", help="Openbare sleutel die u al vertrouwt: de regel zelf, of een bestand ermee.")
    ],
    newest: Annotated[
        int, typer.Option("--nieuwste", min=0, help="Hoogste versie die al gold; lager wordt geweigerd.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Ga na wie tekende en of het geldt."""
    with faults_shown(as_json):
        must_exist(path)
        vkey = _anchor(anchor)
        if path.is_dir():
            _verify_folder(load_covenant(path), vkey, newest, SystemClock().now(), as_json)
        else:
            _verify_note(path, vkey, as_json)


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="MAP", help="Map van een convenant.")],
    as_json: AsJson = False,
) -> None:
    """Toon alle fouten in een convenant tegelijk, met bestand, regel en wat eraan te doen is."""
    with faults_shown(as_json):
        must_exist(folder)
        covenant = load_covenant(folder)
        stale = stale_notes(covenant)
        found = findings(covenant)
        say(
            as_json,
            {**_facts(covenant), "faults": [], "findings": [asdict(it) for it in found], "stale_notes": stale},
            f"{covenant.name}: geen fouten. Versie {covenant.version}, {len(covenant.participants)} deelnemers, "
            f"{len(covenant.purposes)} doelen.",
            *(f"Let op: {finding}" for finding in found),
            *(f"Let op: handtekeningen/{file} hoort bij een andere versie of tekst." for file in stale),
        )


@app.command("decide")
def decide_command(  # noqa: PLR0917 - options have names on the command line
    folder: Annotated[Path, typer.Argument(metavar="MAP", help="Map van een convenant.")],
    requester: Annotated[str, typer.Option("--van", help="OIN van wie vraagt.")],
    source: Annotated[str, typer.Option("--aan", help="OIN van wie wordt gevraagd.")],
    purpose: Annotated[str, typer.Option("--doel", help="Doel: convenant/doel.")],
    anchor: Annotated[str, typer.Option("--anker", help="Openbare sleutel die u al vertrouwt.")],
    on_behalf_of: Annotated[str | None, typer.Option("--namens", help="OIN namens wie wordt gevraagd.")] = None,
    persons: Annotated[int, typer.Option("--personen", min=1)] = 1,
    kind: Annotated[IdentifierKind | None, typer.Option("--kenmerk", help="Soort kenmerk.")] = None,
    as_json: AsJson = False,
) -> None:
    """Wat beslist dit convenant over één vraag? Code 0: mag; 1: mag niet, met de regel en de reden."""
    with faults_shown(as_json):
        must_exist(folder)
        must_be_oins(van=requester, aan=source, namens=on_behalf_of)
        now = SystemClock().now()
        covenant = verify_covenant(load_covenant(folder), _anchor(anchor), now)
        kind_class = class_of_kind(kind or IdentifierKind.BSN)
        asked = Asked(requester, source, purpose, on_behalf_of, persons, kind_class, covenant.hash, kind=kind)
        decision = decide(covenant, asked, now)
        say(
            as_json,
            {
                "allowed": decision.allowed,
                "mode": decision.mode,
                "rule": decision.rule,
                "reason": decision.reason,
                "remedy": decision.remedy,
                "article": decision.article,
                "nearest": decision.nearest,
                "attests": list(decision.attests),
            },
            f"{'Mag' if decision.allowed else 'Mag niet'} ({decision.rule}). {decision.reason}",
            *([f"Artikel: {decision.article}"] if decision.article not in decision.reason else []),
            *([decision.remedy] if decision.remedy else []),
            *([decision.nearest] if decision.nearest else []),
            *(f"De vrager staat in voor: {condition}" for condition in decision.attests),
        )
    raise typer.Exit(OK if decision.allowed else FAULT)


# --- what the commands share -----------------------------------------------------------------------------------


def _verify_folder(covenant: Covenant, vkey: str, newest: int, now: datetime, as_json: bool) -> None:
    verified = verify_covenant(covenant, vkey, now, newest_seen=newest)
    names = {oin: one.name for oin, one in verified.participants.items()}
    before = [names[oin] for oin in verified.signed_before]
    missing = [name for oin, name in names.items() if oin not in verified.signed_by | verified.signed_before.keys()]
    say(
        as_json,
        {
            **_facts(verified),
            "signed_by": sorted(verified.signed_by),
            "signed_before": sorted(verified.signed_before),
        },
        f"{verified.name}, versie {verified.version}: geldt van {verified.agreement.first_day} tot en met "
        f"{verified.agreement.last_day}.",
        *(f"Getekend: {verified.participants[oin].name}" for oin in sorted(verified.signed_by)),
        *(f"Getekend op een eerdere versie, geldt voor wat gelijk bleef: {name}" for name in before),
        *(f"Niet getekend, dus zonder antwoord van en aan: {name}" for name in missing),
        f"Kenmerk: {verified.hash.hex()}",
    )


def _verify_note(path: Path, vkey: str, as_json: bool) -> None:
    note = parse_note(path.read_bytes())
    if not verify_note(note, vkey):
        name = parse_vkey(vkey).name
        stop(as_json, [Fault(str(path), 0, f"er is geen geldige handtekening van {name}", "Laat opnieuw tekenen.")])
    line = describe(note.text)
    say(as_json, {"file": str(path), "text": line, "signed": True}, f"De handtekening klopt: {line}.")


def _facts(covenant: Covenant) -> dict[str, Any]:
    return {
        "covenant": covenant.id,
        "name": covenant.name,
        "version": covenant.version,
        "hash": covenant.hash.hex(),
        "valid_from": covenant.agreement.first_day.isoformat(),
        "valid_until": covenant.agreement.last_day.isoformat(),
        "participants": len(covenant.participants),
        "purposes": sorted(covenant.purposes),
    }


def _anchor(value: str) -> str:
    path = Path(value)
    text = path.read_text("utf-8").strip() if "+" not in value and path.is_file() else value.strip()
    try:
        parse_vkey(text)
    except MalformedError:
        wrong_use("--anker is geen openbare sleutel. Geef de regel die keygen toonde, of een bestand ermee.")
    return text


def _passphrase(file: Path | None, *, new: bool) -> str:
    if file is None:
        return str(
            typer.prompt("Wachtwoord", hide_input=True, confirmation_prompt="Nog een keer" if new else False, err=True)
        )
    if open_to_others(file.stat().st_mode):
        raise CovenantFaults([Fault(str(file), 0, "ook anderen mogen dit bestand lezen", f"Draai 'chmod 600 {file}'.")])
    return file.read_text("utf-8").split("\n", 1)[0]
