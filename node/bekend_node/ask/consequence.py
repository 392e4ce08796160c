"""Whether what a lookup showed changed what was decided: asked once, yes or no (FG-50, WGS 1.7(4))."""

import asyncio
from collections.abc import Collection

from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError

from bekend_node.ask.asking import Asking
from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.lapsing import LOOKS_BACK
from bekend_node.store_decisions import Decisions


async def tell(
    asking: Asking, decisions: Decisions, case: str, purposes: Collection[str], *, changed: bool
) -> tuple[str, ...]:
    """Keep it for each of these purposes under which was asked in this case; returns those.

    `purposes`: those that the officer may use. Raises RefusedError when no lookup of this case under one of them is
    known, or when it was told before; StorageError.
    """
    tag, asked = await asyncio.to_thread(_asked, asking, decisions, case, purposes)
    if not asked:
        # The same whether the case is unknown or another's: who may not use its purposes does not hear that it is one.
        raise RefusedError(
            "zaak-onbekend",
            "Onder dit zaaknummer is hier geen vraag gesteld, of alleen voor een doel dat u niet mag gebruiken. "
            "Controleer het nummer.",
        )
    if not await decisions.keep_consequence(tag, asked, milliseconds(asking.clock.now()), changed=changed):
        raise RefusedError("gevolg-bekend", "Voor deze zaak is dit al gemeld. U hoeft niets te doen.")
    return asked


def is_to_be_told(asking: Asking, decisions: Decisions, case: str, purposes: Collection[str]) -> bool:
    """Whether there are among these purposes under which was asked in this case and of which it was not told yet."""
    tag, asked = _asked(asking, decisions, case, purposes)
    return not decisions.consequence_of(tag).issuperset(asked)


def _asked(asking: Asking, decisions: Decisions, case: str, purposes: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """The case's keyed hash, and those of these purposes under which was asked in it."""
    tag = case_tag(asking.case_key, case)
    found = decisions.of_case(tag, milliseconds(asking.clock.now() - LOOKS_BACK)) if tag else []
    asked = {one.purpose for one in found if any(it.allowed for it in one.judged)}
    return tag, tuple(sorted(asked.intersection(purposes)))
