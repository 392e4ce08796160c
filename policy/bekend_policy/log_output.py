"""How commands show records of the log: one JSON object a line, or a line a person can read."""

import json
import sys
from collections.abc import Iterable
from datetime import date
from typing import Any

import typer
from bekend_proto.clock import AMSTERDAM, from_milliseconds

from bekend_policy.log_use import Days


def days_of(first: str, last: str) -> Days:
    """The days of `--from` and `--to`. Raises typer.BadParameter for what is no day."""
    try:
        return Days(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        raise typer.BadParameter("een dag is jjjj-mm-dd, bijvoorbeeld 2026-12-31") from None


def write_records(records: Iterable[dict[str, Any]], *, jsonl: bool) -> None:
    """Write records to stdout as they come."""
    for record in records:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":")) if jsonl else line_of(record)
        sys.stdout.write(text + "\n")


def line_of(record: dict[str, Any]) -> str:
    """A record of either log, or of the list of readings, as one line in Dutch."""
    at = from_milliseconds(record.get("start_time") or record.get("timestamp") or record.get("at") or 0)
    when = f"{at.astimezone(AMSTERDAM):%d-%m-%Y %H:%M:%S}"
    if "used_for" in record:
        return f"{when}  {record['user']} las {record['log']} voor {record['used_for']}"
    if "body" not in record:
        activity = record["attributes"]["dpl.core.processing_activity_id"]
        return f"{when}  {record['name']} ({record['status']})  {activity}  {record['trace_id']}"
    request, response = record["body"]["adl.core.request"], record["body"]["adl.core.response"]
    resource = request["resource"]
    verdict = "mag" if response["decision"] else "mag niet"
    return (
        f"{when}  {request['subject']['id']} {verdict} {request['action']['name']} bij "
        f"{resource['properties']['bron']} voor {resource['id'] or 'een onbekend doel'} "
        f"(regel {response['context']['id']})  {record['trace_id']}"
    )
