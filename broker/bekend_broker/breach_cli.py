"""`bekend broker breach`: what the loss of a key, file or certificate exposes, from the broker's own log."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.breach import Exposure
from bekend_policy.load import load_covenant
from bekend_policy.log_output import days_of
from bekend_proto.clock import SystemClock

from bekend_broker.breach import Lost, assess
from bekend_broker.config import load_config
from bekend_broker.store import Store
from bekend_broker.store_decisions import Decisions
from bekend_broker.terminal import AsJson, Config, faults, say


def breach(
    *,
    lost: Annotated[list[Lost], typer.Option("--lost", help="What was lost. May be given again: losses add up.")],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day on which it may have been lost.")],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day: when it was closed.")],
    found: Annotated[
        datetime | None, typer.Option("--found", formats=["%Y-%m-%dT%H:%M"], help="When it was found, UTC; else now.")
    ] = None,
    config: Config = Path("broker.yaml"),
    as_json: AsJson = False,
) -> None:
    """Work out what a loss exposes: which partners, how many persons, what not and why, and what to do. In Dutch."""
    days = days_of(first, last)
    with faults(as_json):
        days.each()
        settings = load_config(config)
        covenant = load_covenant(settings.covenant)
        moment = found.replace(tzinfo=UTC) if found else SystemClock().now()
        store = Store.of(settings)
        try:
            bundles = Decisions(store.database).between(*days.span)
        finally:
            store.close()
        exposure = Exposure(settings.oin, tuple(dict.fromkeys(it.value for it in lost)), days, moment)
        assess(exposure, covenant, bundles)
        names = {oin: one.name for oin, one in covenant.participants.items()}
        say(as_json, exposure.to_json(), *exposure.lines(names))
