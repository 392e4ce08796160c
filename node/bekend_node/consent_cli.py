"""`bekend toestemming`: record, show and withdraw consents, per case and partner (FG-10, FG-38)."""

import json
import sys
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import UnreachableError

from bekend_node.control_client import ControlClient
from bekend_node.lookup_cli import UNREACHABLE, USAGE, end_with, socket_of, stop

app = typer.Typer(
    add_completion=False, rich_markup_mode="markdown", pretty_exceptions_show_locals=False, no_args_is_help=True
)

_EXIT = "**Exitcodes**: 0 gedaan; 2 verkeerd gebruik; 4 geweigerd volgens een regel; 5 de node is niet bereikbaar."
Config = Annotated[Path, typer.Option(help="Configuratie van de node.")]
Case = Annotated[str, typer.Option(help="Zaaknummer van de persoon om wie het gaat.")]
AsJson = Annotated[bool, typer.Option("--json", help="Schrijf een JSON-object.")]


class Giver(StrEnum):
    """Who consented."""

    SELF = "zelf"
    REPRESENTATIVE = "vertegenwoordiger"
    BOTH = "beiden"


@app.callback()
def _consent() -> None:
    """Leg toestemming vast om een partner te vragen, bekijk haar, of trek haar in."""


@app.command("vastleggen", epilog=_EXIT)
def record(
    *,
    config: Config = Path("node.yaml"),
    doel: Annotated[str, typer.Option(help="Het doel waarvoor u vraagt.")],
    zaak: Case,
    partner: Annotated[list[str], typer.Option(help="OIN van een partner voor wie de toestemming geldt. Mag vaker.")],
    door: Annotated[Giver, typer.Option(help="Wie toestemming gaf.")],
    datum: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Dag waarop zij gegeven is.")],
    reikwijdte: Annotated[str, typer.Option(help="Waarvoor zij geldt, in uw woorden. Zonder namen en nummers.")],
    as_json: AsJson = False,
) -> None:
    """Leg vast dat iemand toestemming gaf. U typt de gecontroleerde geboortedatum; die wordt niet bewaard.

    Onder de 12 jaar beslist de wettelijk vertegenwoordiger, van 12 tot en met 15 jaar beslissen beiden, vanaf 16 jaar
    de persoon zelf. Toestemming geldt voor een persoon, een zaak en de partners die u noemt.

    **Voorbeeld**

        bekend toestemming vastleggen --doel kennemerland/verward-gedrag --zaak MVG-2026-00042
        --partner 00000099000000021000 --door zelf --datum 2026-11-20 --reikwijdte "de GGZ vragen of zij mij kent"
    """
    request = {
        "op": "consent",
        "purpose": doel,
        "case": zaak.strip(),
        "partners": partner,
        "giver": door.value,
        "date": datum.date().isoformat(),
        "scope": reikwijdte,
        "born": _born(),
    }
    reply = _call(config, request, as_json=as_json)
    _show(reply, as_json=as_json)


@app.command("tonen", epilog=_EXIT)
def show(*, config: Config = Path("node.yaml"), zaak: Case, as_json: AsJson = False) -> None:
    """Bekijk de toestemmingen bij een zaak."""
    reply = _call(config, {"op": "consents", "case": zaak.strip()}, as_json=as_json)
    _show(reply, as_json=as_json)


@app.command("intrekken", epilog=_EXIT)
def withdraw(
    *,
    config: Config = Path("node.yaml"),
    zaak: Case,
    partner: Annotated[list[str] | None, typer.Option(help="Alleen voor deze partner (OIN). Mag vaker.")] = None,
    as_json: AsJson = False,
) -> None:
    """Trek toestemming in. Wat erop rust, eindigt meteen: wat kwam wordt vernietigd, de partners horen het."""
    reply = _call(config, {"op": "withdraw", "case": zaak.strip(), "partners": partner or []}, as_json=as_json)
    _show(reply, as_json=as_json)
    if not as_json:
        sys.stdout.write("Wat er al kwam, is vernietigd. De partners horen het zodra zij bereikbaar zijn.\n")


def _born() -> str:
    """The verified date of birth, asked or from stdin: never an option, where others could read it."""
    if sys.stdin.isatty():
        sys.stderr.write("Gecontroleerde geboortedatum (jjjj-mm-dd); wordt niet bewaard: ")
        sys.stderr.flush()
    text = sys.stdin.readline(100).strip()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        stop(USAGE, "Dit is geen geboortedatum: schrijf jjjj-mm-dd.")


def _call(config: Path, request: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    try:
        with ControlClient(socket_of(config)) as client:
            reply = client.call(request)
    except UnreachableError as error:
        stop(UNREACHABLE, f"De node is niet bereikbaar. {error.detail}")
    if reply["type"] != "result":
        end_with(reply, as_json=as_json)
    return reply


def _show(reply: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"consents": reply["consents"]}, ensure_ascii=False) + "\n")
        return
    if not reply["consents"]:
        sys.stdout.write("Bij deze zaak staat geen toestemming.\n")
    for one in reply["consents"]:
        sys.stdout.write(
            f"{one['reference']}  {one['partner_name']}, {one['purpose']}: gegeven op {one['date']} "
            f"(door: {one['giver']}), vastgelegd door {one['officer']}. Voor: {one['scope']}.\n"
        )
        if one["withdrawn_at"]:
            moment = datetime.fromisoformat(one["withdrawn_at"]).astimezone(AMSTERDAM)
            sys.stdout.write(f"    INGETROKKEN op {moment:%d-%m-%Y %H:%M}, door {one['withdrawn_by']}.\n")
