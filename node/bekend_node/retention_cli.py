"""`bekend node retention`: what may be destroyed and when, and the signed note that lets it be.

The note (bewaarbesluit) says up to which day the audit was done that the law demands, or that everything is kept for a
legal claim. Who signed it decides, not who installs it; it is verified, logged, and kept beside what it is about.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.audited import audited_until, open_audited
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.retention import Kept, kept_in, needs_audit, open_kept, parties_of, term_years
from bekend_policy.sign import write_atomic
from bekend_proto.clock import SystemClock, day_of, milliseconds
from bekend_proto.errors import KeysError, StaleError

from bekend_node.config import NodeConfig, load_config
from bekend_node.store import Store
from bekend_node.store_retention import RetentionStore
from bekend_node.terminal import AsJson, Config, faults, say

app = typer.Typer(
    name="retention",
    help="What may be destroyed and when: the terms, and the signed note behind it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def draft(  # noqa: PLR0917 - options have names on the command line
    reason: Annotated[str, typer.Option(help="Where the audit's report or the claim is found. In Dutch.")],
    config: Config = Path("node.yaml"),
    audited: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day that the audit covered.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--result", help="A result that the auditor signed (`bekend audit toets`), in its place; often."),
    ] = None,
    claim: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Keep everything up to and including this day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the text of the next note, for the ondertekenaar and the jurist to sign off line."""
    with faults(as_json):
        settings = load_config(config)
        with _rows(settings) as rows:
            before = kept_in(rows.newest_note())
        number = 1 + (before.number if before else 0)
        until = _day(audited) or (_audited(settings, results, before) if results else None)
        kept = Kept(settings.oin, number, until, _day(claim), reason)
        path = config.resolve().parent / f"bewaarbesluit-{number}"
        write_atomic(path, kept.text().encode())
        say(
            as_json,
            {"draft": str(path), "number": number},
            f"{path}: have it signed with every key that the covenant pins for {settings.oin}:",
            f"  bekend policy sign {path.name} --sleutel ondertekenaar.key",
        )


@app.command()
def install(
    note: Annotated[Path, typer.Argument(metavar="NOTE", help="The signed note.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Put a signed note into force. What it lets be destroyed goes within ten minutes, and does not come back."""
    with faults(as_json):
        settings = load_config(config)
        now = SystemClock().now()
        content = note.read_bytes()
        participant = load_covenant(settings.covenant).participants.get(settings.oin)
        if participant is None:
            raise KeysError(f"{settings.covenant} names no participant {settings.oin}")
        kept = open_kept(content, settings.oin, participant.keys, day_of(now))
        with _rows(settings) as rows:
            if not rows.keep_note(kept.number, content, milliseconds(now)):
                raise StaleError(f"a note with number {kept.number} or a higher one is in force: draft a new one")
        facts = {"number": kept.number, "audited": _text(kept.audited), "claim": _text(kept.claim)}
        say(as_json, facts, *_lines(kept))


@app.command()
def show(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """The term of each purpose, whether an audit stands before its end, and the note in force."""
    with faults(as_json):
        settings = load_config(config)
        covenant = load_covenant(settings.covenant)
        with _rows(settings) as rows:
            kept = kept_in(rows.newest_note())
        terms = list(_terms(covenant, settings.oin))
        facts = {
            "purposes": [{"purpose": id_, "years": years, "audit": audit} for id_, years, audit in terms],
            "note": None if kept is None else {"number": kept.number, "audited": _text(kept.audited),
                                               "claim": _text(kept.claim)},
        }  # fmt: skip
        bound = {True: ", and only what an audit covered", False: ""}
        lines = [f"{id_}: {years} years{bound[audit]}" for id_, years, audit in terms]
        say(as_json, facts, *lines, *(_lines(kept) if kept else ["no note in force: what needs an audit is kept"]))


def _terms(covenant: Covenant, own: str) -> Iterator[tuple[str, int, bool]]:
    for id_ in sorted(covenant.purposes):
        parties = parties_of(covenant, id_, own, *covenant.sources(id_))
        yield id_, term_years(covenant, id_, parties), needs_audit(covenant, id_, parties)


def _lines(kept: Kept) -> list[str]:
    lines = [f"note {kept.number} of {kept.by}: {kept.reason}"]
    lines += [f"audited up to and including {kept.audited}"] if kept.audited else []
    lines += [f"everything is kept up to and including {kept.claim}"] if kept.claim else []
    return lines


@contextmanager
def _rows(settings: NodeConfig) -> Iterator[RetentionStore]:
    store = Store.open(settings.data)
    try:
        yield RetentionStore(store.database)
    finally:
        store.close()


def _audited(settings: NodeConfig, results: list[Path], before: Kept | None) -> date:
    """The last day of results that join what was audited before, each signed by the auditor of the covenant."""
    covenant = load_covenant(settings.covenant)
    found = [open_audited(one.read_bytes(), covenant) for one in results]
    return audited_until(found, settings.oin, before.audited if before else None)


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
