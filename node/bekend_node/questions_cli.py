"""`bekend node questions`: what this node was asked in a month, for `bekend policy simulate`.

Per question: who asked, in whose name, under which purpose, how many persons, on which day, and whether it was by a
combination of name and date. No elements, no moments,
no answer: nothing here says who was asked about, or what came of it. It is internal control (WGS 1.8(4)), and stays
with the privacy officer.
"""

import json
import os
import pwd
import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from bekend_policy.log_use import INTERNAL_CONTROL
from bekend_proto.clock import SystemClock, add_months, day_of, from_milliseconds, milliseconds, month_start
from bekend_proto.read_table import LogRead, append_read
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
            _put_on_record(store, month)
            for line in question_lines(store, month):
                sys.stdout.write(line + "\n")
        finally:
            store.close()


def _put_on_record(store: Store, month: str) -> None:
    """That the log was read, by whom and what for, before anything is shown (FG-30)."""
    first, until = _span(month)
    user = pwd.getpwuid(os.geteuid()).pw_name
    read = LogRead(milliseconds(SystemClock().now()), user, "questions", INTERNAL_CONTROL, first, until)
    store.database.write_sync(lambda conn: append_read(conn, read))


def _span(month: str) -> tuple[int, int]:
    first = month_start(month)
    return milliseconds(first), milliseconds(month_start(add_months(month, 1)))


def question_lines(store: Store, month: str) -> Iterator[str]:
    """A line per question of this month, oldest first; the node's own canary is left out."""
    for payload in store.answered_between(*_span(month)):
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
            if asked.kind_class == signed_pb2.KIND_CLASS_POSSIBLE:
                record["kind_class"] = "possible"
            yield json.dumps(record)
