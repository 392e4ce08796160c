"""`bekend policy openbaar`: the page on which a federation tells residents what it does (AVG 12 to 14). Dutch, B1."""

from dataclasses import dataclass
from datetime import date
from itertools import groupby

from bekend_policy.bulletin import Joint, Topic
from bekend_policy.bulletin_page import apart, said, share, tables, thousands
from bekend_policy.model import Covenant, Mode, Purpose
from bekend_policy.pages import environment
from bekend_policy.wording import KINDS, MODES, NUMBERS, STATUSES, asker, listed, on_day, party


@dataclass(frozen=True)
class Told:
    """A purpose as residents read it. `asked`: how a source answers, and which sources do so."""

    purpose: Purpose
    status: str
    askers: str
    asked: tuple[tuple[str, str], ...]
    never: str
    by_number: str


def public_page(covenant: Covenant, day: date, joint: Joint | None = None) -> str:
    """The page of this covenant on this day, with the figures of the bulletins that were given."""
    made = environment(covenant)
    made.globals.update(kinds=KINDS, statuses=STATUSES, said=said, apart=apart, share=share, thousands=thousands)
    return made.get_template("openbaar.html.j2").render(
        covenant=covenant,
        day=day,
        purposes=[_told(covenant, one, day) for one in covenant.purposes.values()],
        joint=joint,
        tables=[] if joint is None else [it for it in tables(joint, covenant) if it.topic in _SHOWN],
    )


_SHOWN = {Topic.ASKED, Topic.REFUSED}


def status(covenant: Covenant, purpose: Purpose, day: date) -> str:
    """How a purpose stands on a day."""
    last = min(purpose.last_day or covenant.agreement.last_day, covenant.agreement.last_day)
    if not purpose.in_service:
        return "buiten dienst: niemand vraagt hiervoor"
    if day < covenant.agreement.first_day:
        return f"nog niet in gebruik: vanaf {on_day(covenant.agreement.first_day)}"
    if day > last:
        return f"gestopt op {on_day(last)}"
    if purpose.untested:
        return f"op proef tot en met {on_day(last)}: niet elke grondslag is door een jurist getoetst"
    return f"in gebruik tot en met {on_day(last)}"


def _by_number(purpose: Purpose) -> str:
    numbers = [NUMBERS[it] for it in sorted(purpose.kinds) if it in NUMBERS]
    return f"Met {listed(numbers, 'of')}." if numbers else ""


def _told(covenant: Covenant, purpose: Purpose, day: date) -> Told:
    askers = [party(covenant, it) for it in purpose.asker.organisations]
    askers += [asker(covenant, it.requester, it.principal) for it in purpose.asker.mandates]
    terms = sorted(purpose.source_terms.items(), key=lambda it: list(Mode).index(it[1].mode))
    groups = [
        (mode, listed([party(covenant, name) for name, _ in found]))
        for mode, found in groupby(terms, key=lambda it: it[1].mode)
    ]
    return Told(
        purpose,
        status(covenant, purpose, day),
        listed(dict.fromkeys(askers)),
        tuple((MODES[mode], who) for mode, who in groups if mode is not Mode.NEVER),
        next((who for mode, who in groups if mode is Mode.NEVER), ""),
        _by_number(purpose),
    )
