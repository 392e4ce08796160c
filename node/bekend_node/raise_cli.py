"""`bekend node raise`: a second person raises the limit of an officer, for 24 hours, with a reason, on the record.

In Dutch, as `bekend lookup`: a team leader types it, not the operator.
"""

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.justification import warnings
from bekend_proto.clock import AMSTERDAM

from bekend_node.calling import called
from bekend_node.terminal import AsJson, Config, faults, say


def raise_limit(
    *,
    config: Config = Path("node.yaml"),
    officer: Annotated[str, typer.Option(help="De gebruiker van wie de grens omhoog gaat. Nooit uzelf.")],
    doel: Annotated[str, typer.Option(help="Het doel, zoals het convenant het noemt.")],
    extra: Annotated[int, typer.Option(min=1, help="Hoeveel personen per dag erbij komen.")],
    reden: Annotated[str, typer.Option(help="Waarom. Zonder namen en nummers.")],
    as_json: AsJson = False,
) -> None:
    """Verhoog voor 24 uur de grens van een collega, zo ver als het convenant het toelaat. Het wordt vastgelegd."""
    for line in warnings(reden):
        sys.stderr.write(f"Let op: {line}\n")
    request = {"op": "raise", "officer": officer, "purpose": doel, "extra": extra, "reason": reden}
    with faults(as_json):
        found = called(config, request, as_json=as_json)
        until = datetime.fromisoformat(found["until"]).astimezone(AMSTERDAM)
        say(
            as_json,
            found,
            f"{officer} kan voor {doel} tot {until:%d-%m-%Y %H:%M} naar {found['limit']} personen per dag vragen.",
            "De grens van uw organisatie blijft gelijk. De verhoging is vastgelegd.",
        )
