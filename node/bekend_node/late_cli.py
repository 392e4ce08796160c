"""`bekend antwoorden`: what came after a lookup had ended, and what is still to come; by case, never by person."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import UnreachableError

from bekend_node.control_client import ControlClient
from bekend_node.lookup_cli import UNREACHABLE, USAGE, end_with, socket_of, stop, write_receipt
from bekend_node.lookup_view import PROVES_NOTHING, show

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_show_locals=False)


@app.command()
def answers(
    *,
    config: Annotated[Path, typer.Option(help="Configuratie van de node.")] = Path("node.yaml"),
    zaak: Annotated[str, typer.Option(help="Zaaknummer. Zonder zaaknummer: al uw eigen vragen.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Schrijf een JSON-object.")] = False,
    bon: Annotated[Path | None, typer.Option(help="Schrijf het ontvangstbewijs naar dit nieuwe bestand.")] = None,
) -> None:
    """Bekijk antwoorden die na uw bevraging kwamen, of nog komen.

    Bij sommige partners beslist een collega. U ziet hier wat er kwam, tot de geldigheid voorbij is. Met --zaak ziet u
    ook de vragen van collega's bij die zaak, onder de doelen van uw rol. Zoeken op persoon kan niet.

    Met --bon schrijft u per bevraging een ontvangstbewijs: het eerste in dit bestand, een volgend met -2, -3 erachter.

    **Exitcodes**: 0 getoond; 2 verkeerd gebruik; 4 geweigerd volgens een regel; 5 de node is niet bereikbaar.
    """
    if bon is not None and (bon.exists() or not bon.parent.is_dir()):
        stop(USAGE, f"{bon}: dit bestand bestaat al, of de map bestaat niet. Kies een nieuw bestand.")
    request = {"op": "answers", "case": zaak.strip() or None, "receipts": bon is not None}
    try:
        with ControlClient(socket_of(config)) as client:
            reply = client.call(request)
    except UnreachableError as error:
        stop(UNREACHABLE, f"De node is niet bereikbaar. {error.detail}")
    if reply["type"] != "result":
        end_with(reply, as_json=as_json)
    for number, receipt in enumerate(reply.get("receipts", []), 1):
        assert bon is not None
        write_receipt(bon if number == 1 else bon.with_stem(f"{bon.stem}-{number}"), receipt)
    if as_json:
        answer = {"answers": reply["answers"], "note": PROVES_NOTHING}
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    elif not reply["answers"]:
        sys.stdout.write("Er zijn geen antwoorden, en er komen er geen.\n")
    else:
        for one in reply["answers"]:
            _show(one)


def _show(one: dict[str, Any]) -> None:
    asked = datetime.fromisoformat(one["asked"]).astimezone(AMSTERDAM)
    sys.stdout.write(f"Zaak {one['case']}, {one['purpose']}: {asked:%d-%m-%Y %H:%M}, door {one['officer']}\n")
    sys.stdout.flush()
    show(map(_with_end, one["outcomes"]), one["persons"])
    sys.stdout.write("\n")


def _with_end(outcome: dict[str, Any]) -> dict[str, Any]:
    """With the day until which it can be seen, once it is there."""
    if outcome["until"] is not None:
        return outcome
    end = datetime.fromisoformat(outcome["expires"]).astimezone(AMSTERDAM)
    return {**outcome, "reason": f"{outcome['reason']} Te zien tot {end:%d-%m-%Y %H:%M}."}
