"""`bekend node breach`: what the loss of a key, file or certificate exposes, from this node's own logs.

It reads the database beside a running node or without one: after a breach the node may be down.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.breach import Exposure
from bekend_policy.load import load_covenant
from bekend_policy.log_output import days_of
from bekend_policy.log_use import Days
from bekend_proto.clock import SystemClock
from bekend_proto.epochs import served_epochs

from bekend_node.breach import Facts, Lost, assess
from bekend_node.config import NodeConfig, load_config
from bekend_node.store import Store
from bekend_node.store_decisions import Decisions
from bekend_node.store_registers import Registers
from bekend_node.terminal import AsJson, Config, faults, say


def breach(
    *,
    lost: Annotated[list[Lost], typer.Option("--lost", help="Wat kwijt is. Mag vaker: verlies telt samen.")],
    first: Annotated[str, typer.Option("--from", metavar="DAG", help="Eerste dag waarop het kwijt kan zijn geweest.")],
    last: Annotated[str, typer.Option("--to", metavar="DAG", help="Laatste dag: toen het dicht was.")],
    found: Annotated[
        datetime | None,
        typer.Option("--ontdekt", formats=["%Y-%m-%dT%H:%M"], help="Moment van ontdekking, UTC; anders nu."),
    ] = None,
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Bereken wat een verlies openlegt: welke partners, hoeveel personen, wat niet en waarom, en wat u nu doet."""
    days = days_of(first, last)
    with faults(as_json):
        single = days.each()
        settings = load_config(config)
        covenant = load_covenant(settings.covenant)
        now = SystemClock().now()
        moment = found.replace(tzinfo=UTC) if found else now
        exposure = Exposure(settings.oin, tuple(dict.fromkeys(it.value for it in lost)), days, moment)
        assess(exposure, covenant, read_facts(settings, days, len(single), now))
        names = {oin: one.name for oin, one in covenant.participants.items()}
        say(as_json, exposure.to_json(), *exposure.lines(names))


def read_facts(settings: NodeConfig, days: Days, count: int, now: datetime) -> Facts:
    """What the logs of these days, and the registers of now, say."""
    store = Store.open(settings.data)
    try:
        registers = Registers.open(settings.data)
        try:
            generations = registers.generations()
            epoch = served_epochs(now, {one.epoch for one in generations})[0]
            enrolled: dict[str, int] = {}
            for one in generations:
                if one.epoch == epoch:
                    enrolled[one.purpose] = enrolled.get(one.purpose, 0) + one.persons
        finally:
            registers.close()
        decisions = Decisions(store.database)
        first, until = days.span
        return Facts(
            own=tuple(one for one, _ in decisions.own(first, until)),
            of_others=tuple(decisions.of_others(first, until)),
            pseudonyms=enrolled,
            pending=len(store.pending.all()),
            days=count,
        )
    finally:
        store.close()
