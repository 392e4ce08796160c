"""`bekend node desk`: a colleague at the source looks at what waits, and decides. Dutch, but for `init`.

The number of the person is shown on a terminal only: not in a pipe, not in a file, not with --json.
"""

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_policy.justification import warnings
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import KeysError
from bekend_proto.secret_files import create_secret

from bekend_node.calling import called
from bekend_node.config import load_config
from bekend_node.keys import DESK
from bekend_node.terminal import AsJson, Config, faults, say

HIDDEN: Final = "(alleen te zien op een scherm)"

EPILOG = """
**Voorbeelden**

    bekend node desk list                              wat wacht, op volgorde van termijn

    bekend node desk list --bladzijde 2                de volgende twintig

    bekend node desk show v3f2a91c0-1                  om wie het gaat, wie vraagt, waarom

    bekend node desk release v3f2a91c0-1 --grond nodig

    bekend node desk refuse v3f2a91c0-1 --grond geheim

    bekend node desk ask v3f2a91c0-1 --aan devries     draag over aan een collega

    bekend node desk undo v3f2a91c0-1                  zolang het antwoord niet is opgehaald

**Exitcodes**: 0 gedaan; 1 storing; 2 verkeerd gebruik; 4 geweigerd, met de regel erbij.
"""

app = typer.Typer(
    name="desk",
    help="Het loket: beslis over wat een collega hier moet vrijgeven.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Item = Annotated[str, typer.Argument(metavar="VERZOEK", help="Zoals `list` het noemt.")]
Ground = Annotated[str, typer.Option("--grond", help="Waarom. `show` noemt de gronden.")]
Text = Annotated[str, typer.Option("--toelichting", help="Eén of twee zinnen, zonder namen en nummers.")]
Absent = Annotated[
    bool, typer.Option("--afwezig", help="U bent plaatsvervanger en de eerste collega is afwezig. Wordt vastgelegd.")
]


@app.command("init")
def init(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Make the desk's key, for a node that was set up before it had one. Nothing is ever overwritten."""
    with faults(as_json):
        path = load_config(config).keys / DESK
        if path.exists():
            raise KeysError(f"{path} exists already: keys are created once and never overwritten")
        create_secret(path)
        say(as_json, {"made": [str(path)]}, f"made {path}", "Keep it in no backup of anything.")


@app.command("list")
def list_(
    config: Config = Path("node.yaml"),
    page: Annotated[int, typer.Option("--bladzijde", min=1, max=1_000_000, help="Van een lange lijst.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Wat wacht op u, op volgorde van termijn, twintig per bladzijde. Zonder nummers van personen."""
    found = _call(config, as_json, act="list", page=page)
    say(as_json, found, *_list_lines(found))


@app.command()
def show(item: Item, config: Config = Path("node.yaml"), absent: Absent = False, as_json: AsJson = False) -> None:
    """Om wie het gaat, en alles om te beslissen. Dat u kijkt, wordt vastgelegd."""
    found = _call(config, as_json, act="show", item=item, absent=absent)
    if as_json or not sys.stdout.isatty():
        found["person"]["value"] = HIDDEN
        found["described"] = found["described"] and dict.fromkeys(found["described"], HIDDEN)
    say(as_json, found, *_show_lines(found))


@app.command()
def release(  # noqa: PLR0917 - options have names on the command line
    item: Item,
    ground: Ground,
    config: Config = Path("node.yaml"),
    text: Text = "",
    absent: Absent = False,
    compared: Annotated[
        bool, typer.Option("--vergeleken", help="Gevraagd met een naam: ik heb alle gegevens vergeleken.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Geef vrij: de vrager hoort dat de persoon bij u bekend is (met een naam: misschien), en niets anders."""
    _decide(config, as_json, "release", item, ground=ground, text=text, absent=absent, compared=compared)


@app.command()
def refuse(  # noqa: PLR0917 - options have names on the command line
    item: Item,
    ground: Ground,
    config: Config = Path("node.yaml"),
    text: Text = "",
    absent: Absent = False,
    as_json: AsJson = False,
) -> None:
    """Weiger: de vrager ziet aan het eind van de termijn `geen uitsluitsel`, zonder reden."""
    _decide(config, as_json, "refuse", item, ground=ground, text=text, absent=absent)


@app.command()
def ask(
    item: Item,
    to: Annotated[str, typer.Option("--aan", help="De gebruiker van de collega.")],
    config: Config = Path("node.yaml"),
    absent: Absent = False,
    as_json: AsJson = False,
) -> None:
    """Draag over aan een collega of plaatsvervanger."""
    found = _call(config, as_json, act="ask", item=item, to=to, absent=absent)
    say(as_json, found, f"{item} is overgedragen aan {to}. Termijn: {_moment(found['until'])}.")


@app.command()
def undo(item: Item, config: Config = Path("node.yaml"), absent: Absent = False, as_json: AsJson = False) -> None:
    """Maak een besluit ongedaan, zolang het antwoord niet is opgehaald."""
    found = _call(config, as_json, act="undo", item=item, absent=absent)
    say(as_json, found, f"Het besluit over {item} is ongedaan gemaakt. Het wacht weer, tot {_moment(found['until'])}.")


def _decide(
    config: Path, as_json: bool, act: str, item: str, *, ground: str, text: str, absent: bool, compared: bool = False
) -> None:
    for line in warnings(text):
        sys.stderr.write(f"Let op: {line.replace('de motivering', 'de toelichting')}\n")
    more = {"compared": True} if compared else {}
    found = _call(config, as_json, act=act, item=item, ground=ground, text=text, absent=absent, **more)
    done = "vrijgegeven" if act == "release" else "geweigerd"
    say(as_json, found, f"{item} is {done}. U kunt dit ongedaan maken tot het antwoord is opgehaald.")


def _call(config: Path, as_json: bool, **request: object) -> dict[str, Any]:
    """One request to the running node; ends with a message and an exit code when it is refused."""
    with faults(as_json):
        return called(config, {"op": "desk", **request}, as_json=as_json)


def _list_lines(found: dict[str, Any]) -> Iterator[str]:
    for one in found["items"]:
        name = "  met een naam" if one["possible"] else ""
        to = f"  overgedragen aan {one['handed_to']}" if one["handed_to"] else ""
        yield (
            f"{one['item']}  vóór {_moment(one['until'])}  {one['state']:11}  "
            f"{one['title']}  gevraagd door {one['requester']}{name}{to}"
        )
    if not found["items"]:
        yield "Er wacht niets."
    if found["pages"] > 1:
        yield f"Bladzijde {found['page']} van {found['pages']}, in totaal {found['total']}."
    if found["page"] < found["pages"]:
        yield f"Meer: bekend node desk list --bladzijde {found['page'] + 1}"
    if found["privacy_officer"]:
        yield "Er wacht iets voor de privacyfunctionaris. Meld het: u ziet hier niet wat."


def _show_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"Verzoek       {found['item']}: {found['state']}, vóór {_moment(found['until'])}"
    yield from _person_lines(found)
    yield f"Doel          {found['title']} ({found['purpose']})"
    yield f"              {found['purpose_text']}"
    for label, grounds in (("Uw grondslag", found["grounds"]), ("Van de vrager", found["requester_grounds"])):
        for one in grounds:
            yield f"{label:13} {one['ground']}" + (f" ({one['status'].replace('_', ' ')})" if one["status"] else "")
    namens = f", namens {found['on_behalf_of']}" if found["on_behalf_of"] else ""
    yield f"Vrager        {found['requester']}{namens}, {found['desk']}"
    yield f"Gevraagd op   {_moment(found['asked'])}"
    yield f"Waarom        {found['justification'] or 'Niet genoemd.'}"
    consent = found["consent"]
    if consent:
        yield f"Toestemming   {consent['reference']}, {consent['date']}, gegeven door {consent['giver']}"
        yield f"              {consent['scope']}"
    else:
        yield "Toestemming   Niet genoemd."
    if found["possible"]:
        yield "Gevraagd met een naam: dit kan een ander zijn. Vergelijk alle gegevens. Twijfelt u? Weiger."
    yield "Zoek de persoon op in uw eigen systeem. Beslis dan:"
    for act, grounds in (("release", found["release_grounds"]), ("refuse", found["refusal_grounds"])):
        for ground, words in grounds.items():
            told = " --vergeleken" if act == "release" and found["possible"] else ""
            yield f"  {act}{told} --grond {ground:18} {words}"


def _person_lines(found: dict[str, Any]) -> Iterator[str]:
    if not found["possible"]:
        yield f"Persoon       {found['person']['kind']} {found['person']['value']}"
        return
    for label, text in found["described"].items():
        yield f"{label:13} {text}"


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(AMSTERDAM):%d-%m-%Y %H:%M}"
