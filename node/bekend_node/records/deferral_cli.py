"""`bekend inzage uitstel`: informing a person deferred, by two persons, until a date. In Dutch."""

from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_policy.deferring import State
from bekend_policy.terminal import say

from bekend_node.records.terminal import NOT_GOOD, AsJson, Config, called, faults

app = typer.Typer(
    name="uitstel",
    help="Uitstel van informeren: vastleggen, goedkeuren, opnieuw bekijken, beëindigen.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Number = Annotated[int, typer.Argument(metavar="NUMMER", min=1, help="Nummer uit de lijst.")]


@app.command()
def record(
    *,
    purpose: Annotated[str, typer.Option("--doel", help="Doel, zoals het convenant het noemt.")],
    ground: Annotated[str, typer.Option("--grond", help="Artikel en reden. Zonder namen en nummers van personen.")],
    review_on: Annotated[str, typer.Option("--herbeoordeling", metavar="JJJJ-MM-DD", help="Dan opnieuw bekijken.")],
    case: Annotated[str | None, typer.Option("--zaak", help="Zaaknummer van een eigen bevraging.")] = None,
    question: Annotated[str | None, typer.Option("--vraag", help="Kenmerk van een vraag, 64 tekens.")] = None,
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Leg uitstel vast, voor een zaak of een vraag. Het geldt pas als een tweede persoon het goedkeurt."""
    if (case is None) == (question is None):
        raise typer.BadParameter("geef --zaak of --vraag, een van de twee")
    about, reference = ("zaak", case) if case is not None else ("vraag", question)
    facts = {"about": about, "reference": reference, "purpose": purpose, "ground": ground, "review_on": review_on}
    _one(config, {"op": "defer", **facts}, as_json)


@app.command("list")
def list_command(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Alle uitstel. Code 3 als er iets op iemand wacht: goedkeuren, of opnieuw bekijken."""
    with faults(as_json):
        found = _call(config, {"op": "defer-list"})["deferrals"]
        say(as_json, {"deferrals": found}, *(map(_line, found) if found else ["Er is geen uitstel."]))
        waiting = [one for one in found if State[one["state"].upper()] in {State.DUE, State.PENDING}]
    raise typer.Exit(NOT_GOOD if waiting else 0)


@app.command()
def approve(number: Number, config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Keur het uitstel van een ander goed. Niemand keurt het eigen uitstel goed."""
    _one(config, {"op": "defer-approve", "number": number}, as_json)


@app.command()
def end(
    number: Number,
    reason: Annotated[str, typer.Option("--reden", help="Waarom het ophoudt. Zonder namen en nummers.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Beëindig uitstel: daarna komt het weer in de brief. Moet het langer duren? Leg dan ook nieuw uitstel vast."""
    _one(config, {"op": "defer-end", "number": number, "reason": reason}, as_json)


def _one(config: Path, request: dict[str, Any], as_json: bool) -> None:
    with faults(as_json):
        found = _call(config, request)["deferral"]
        say(as_json, found, _line(found))


def _call(config: Path, request: dict[str, Any]) -> dict[str, Any]:
    from bekend_node.config import load_config  # noqa: PLC0415 - the off-line commands beside this one need no node
    from bekend_node.control_client import ControlClient  # noqa: PLC0415

    with ControlClient(load_config(config).socket) as client:
        return called(client.call(request))


def _line(one: dict[str, Any]) -> str:
    by = f", goedgekeurd door {one['approved_by']}" if one["approved_by"] else ""
    return (
        f"{one['number']}  {State[one['state'].upper()]}: {one['about']} {one['reference']} onder {one['purpose']}, "
        f"door {one['author']}{by}, herbeoordeling {one['review_on']}. {one['ground']}"
    )
