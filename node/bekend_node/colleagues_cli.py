"""`bekend node colleagues`: the own list of colleagues and known persons, about whom a second officer always looks.

Numbers are typed, or come from a file or standard input; none is ever shown, and none is kept (FG-37).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from bekend_proto.secret_files import create_secret

from bekend_node.config import load_config
from bekend_node.keys import COLLEAGUES, colleagues_key
from bekend_node.store import Store
from bekend_node.store_colleagues import Colleagues
from bekend_node.terminal import AsJson, Config, faults, read_persons, say

app = typer.Typer(
    name="colleagues",
    help="The own list of colleagues and known persons, about whom a second officer always looks.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

File = Annotated[Path | None, typer.Option(help="A file with a number a line. Without it: typed, or standard input.")]
Kind = Annotated[str, typer.Option(help="Kind of the numbers.")]
CLEARED: Final = "The list is empty. Colleagues.key stays: add everybody anew, or remove it by hand."


@app.command()
def add(config: Config = Path("node.yaml"), file: File = None, kind: Kind = "bsn", as_json: AsJson = False) -> None:
    """Put persons on the list. It holds at once: the next question about one of them waits for a second officer."""
    with faults(as_json), _list(config, make_key=True) as found:
        added = found.add(read_persons(kind, file))
        say(as_json, {"added": added, "count": found.count()}, f"{added} added; {_count(found)}")


@app.command()
def remove(config: Config = Path("node.yaml"), file: File = None, kind: Kind = "bsn", as_json: AsJson = False) -> None:
    """Take persons off the list."""
    with faults(as_json), _list(config) as found:
        removed = found.remove(read_persons(kind, file))
        say(as_json, {"removed": removed, "count": found.count()}, f"{removed} removed; {_count(found)}")


@app.command()
def count(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """How many persons are on the list."""
    with faults(as_json), _list(config) as found:
        say(as_json, {"count": found.count()}, _count(found))


@app.command()
def clear(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Empty the list: for who begins anew, or has lost its key."""
    with faults(as_json), _list(config) as found:
        found.clear()
        say(as_json, {"count": 0}, CLEARED)


@contextmanager
def _list(config: Path, *, make_key: bool = False) -> Iterator[Colleagues]:
    settings = load_config(config)
    if make_key and colleagues_key(settings.keys) is None:
        create_secret(settings.keys / COLLEAGUES)
    store = Store.open(settings.data)
    try:
        yield Colleagues(store.database, lambda: colleagues_key(settings.keys))
    finally:
        store.close()


def _count(found: Colleagues) -> str:
    number = found.count()
    return f"{number} person{'' if number == 1 else 's'} on the list."
