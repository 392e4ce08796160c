"""The justification of a question: three short texts where the purpose asks for them, and nothing that names anybody.

FG-08: why it is needed (noodzaak), why by this means (proportionaliteit), why not with less (subsidiariteit). Written
as one text with three marked parts:

    nodig: ... middel: ... minder: ...

Where the purpose asks it, each further person in a question has a text of its own besides.
"""

import re
from collections.abc import Sequence

from bekend_proto.errors import RefusedError

from bekend_policy.terms import Purpose

PARTS = {
    "nodig": "waarom dit nodig is",
    "middel": "waarom met dit middel",
    "minder": "waarom het niet met minder kan, of eerst met de persoon zelf",
}
SHORTEST, LONGEST = 10, 600
"""Characters of each part."""

_PART = re.compile(rf"\b({'|'.join(PARTS)}):", re.IGNORECASE)
# As a BSN is written: in one piece, or 1234.56.789, or 123 456 789. A parketnummer is none of these.
_BSN = re.compile(r"(?<![\d/])(?:\d{9}|\d{4}[. ]\d{2}[. ]\d{3}|\d{3}[. ]\d{3}[. ]\d{3})(?![\d/])")
_EIGHT = re.compile(r"(?<![\d/-])\d{8}(?![\d/-])")
_DATE = re.compile(r"\b(?:\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d{2}|(?:19|20)\d{2}-\d{2}-\d{2})\b")
_NAME = re.compile(r"(?<![.:!?] )(?<!^)\b[A-Z][a-zà-ÿ]+ (?:(?:van|de|der|den|ten|ter|el|al|ben) )*[A-Z][a-zà-ÿ]{2,}\b")


def parts_of(text: str) -> dict[str, str]:
    """The marked parts of a justification, by their marks in lower case."""
    pieces = _PART.split(text)[1:]
    return {mark.lower(): content.strip(" \n;") for mark, content in zip(pieces[::2], pieces[1::2], strict=True)}


def justification_fault(purpose: Purpose, text: str | None) -> tuple[str, str, str] | None:
    """Rule, reason and remedy in Dutch when this text may not stand under the purpose, else None.

    Neither ever repeats the text.
    """
    if text and holds_bsn(text):
        return "motivering", "In de motivering staat een nummer dat een BSN kan zijn", "Haal het nummer weg."
    if not purpose.weighing:
        return None
    parts = parts_of(text or "")
    for mark, meaning in PARTS.items():
        if not SHORTEST <= len(parts.get(mark, "")) <= LONGEST:
            return (
                "afweging",
                f"Het doel '{purpose.title}' vraagt {meaning}: {SHORTEST} tot {LONGEST} tekens na '{mark}:'",
                f"Schrijf in de motivering: {' … '.join(f'{it}:' for it in PARTS)} …",
            )
    return None


def reasons_fault(
    purpose: Purpose, persons: int, justification: str | None, reasons: Sequence[str]
) -> tuple[str, str, str] | None:
    """Rule, reason and remedy in Dutch when these texts, one per person, do not fit the purpose; else None.

    The first person may do without: the justification of the question is about that one. Two persons with one and the
    same text have none of their own. Neither reason nor remedy ever repeats a text.
    """
    if any(holds_bsn(text) for text in reasons):
        reason = "In de motivering van een persoon staat een nummer dat een BSN kan zijn"
        return "motivering-persoon", reason, "Haal het nummer weg."
    if not purpose.own_reasons or persons == 1:
        return None
    given = [*reasons, *[""] * (persons - len(reasons))]
    texts = [text.strip() for place, text in enumerate(given) if place or text.strip()]
    for place, text in enumerate(given[1:], 2):
        if not SHORTEST <= len(text.strip()) <= LONGEST:
            return (
                "motivering-persoon",
                f"Onder dit doel heeft elke persoon een eigen motivering, en die van persoon {place} past niet",
                f"Schrijf {SHORTEST} tot {LONGEST} tekens: waarom ook deze persoon.",
            )
    if len({" ".join(text.casefold().split()) for text in [*texts, justification or ""]}) <= len(texts):
        reason = "Twee personen hebben dezelfde motivering"
        return "motivering-persoon", reason, "Schrijf per persoon waarom juist die persoon."
    return None


def check_reason(text: str, rule: str) -> str:
    """A reason that is kept on the record, trimmed. Raises RefusedError under this rule; it never repeats the text."""
    reason = text.strip()
    if not SHORTEST <= len(reason) <= LONGEST:
        raise RefusedError(rule, f"Schrijf waarom: {SHORTEST} tot en met {LONGEST} tekens.")
    if holds_bsn(reason):
        raise RefusedError(rule, "In de reden staat een nummer dat een BSN kan zijn. Haal het weg.")
    return reason


def warnings(text: str) -> list[str]:
    """What in a justification looks like it names somebody; a warning in Dutch each, which never repeats the text."""
    found = []
    if _EIGHT.search(text):
        found.append("In de motivering staat een nummer van acht cijfers. Is het een BSN? Haal het dan weg.")
    if _DATE.search(text):
        found.append("In de motivering staat een datum. Is het een geboortedatum? Haal hem dan weg.")
    if _NAME.search(text):
        found.append("In de motivering staat misschien een naam. Noem niemand bij naam.")
    return found


def holds_bsn(text: str) -> bool:
    """Whether something in a text is written as a BSN and passes the 11-proof."""
    return any(_is_bsn(re.sub(r"\D", "", match.group())) for match in _BSN.finditer(text))


def _is_bsn(digits: str) -> bool:
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return digits != "0" * 9 and sum(w * int(d) for w, d in zip(weights, digits, strict=True)) % 11 == 0
