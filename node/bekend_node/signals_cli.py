"""`bekend node signals`: what a human should look at. In Dutch: the privacy officer reads it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_proto.clock import SystemClock, day_of

from bekend_node.ask.signals import Kind
from bekend_node.calling import called
from bekend_node.terminal import AsJson, Config, faults, say

TEXTS: Final = {
    Kind.ODD_HOURS: "gevraagd op een ongewone tijd",
    Kind.BURST: "veel vragen in tien minuten",
    Kind.REPEATS: "vaak gevraagd bij dezelfde zaak",
    Kind.NEIGHBOURS: "nummers die dicht bij elkaar liggen",
    Kind.UNUSED_CASES: "één keer gevraagd, en de zaak kwam niet terug",
    Kind.OWN_STAFF: "vraag over iemand op de eigen lijst van collega's en bekende personen",
    Kind.EMERGENCY: "noodgreep: gevraagd voordat een tweede meekeek",
    Kind.NOT_REVIEWED: "noodgreep die binnen 24 uur niemand beoordeelde",
}
DAYS: Final = 7


def signals(
    config: Config = Path("node.yaml"),
    first: Annotated[
        datetime | None, typer.Option("--van", formats=["%Y-%m-%d"], help="Eerste dag; anders een week geleden.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--tot-en-met", formats=["%Y-%m-%d"], help="Laatste dag; anders vandaag.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Toon waar een mens naar moet kijken. Een signaal is geen bewijs, blokkeert niets en telt bij niemand op."""
    today = day_of(SystemClock().now())
    begin = first.date() if first else today - timedelta(days=DAYS)
    end = last.date() if last else today
    request = {"op": "signals", "first": begin.isoformat(), "last": end.isoformat()}
    with faults(as_json):
        rows = called(config, request, as_json=as_json)["signals"]
        nothing = f"Geen signalen van {begin:%d-%m-%Y} tot en met {end:%d-%m-%Y}."
        say(as_json, {"signals": rows}, *(map(_line, rows) if rows else [nothing]))


def _line(one: dict[str, Any]) -> str:
    case = f", zaak {one['case']}" if one["case"] else ""
    times = f", {one['times']} keer" if one["times"] > 1 else ""
    return f"{one['day']}  {TEXTS[Kind(one['kind'])]}: {one['officer']}{case}{times}"
