"""Whether what a lookup showed changed what was decided: asked once, yes or no (FG-50, WGS 1.7(4))."""

from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError

from bekend_node.ask.asking import Asking
from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.lapsing import LOOKS_BACK
from bekend_node.store_decisions import Decisions


async def tell(asking: Asking, decisions: Decisions, case: str, *, changed: bool) -> tuple[str, ...]:
    """Keep it for every purpose under which was asked in this case; returns these purposes.

    Raises RefusedError when no lookup of this case is known, or when it was told before; StorageError.
    """
    tag, purposes = _asked(asking, decisions, case)
    if not purposes:
        raise RefusedError("zaak-onbekend", "Onder dit zaaknummer is hier geen vraag gesteld. Controleer het nummer.")
    if not await decisions.keep_consequence(tag, purposes, milliseconds(asking.clock.now()), changed=changed):
        raise RefusedError("gevolg-bekend", "Voor deze zaak is dit al gemeld. U hoeft niets te doen.")
    return purposes


def is_to_be_told(asking: Asking, decisions: Decisions, case: str) -> bool:
    """Whether there are purposes under which was asked in this case and of which it was not told yet."""
    tag, purposes = _asked(asking, decisions, case)
    return not decisions.consequence_of(tag).issuperset(purposes)


def _asked(asking: Asking, decisions: Decisions, case: str) -> tuple[str, tuple[str, ...]]:
    """The case's keyed hash, and the purposes under which was asked in it."""
    tag = case_tag(asking.case_key, case)
    found = decisions.of_case(tag, milliseconds(asking.clock.now() - LOOKS_BACK)) if tag else []
    return tag, tuple(sorted({one.purpose for one in found if any(it.allowed for it in one.judged)}))
