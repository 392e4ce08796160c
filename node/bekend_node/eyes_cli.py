"""`bekend vierogen`: a second officer looks along with a colleague's question; the first asks what was looked at.

The number of a person is shown on a terminal only: not in a pipe, not in a file, not with --json.
"""

import sys
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_policy.justification import warnings
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import UnreachableError

from bekend_node.control_client import ControlClient
from bekend_node.desk_cli import HIDDEN
from bekend_node.lookup_cli import UNREACHABLE, ask, end_with, socket_of, stop
from bekend_node.terminal import AsJson, say

EPILOG: Final = """
**Voorbeelden**

    bekend vierogen lijst                              wat op u wacht, en wat u zelf klaarzette

    bekend vierogen toon 3f2a91c05d7e1b42              om wie het gaat, waarvoor, waarom

    bekend vierogen akkoord 3f2a91c05d7e1b42

    bekend vierogen weiger 3f2a91c05d7e1b42 --reden "dit hoort bij een ander doel"

    bekend vierogen vraag 3f2a91c05d7e1b42             stel uw eigen vraag, na akkoord

    bekend vierogen noodgreep 3f2a91c05d7e1b42 --reden "..."     direct, als het doel dat toelaat

    bekend vierogen beoordeel 4 akkoord                een noodgreep van een collega, achteraf

**Exitcodes**: 0 gedaan; 2 verkeerd gebruik; 3 van minstens een partner kwam geen antwoord; 4 geweigerd volgens een
regel; 5 de node is niet bereikbaar of kan nu niet vragen.
"""

