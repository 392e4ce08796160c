"""`bekend broker log`: what was passed on and decided here, in the forms of the standards.

The database is read beside the running broker: whoever may read its file may run this, and is named on the record.
"""

import os
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_policy.decision_log import decision_records
from bekend_policy.load import load_covenant
from bekend_policy.log_output import days_of, write_records
from bekend_policy.log_use import Days, check_use
from bekend_policy.processing_log import access_record, passed_on_records
from bekend_proto import trace as traces
from bekend_proto.clock import SystemClock, milliseconds
from bekend_proto.errors import RefusedError
from bekend_proto.read_table import LogRead

from bekend_broker.config import BrokerConfig, load_config
from bekend_broker.store import Store
from bekend_broker.store_decisions import Decisions
from bekend_broker.terminal import Config, faults

REFUSED: Final = 4

app = typer.Typer(name="log", help="What was passed on (ldv) and decided (adl) here.", no_args_is_help=True)

First = Annotated[str, typer.Option("--from", metavar="DAY", help="First day, yyyy-mm-dd.")]
Last = Annotated[str, typer.Option("--to", metavar="DAY", help="Last day.")]
UsedFor = Annotated[str, typer.Option("--for", help="What it is read for, as the covenant's `gebruik_log` names it.")]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line, as the standard has it.")]
Trace = Annotated[str, typer.Option("--trace", help="This trace only: 32 characters.")]


@app.command()
def ldv(  # noqa: PLR0917 - options have names on the command line
    first: First, last: Last, used_for: UsedFor, config: Config = Path("broker.yaml"), trace: Trace = "",
    jsonl: Jsonl = False,
) -> None:  # fmt: skip
    """The questions that were passed on (Logboek Dataverwerkingen). The reading itself is put on the record."""
    _export("ldv", days_of(first, last), used_for, config=config, trace=trace, jsonl=jsonl)


@app.command()
def adl(  # noqa: PLR0917 - options have names on the command line
    first: First, last: Last, used_for: UsedFor, config: Config = Path("broker.yaml"), trace: Trace = "",
    jsonl: Jsonl = False,
) -> None:  # fmt: skip
    """The decisions (Authorization Decision Log). The reading itself is put on the record."""
    _export("adl", days_of(first, last), used_for, config=config, trace=trace, jsonl=jsonl)


def _export(form: str, days: Days, used_for: str, *, config: Path, trace: str, jsonl: bool) -> None:
    with faults(as_json=False):
        settings = load_config(config)
        try:
            single = days.each()
            purpose = check_use(load_covenant(settings.covenant), used_for)
        except RefusedError as refusal:
            sys.stderr.write(f"{refusal.reason} ({refusal.rule})\n")
            raise typer.Exit(REFUSED) from None
        store = Store.of(settings)
        try:
            decisions = Decisions(store.database)
            at = milliseconds(SystemClock().now())
            user = pwd.getpwuid(os.geteuid()).pw_name
            decisions.keep_read(LogRead(at, user, form, purpose, *days.span, trace))
            for day in single:
                found = _records(form, decisions, settings, day)
                write_records((one for one in found if trace in {"", one["trace_id"]}), jsonl=jsonl)
        finally:
            store.close()


def _records(form: str, decisions: Decisions, settings: BrokerConfig, day: Days) -> Iterator[dict[str, Any]]:
    if form == "ldv":
        for entry, at in decisions.accesses(*day.span):
            yield access_record(settings.oin, entry, at, traces.BROKER)
    for one in decisions.between(*day.span):
        if form == "adl":
            yield from decision_records(one, traces.BROKER, settings.oin)
        else:
            yield from passed_on_records(one, settings.oin)
