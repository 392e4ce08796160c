"""Ages that the covenant asks (FG-38), worked out from the verified date of birth of each person.

A condition of the form `leeftijd` with a `peildag` is not confirmed by an officer. Its age is that of each person on
the day of asking, or on the date that was stated for another condition, and it holds where it holds for all persons of
the question. The rules judge whole years; what is recorded is the condition's id, where it held. The date of birth is
in memory alone, as the persons are: in no record, log, receipt or address, and in nothing that leaves this node.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date

from bekend_policy.conditions import ASKING_DAY, Condition, stated, why_not
from bekend_policy.decide import attested_by
from bekend_policy.model import Covenant, Purpose
from bekend_proto.errors import RefusedError
from bekend_proto.identifiers import InvalidIdentifier
from bekend_proto.names import birth_date


class AgeRefusedError(RefusedError):
    """An age does not hold, or there is no date of birth to know it by."""


def age_conditions(purpose: Purpose) -> tuple[Condition, ...]:
    """Those of a purpose that are worked out from a date of birth."""
    return tuple(one for one in purpose.conditions if one.by_birth)


def ages_asked(covenant: Covenant, purpose: Purpose) -> dict[str, tuple[Condition, ...]]:
    """Such conditions by source, for those that have one."""
    ages = age_conditions(purpose)
    # Hundreds of sources are not looked through for a condition that the purpose does not have.
    if not ages:
        return {}
    found = {}
    for oin, source in covenant.sources(purpose.id).items():
        attests = set(attested_by(purpose, source))
        if own := tuple(one for one in ages if one.id in attests):
            found[oin] = own
    return found


def verified_birth(text: str, today: date) -> date:
    """A date of birth as an officer types it. Raises InvalidIdentifier, in Dutch: none, in part unknown, or to come."""
    born = birth_date(text)
    if born > today:
        raise InvalidIdentifier("De geboortedatum ligt in de toekomst. Controleer dag, maand en jaar.")
    return born


def age_on(born: date, day: date) -> int:
    """Whole years of age on a day. Who was born on 29 February has a birthday on 1 March in other years."""
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def with_ages(
    purpose: Purpose, attested: Collection[str], births: Sequence[date | None], today: date
) -> frozenset[str]:
    """What is stated, as the rules judge it: with the age of each person, and never one that an officer typed."""
    ages = age_conditions(purpose)
    if not ages:
        return frozenset(attested)
    own = _without(ages, attested)
    statements = stated(own)
    worked_out = {
        f"{one.id}={_years(born, _day_of(one, statements, today))}" for one in ages if any(births) for born in births
    }
    return own | worked_out


def held(purpose: Purpose, attested: Collection[str], births: Sequence[date | None], today: date) -> frozenset[str]:
    """What is stated, as it is kept and shown: with the id of an age that held for all, and without anybody's age."""
    ages = age_conditions(purpose)
    if not ages:
        return frozenset(attested)
    statements = stated(with_ages(purpose, attested, births, today))
    return _without(ages, attested) | {one.id for one in ages if why_not(one, statements, today) is None}


def _without(ages: Sequence[Condition], attested: Collection[str]) -> frozenset[str]:
    ids = {one.id for one in ages}
    return frozenset(one for one in attested if one.partition("=")[0] not in ids)


def _day_of(condition: Condition, statements: Mapping[str, list[str]], today: date) -> date | None:
    """The day on which this age counts; None where it was not stated as one day."""
    if condition.reference_day == ASKING_DAY:
        return today
    match statements.get(str(condition.reference_day)):
        case [one]:
            try:
                return date.fromisoformat(one)
            except ValueError:
                return None
    return None


def _years(born: date | None, day: date | None) -> str:
    """Whole years; "?" where they cannot be known, which fits no age."""
    return "?" if born is None or day is None or born > day else str(age_on(born, day))
