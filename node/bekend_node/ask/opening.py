"""Opening a purpose: filters are fetched before a person is named, and the officer sees what may be expected."""

import asyncio
from collections.abc import Sequence

from bekend_proto import logs
from bekend_proto.errors import BekendError, code_name

from bekend_node.ask.asking import Asking
from bekend_node.ask.filters_held import FilterShelf
from bekend_node.classes import CERTAIN, CLASSES, POSSIBLE, FilterId, name_of


async def open_source(
    asking: Asking, shelf: FilterShelf, purpose: str, oin: str, on_behalf_of: str | None
) -> str | None:
    """What went wrong with the first filter of a source: that of the numbers, where it is asked by one."""
    source = asking.covenant.sources(purpose).get(oin)
    classes = [one for one in CLASSES if source is not None and source.kinds_of(one)] or [CERTAIN]
    found = await asyncio.gather(
        *(_open_filter(shelf, FilterId(purpose, kind_class), oin, on_behalf_of) for kind_class in classes)
    )
    return found[0]


async def _open_filter(shelf: FilterShelf, id_: FilterId, oin: str, on_behalf_of: str | None) -> str | None:
    try:
        await shelf.current(id_, oin, on_behalf_of)
    except BekendError as error:
        purpose, kinds = id_.purpose, name_of(id_.kind_class)
        code = code_name(error.code)
        logs.log(logs.FILTER_MISSED, source=oin, purpose=purpose, kinds=kinds, code=code, detail=error.detail)
        return code
    return None


def is_open(asking: Asking, shelf: FilterShelf, purpose: str, oin: str) -> bool:
    """Whether every filter of a source is at hand."""
    source = asking.covenant.sources(purpose).get(oin)
    return source is not None and all(
        shelf.at_hand(FilterId(purpose, one), oin) is not None for one in CLASSES if source.kinds_of(one)
    )


async def expectations(
    asking: Asking, shelf: FilterShelf, purpose: str, sources: Sequence[str]
) -> dict[str, dict[str, str | None]]:
    """Per source: until when a colleague there may take (ISO 8601), None when it answers at once; opening hours.

    `possible_until`: the same for a question by a combination, None where it is not asked by one.
    """
    return {oin: await _expected(asking, shelf, purpose, oin) for oin in sources}


async def _expected(asking: Asking, shelf: FilterShelf, purpose: str, oin: str) -> dict[str, str | None]:
    source, held = asking.covenant.sources(purpose)[oin], shelf.at_hand(FilterId(purpose, CERTAIN), oin)
    by_hand = held.by_hand if held is not None else not source.mode.by_machine
    now, possible = asking.clock.now(), source.term_of(POSSIBLE)
    until = now + source.reply_term if by_hand and source.reply_term is not None else None
    try:
        hours = (await asking.manifest_of(oin)).opening_hours
    except BekendError:
        hours = None
    return {
        "until": until.isoformat(timespec="seconds") if until is not None else None,
        "possible_until": (now + possible).isoformat(timespec="seconds") if possible is not None else None,
        "opening_hours": hours,
    }
