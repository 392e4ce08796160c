"""`bekend node questions`: what this node was asked in a month, for `bekend policy simulate`.

Per question: who asked, in whose name, under which purpose, how many persons, on which day. No elements, no moments,
no answer: nothing here says who was asked about, or what came of it. It is internal control (WGS 1.8(4)), and stays
with the privacy officer.
"""

import json
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from bekend_proto.clock import day_of, from_milliseconds, milliseconds, month_start
from bekend_proto.v1 import signed_pb2

from bekend_node.config import load_config
from bekend_node.store import Store
from bekend_node.terminal import Config, faults

app = typer.Typer()


@app.command()
def questions(
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="Calendar month, UTC.")],
    config: Config,
) -> None:
    """Write the questions that this node answered in a month, one JSON object per line, on stdout."""
    with faults(as_json=False):
        try:
            month_start(month)
        except ValueError as error:
            raise typer.BadParameter("--month reads YYYY-MM") from error
        store = Store.open(load_config(config).data)
        try:
            for line in question_lines(store, month):
                sys.stdout.write(line + "\n")
        finally:
            store.close()


def question_lines(store: Store, month: str) -> Iterator[str]:
    """A line per question of this month, oldest first; the node's own canary is left out."""
    first = month_start(month)
    year, number = first.year + first.month // 12, first.month % 12 + 1
    until = first.replace(year=year, month=number)
    for payload in store.answered_between(milliseconds(first), milliseconds(until)):
        asked = signed_pb2.Question.FromString(payload)  # checked before it was stored
        if asked.requester != asked.source:
            record = {
                "requester": asked.requester,
                "source": asked.source,
                "purpose": asked.purpose,
                "persons": len(asked.elements),
                "on_behalf_of": asked.on_behalf_of or None,
                "day": day_of(from_milliseconds(asked.time)).isoformat(),
            }
            yield json.dumps(record)