app = typer.Typer(
    name="vierogen",
    help="Kijk mee met een vraag van een collega, of stel een vraag waarmee iemand meekeek.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)

Config = Annotated[Path, typer.Option(help="Configuratie van de node.")]
Id = Annotated[str, typer.Argument(metavar="KENMERK", help="Zoals `lijst` het noemt.")]
Receipt = Annotated[Path | None, typer.Option("--bon", help="Schrijf het ontvangstbewijs naar dit nieuwe bestand.")]
_CONFIG: Final = Path("node.yaml")


class Judged(StrEnum):
    """What somebody thinks of it."""

    AGREED = "akkoord"
    NOT_AGREED = "niet"


@app.command()
def lijst(config: Config = _CONFIG, as_json: AsJson = False) -> None:
    """Wat op u wacht, en wat u zelf klaarzette. Zonder nummers van personen."""
    found = _call(config, as_json, act="list")
    say(as_json, found, *_list_lines(found))


@app.command()
def toon(kenmerk: Id, config: Config = _CONFIG, as_json: AsJson = False) -> None:
    """Om wie het gaat, en alles om te beslissen."""
    found = _call(config, as_json, act="show", id=kenmerk)
    if as_json or not sys.stdout.isatty():
        found |= {"numbers": [{**one, "value": HIDDEN} for one in found.get("numbers", [])]}
    say(as_json, found, *_show_lines(found))


@app.command()
def akkoord(kenmerk: Id, config: Config = _CONFIG, as_json: AsJson = False) -> None:
    """U bent akkoord: uw collega mag deze vraag stellen, een keer. Bekijk haar eerst met `toon`."""
    found = _call(config, as_json, act="agree", id=kenmerk)
    say(as_json, found, f"U bent akkoord. {found['officer']} kan de vraag nu stellen, tot {_moment(found['until'])}.")


@app.command()
def weiger(
    kenmerk: Id,
    reden: Annotated[str, typer.Option(help="Waarom, in een of twee zinnen. Zonder namen en nummers.")],
    config: Config = _CONFIG,
    as_json: AsJson = False,
) -> None:
    """U bent niet akkoord: er wordt niets gevraagd. Uw collega leest de reden."""
    _warn(reden)
    found = _call(config, as_json, act="refuse", id=kenmerk, reason=reden)
    say(as_json, found, "U bent niet akkoord. Er is niets gevraagd. Uw collega ziet uw reden.")


@app.command()
def intrekken(kenmerk: Id, config: Config = _CONFIG, as_json: AsJson = False) -> None:
    """Trek een vraag in die u zelf klaarzette."""
    found = _call(config, as_json, act="withdraw", id=kenmerk)
    say(as_json, found, "De vraag is ingetrokken. Er is niets gevraagd.")


@app.command()
def vraag(kenmerk: Id, config: Config = _CONFIG, bon: Receipt = None, as_json: AsJson = False) -> None:
    """Stel uw vraag, nadat een collega akkoord was."""
    _ask(config, {"act": "ask", "id": kenmerk}, bon, as_json=as_json)


@app.command()
def noodgreep(
    kenmerk: Id,
    reden: Annotated[str, typer.Option(help="Waarom het niet kan wachten. Zonder namen en nummers.")],
    config: Config = _CONFIG,
    bon: Receipt = None,
    as_json: AsJson = False,
) -> None:
    """Stel uw vraag direct, als het doel dat toelaat. Een collega beoordeelt dit binnen 24 uur achteraf."""
    _warn(reden)
    _ask(config, {"act": "emergency", "id": kenmerk, "reason": reden}, bon, as_json=as_json)


@app.command()
def beoordeel(
    nummer: Annotated[int, typer.Argument(help="Zoals `lijst` het noemt.")],
    oordeel: Annotated[Judged, typer.Argument(help="Bent u het achteraf eens met deze noodgreep?")],
    reden: Annotated[str, typer.Option(help="Waarom. Verplicht als u het niet eens bent.")] = "",
    config: Config = _CONFIG,
    as_json: AsJson = False,
) -> None:
    """Beoordeel een noodgreep van een collega, achteraf. Een keer; de privacyfunctionaris leest het."""
    _warn(reden)
    agreed = oordeel is Judged.AGREED
    found = _call(config, as_json, act="review", number=nummer, agreed=agreed, reason=reden)
    say(as_json, found, f"Noodgreep {nummer}: uw oordeel is vastgelegd.")


def _ask(config: Path, request: dict[str, Any], receipt: Path | None, *, as_json: bool) -> None:
    if receipt is not None and (receipt.exists() or not receipt.parent.is_dir()):
        stop(2, f"{receipt}: dit bestand bestaat al, of de map bestaat niet. Kies een nieuw bestand.")
    try:
        with ControlClient(socket_of(config)) as client:
            reply = client.call({"op": "eyes", "act": "list"})
            if reply["type"] != "result":
                end_with(reply, as_json=as_json)
            known = next((one for one in reply["own"] if one["id"] == request["id"]), None)
            purpose = _purpose(client, known["purpose"] if known else "")
            persons = known["persons"] if known else 1
            code = ask(client, {"op": "eyes", **request}, purpose, persons=persons, receipt=receipt, as_json=as_json)
    except UnreachableError as error:
        stop(UNREACHABLE, f"De node is niet bereikbaar. {error.detail}")
    raise typer.Exit(code)


def _purpose(client: ControlClient, wanted: str) -> dict[str, Any]:
    """The purpose as this officer may use it; a bare one where there is none: then the node refuses."""
    reply = client.call({"op": "purposes"})
    found = reply.get("purposes", [])
    bare = {"id": wanted, "sources": [], "confirm": []}
    return next((one for one in found if one["id"] == wanted), bare)


def _call(config: Path, as_json: bool, **request: object) -> dict[str, Any]:
    """One request to the running node; ends with a message and an exit code when it is refused."""
    try:
        with ControlClient(socket_of(config)) as client:
            found = client.call({"op": "eyes", **request})
    except UnreachableError as error:
        stop(UNREACHABLE, f"De node is niet bereikbaar. {error.detail}")
    if found["type"] != "result":
        end_with(found, as_json=as_json)
    return {key: value for key, value in found.items() if key != "type"}


def _warn(text: str) -> None:
    for line in warnings(text):
        sys.stderr.write(f"Let op: {line.replace('de motivering', 'de reden')}\n")


def _list_lines(found: dict[str, Any]) -> Iterator[str]:
    yield "Wacht op u:"
    for one in found["judge"]:
        yield f"  {one['id']}  tot {_moment(one['until'])}  {one['title']}, zaak {one['case']}, van {one['officer']}"
    for one in found["review"]:
        yield (
            f"  noodgreep {one['number']}  vóór {_moment(one['until'])}  {one['title']}, zaak {one['case']}, "
            f"van {one['officer']}: {one['reason']}"
        )
    if not found["judge"] and not found["review"]:
        yield "  niets"
    yield "Door u klaargezet:"
    for one in found["own"]:
        said = f" ({one['second']}{': ' + one['reason'] if one['reason'] else ''})" if one["second"] else ""
        yield f"  {one['id']}  {one['state']}{said}  {one['title']}, zaak {one['case']}, tot {_moment(one['until'])}"
    for one in found["own_emergencies"]:
        yield f"  noodgreep {one['number']}  {_review(one)}  {one['title']}, zaak {one['case']}"
    if not found["own"] and not found["own_emergencies"]:
        yield "  niets"


def _review(one: dict[str, Any]) -> str:
    if one["agreed"] is None:
        return f"wacht op een oordeel, tot {_moment(one['until'])}"
    said = "akkoord" if one["agreed"] else "niet akkoord"
    return f"{said} ({one['second']}{': ' + one['remark'] if one['remark'] else ''})"


def _show_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"Vraag         {found['id']}: {found['state']}, tot {_moment(found['until'])}"
    for one in found.get("numbers", []):
        yield f"Persoon       {one['kind']} {one['value']}"
    yield f"Doel          {found['title']} ({found['purpose']})"
    if found.get("description"):
        yield f"              {found['description'].strip()}"
    for one in found.get("grounds", []):
        yield f"Grondslag     {one}"
    namens = f", namens {found['on_behalf_of']}" if found.get("on_behalf_of") else ""
    yield f"Van           {found['officer']}{namens}, zaak {found['case']}"
    yield f"Aan           {', '.join(found['partners'])}"
    if "confirmed" in found:
        yield f"Bevestigd     {', '.join(found['confirmed']) or 'niets'}"
        yield f"Waarom        {found['justification'] or 'Niet genoemd.'}"
    if found["second"]:
        yield f"Meegekeken    {found['second']}{': ' + found['reason'] if found['reason'] else ''}"


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(AMSTERDAM):%d-%m-%Y %H:%M}"
