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
    now = asking.clock.now()
    tag = case_tag(asking.case_key, case)
    found = decisions.of_case(tag, milliseconds(now - LOOKS_BACK)) if tag else []
    purposes = tuple(sorted({one.purpose for one in found if any(it.allowed for it in one.judged)}))
    if not purposes:
        raise RefusedError("zaak-onbekend", "Onder dit zaaknummer is hier geen vraag gesteld. Controleer het nummer.")
    if not await decisions.keep_consequence(tag, purposes, milliseconds(now), changed=changed):
        raise RefusedError("gevolg-bekend", "Voor deze zaak is dit al gemeld. U hoeft niets te doen.")
    return purposes
