"""`bekend inzage`: what a privacy officer does, most of it on a machine without a network. In Dutch."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_policy.officer_key import open_officer_key
from bekend_policy.passphrase import destroy
from bekend_proto.clock import AMSTERDAM, SystemClock, from_milliseconds
from bekend_proto.v1 import broker_pb2

from bekend_node.records import deferral_cli, keys_cli
from bekend_node.records.answer import Given, answer, open_records
from bekend_node.records.files import read_file, write_together
from bekend_node.records.findings import Findings
from bekend_node.records.letter import letter_html, letter_json
from bekend_node.records.opening import Fault
from bekend_node.records.periods import load_registration
from bekend_node.records.reply import parse_reply, reply_bytes
from bekend_node.records.request import make_request, parse_request, request_hash
from bekend_node.records.terminal import (
    NOT_GOOD,
    AsJson,
    Config,
    PassphraseFile,
    anchor_of,
    bars,
    called,
    faults,
    officer_keys,
    passphrase,
    person,
    say,
)

EPILOG = """
**Voorbeelden**

    bekend inzage sleutel maken sleutels --oin 00000099000000001000     eenmalig, voor twee personen

    bekend inzage request verzoek.json --sleutel po.key                 vraagt het nummer; zonder netwerk

    bekend inzage relay verzoek.json antwoord.json --config node.yaml   op de node

    bekend inzage export export.db --config node.yaml                   op de node

    bekend inzage answer brief --verzoek verzoek.json --antwoord antwoord.json --export export.db
        --sleutel po.key --convenant convenant --anker ondertekenaar.vkey --registratie registratie.yaml

    bekend inzage uitstel list --config node.yaml                       wat moet opnieuw worden bekeken?

**Uitgangscodes**

    0   gedaan

    1   een fout: bestand, sleutel, bewijs, netwerk; de tekst zegt welke en wat te doen

    2   verkeerd gebruik van het commando

    3   gedaan, maar er is iets te doen: een mogelijk lek, of uitstel dat op iemand wacht

    4   geweigerd volgens een regel; er is niets geschreven of veranderd
"""

app = typer.Typer(
    name="inzage",
    help="Inzage geven aan een burger, en uitstel van informeren. Voor de privacyfunctionaris.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(keys_cli.app)
app.add_typer(deferral_cli.app)

KeyFiles = Annotated[
    list[Path],
    typer.Option("--sleutel", help="Uw sleutelbestand. Na een vervanging ook het oude, daarna genoemd."),
]


@app.command()
def request(
    file: Annotated[Path, typer.Argument(metavar="BESTAND", help="Nieuw bestand voor het verzoek.")],
    key_file: Annotated[Path, typer.Option("--sleutel", help="Uw sleutelbestand.")],
    passphrase_file: PassphraseFile = None,
    kind: Annotated[str, typer.Option("--soort", help="Soort nummer: bsn, of test in een demo.")] = "bsn",
    as_json: AsJson = False,
) -> None:
    """Maak een verzoek over één persoon. Vraagt het nummer, of leest het van stdin; zet het nooit achter het commando.

    Er komen twee bestanden: het verzoek, dat niemand iets zegt en naar de node gaat; en daarnaast BESTAND.geheim, dat
    bij u blijft en alleen met uw sleutel opengaat.
    """
    with faults(as_json):
        key = open_officer_key(key_file, passphrase(passphrase_file))
        travels, stays = make_request(key, person(kind), SystemClock().now())
        private = private_file(file)
        write_together({file: travels, private: stays})
        say(
            as_json,
            {"request": str(file), "private": str(private)},
            f"Verzoek: {file}. Breng dit naar de node: bekend inzage relay {file.name} antwoord.json",
            f"Geheim: {private}. Dit blijft hier, tot de brief er is.",
            "Het verzoek is zeven dagen te gebruiken, en één keer.",
        )


@app.command()
def relay(
    file: Annotated[Path, typer.Argument(metavar="VERZOEK", help="Het verzoek.")],
    out: Annotated[Path, typer.Argument(metavar="ANTWOORD", help="Nieuw bestand voor het antwoord.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Stuur een verzoek door naar de makelaar, via de node die hier draait. De makelaar ziet niet over wie het gaat."""
    from bekend_node.config import load_config  # noqa: PLC0415 - only this end of the work needs the node
    from bekend_node.control_client import ControlClient  # noqa: PLC0415

    with faults(as_json):
        signed = parse_request(read_file(file))
        if out.exists():
            raise typer.BadParameter(f"{out} bestaat al: kies een nieuwe naam")
        if not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
            # Looked at first: what was sent cannot be sent again, and its reply would be lost.
            raise typer.BadParameter(f"in {out.parent} kan niets worden geschreven: kies een andere map")
        sent = base64.b64encode(signed.SerializeToString(deterministic=True)).decode("ascii")
        with ControlClient(load_config(config).socket) as client:
            found = called(client.call({"op": "access", "request": sent}))
        response = broker_pb2.AccessResponse.FromString(base64.b64decode(found["response"]))
        data = reply_bytes(request_hash(signed), response)
        parse_reply(data)
        write_together({out: data})
        say(
            as_json,
            {"reply": str(out), "months": found["months"]},
            f"Antwoord over {found['months']} maanden: {out}. Breng dit terug naar de privacyfunctionaris.",
        )


