"""`bekend broker retention`: the signed note that says what was audited, or must be kept for a claim."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.load import load_covenant
from bekend_policy.retention import Kept, kept_in, open_kept
from bekend_policy.sign import write_atomic
from bekend_proto.clock import SystemClock, day_of, milliseconds
from bekend_proto.errors import StaleError

from bekend_broker.config import BrokerConfig, load_config
from bekend_broker.retention import months_over
from bekend_broker.store import Store
from bekend_broker.store_retention import RetentionStore
from bekend_broker.terminal import AsJson, Config, faults, say

app = typer.Typer(
    name="retention",
    help="What may be destroyed and when: the signed note behind it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def draft(
    reason: Annotated[str, typer.Option(help="Where the audits' reports or the claim are found. In Dutch.")],
    config: Config = Path("broker.yaml"),
    audited: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day that the audits of all partners covered.")
    ] = None,
    claim: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Keep everything up to and including this day.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the text of the next note, for the operator's beheerder to sign off line."""
    with faults(as_json):
        settings = load_config(config)
        newest = _newest(settings)
        number = 1 + (newest.number if newest else 0)
        days = [None if it is None else it.date() for it in (audited, claim)]
        path = config.resolve().parent / f"bewaarbesluit-{number}"
        write_atomic(path, Kept(settings.oin, number, days[0], days[1], reason).text().encode())
        say(
            as_json,
            {"draft": str(path), "number": number},
            f"{path}: sign it off line:  bekend policy sign {path.name} --sleutel beheerder.key",
        )


@app.command()
def install(
    note: Annotated[Path, typer.Argument(metavar="NOTE", help="The signed note.")],
    config: Config = Path("broker.yaml"),
    as_json: AsJson = False,
) -> None:
    """Put a signed note into force. What it lets be destroyed goes within ten minutes, and does not come back."""
    with faults(as_json):
        settings = load_config(config)
        now = SystemClock().now()
        covenant = load_covenant(settings.covenant)
        content = note.read_bytes()
        kept = open_kept(content, settings.oin, (settings.anchor,), day_of(now))
        store = Store.of(settings)
        try:
            if not RetentionStore(store.database).keep_note(kept.number, content, milliseconds(now)):
                raise StaleError(f"a note with number {kept.number} or a higher one is in force: draft a new one")
        finally:
            store.close()
        months = months_over(settings.keys, (covenant,), kept, now)
        say(
            as_json,
            {"number": kept.number, "months": months},
            f"note {kept.number} is in force; record keys that go now: {', '.join(months) or 'none'}",
        )


def _newest(settings: BrokerConfig) -> Kept | None:
    store = Store.of(settings)
    try:
        return kept_in(RetentionStore(store.database).newest_note())
    finally:
        store.close()