@app.command()
def export(
    out: Annotated[Path, typer.Argument(metavar="BESTAND", help="Nieuw bestand voor de export.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Schrijf weg wat de privacyfunctionaris nodig heeft. Dat kan terwijl de node draait. Het komt in het logboek."""
    from bekend_node.config import load_config  # noqa: PLC0415
    from bekend_node.records.export import export as write  # noqa: PLC0415

    with faults(as_json), bars(_STAGES) as stage:
        counts = write(load_config(config), out, SystemClock(), stage("vragen"))
        say(
            as_json,
            {"export": str(out), **counts},
            f"Export: {out}, met {counts['questions']} beantwoorde vragen en {counts['own']} eigen aantekeningen.",
        )


@app.command("answer")
def answer_command(  # noqa: PLR0917 - options have names on the command line
    folder: Annotated[Path, typer.Argument(metavar="MAP", help="Map voor de brief: brief.html en brief.json.")],
    file: Annotated[Path, typer.Option("--verzoek", help="Het verzoek; het geheim staat ernaast.")],
    reply: Annotated[Path, typer.Option("--antwoord", help="Het antwoord van de makelaar.")],
    exported: Annotated[Path, typer.Option("--export", help="De export van uw node.")],
    key_files: KeyFiles,
    covenants: Annotated[
        list[Path], typer.Option("--convenant", help="Map van het convenant dat nu geldt; oudere versies daarna.")
    ],
    anchor: Annotated[
        str, typer.Option("--anker", help="Openbare sleutel van uw ondertekenaar, of een bestand ermee.")
    ],
    registration: Annotated[
        Path | None, typer.Option("--registratie", help="Wanneer de persoon in uw systeem stond. Zie de handleiding.")
    ] = None,
    passphrase_files: Annotated[
        list[Path] | None, typer.Option("--wachtwoordbestand", help="Een per sleutel, in dezelfde volgorde.")
    ] = None,
    workers: Annotated[int, typer.Option("--processen", min=0, help="Hoeveel tegelijk; 0: alle kernen.")] = 0,
    wipe: Annotated[bool, typer.Option("--wis", help="Vernietig geheim en antwoord als de brief er is.")] = False,
    as_json: AsJson = False,
) -> None:
    """Open wat verzegeld is en schrijf de brief aan de burger. Zonder netwerk.

    Wat alleen voor u is (uitstel dat een regel wegnam, een mogelijk lek) staat op het scherm, en niet in de brief.
    """
    with faults(as_json):
        given = Given(
            keys=officer_keys(key_files, passphrase_files or []),
            secret=read_file(private_file(file)),
            reply=read_file(reply),
            export=exported,
            covenants=covenants,
            anchor=anchor_of(anchor),
            registration=load_registration(registration) if registration else None,
            workers=workers,
        )
        with bars(_STAGES) as stage:
            facts, findings = answer(given, SystemClock().now(), stage)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        page, data = folder / "brief.html", folder / "brief.json"
        write_together({page: letter_html(facts, findings), data: letter_json(facts, findings)})
        if wipe:
            for path in (private_file(file), reply):
                destroy(path)
        say(as_json, _facts(page, data, findings), *_lines(page, findings))
    raise typer.Exit(NOT_GOOD if findings.faults else 0)


@app.command("kanarie")
def canary_command(  # noqa: PLR0917 - options have names on the command line
    file: Annotated[Path, typer.Option("--verzoek", help="Het verzoek over een kanarie; het geheim staat ernaast.")],
    reply: Annotated[Path, typer.Option("--antwoord", help="Het antwoord van de makelaar.")],
    exported: Annotated[Path, typer.Option("--export", help="De export van uw node.")],
    key_files: KeyFiles,
    covenants: Annotated[
        list[Path], typer.Option("--convenant", help="Map van het convenant dat nu geldt; oudere versies daarna.")
    ],
    anchor: Annotated[
        str, typer.Option("--anker", help="Openbare sleutel van uw ondertekenaar, of een bestand ermee.")
    ],
    passphrase_files: Annotated[
        list[Path] | None, typer.Option("--wachtwoordbestand", help="Een per sleutel, in dezelfde volgorde.")
    ] = None,
    workers: Annotated[int, typer.Option("--processen", min=0, help="Hoeveel tegelijk; 0: alle kernen.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Kijk of een ander naar een kanarie van uw node heeft gevraagd. Zonder netwerk; er komt geen brief.

    Een kanarie is een nummer van niemand. Vraagt een ander ernaar, dan probeert iemand nummers uit, of is er een lijst
    van uw node gelekt. Doe dit elke maand, voor elke kanarie die in node.yaml staat.
    """
    with faults(as_json):
        given = Given(
            keys=officer_keys(key_files, passphrase_files or []),
            secret=read_file(private_file(file)),
            reply=read_file(reply),
            export=exported,
            covenants=covenants,
            anchor=anchor_of(anchor),
            workers=workers,
        )
        with bars(_STAGES) as stage:
            found = open_records(given, SystemClock().now(), stage("vragen")).part.matches
        rows = [{"requester": one.requester, "purpose": one.purpose, "question": one.hash} for one in found]
        lines = [
            f"ALARM: {one.requester} vroeg naar deze kanarie, voor {one.purpose}, op "
            f"{from_milliseconds(one.time).astimezone(AMSTERDAM):%d-%m-%Y %H:%M}."
            for one in found
        ]
        if found:
            lines.append("Vraag die partner waarom, en bespreek het met uw FG. Bewaar de export.")
        say(as_json, {"asked": rows}, *(lines or ["Niemand anders heeft naar deze kanarie gevraagd."]))
    raise typer.Exit(NOT_GOOD if found else 0)


def private_file(file: Path) -> Path:
    """Where the secret of a request stands."""
    return file.with_name(f"{file.name}.geheim")


def _facts(page: Path, data: Path, findings: Findings) -> dict[str, Any]:
    return {
        "letter": str(page),
        "data": str(data),
        "asked_of_us": len(findings.asked_of_us),
        "asked_by_us": len(findings.asked_by_us),
        "postponed": [{"deferral": one.number, "what": what} for one, what in findings.postponed],
        "breaches": [
            {
                "what": one.what.name.lower(),
                "question": one.question,
                "requester": one.requester,
                "purpose": one.purpose,
            }
            for one in findings.faults
        ],
    }


def _lines(page: Path, findings: Findings) -> Iterator[str]:
    yield f"Brief: {page}. Open hem, vul naam en adres in, en print hem of sla hem op als PDF."
    of_us, by_us = len(findings.asked_of_us), len(findings.asked_by_us)
    yield f"In de brief: vragen van anderen: {of_us}; vragen van ons: {by_us}."
    for one, what in findings.postponed:
        yield f"Alleen voor u: uitstel {one.number} neemt een regel weg ({what}), tot {one.review_on:%d-%m-%Y}."
    for fault in findings.faults:
        yield f"MOGELIJK LEK: {_fault_line(fault)}"
    if findings.faults:
        yield "Dit staat niet in de brief. Bespreek het met uw FG en met de beheerder; bewaar de export."


def _fault_line(fault: Fault) -> str:
    when = f" van {from_milliseconds(fault.time).astimezone(AMSTERDAM):%d-%m-%Y %H:%M}" if fault.time else ""
    who = f", gesteld door {fault.requester}" if fault.requester else ""
    return f"{fault.what}. Vraag {fault.question[:16]}…{when}{who}"


_STAGES = {"vragen": "Beantwoorde vragen", "eigen": "Eigen vragen"}
