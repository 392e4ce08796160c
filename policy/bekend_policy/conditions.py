"""Conditions on a purpose: who can check one, in what form the requester states it, and whether what is stated holds.

A condition is stated as its id, or as `id=value` where its form asks a value: a date, an age in whole years, one of
the values that the covenant lists. No form asks for anything that names a person.

An age with a `peildag` is not typed (FG-38). The requester's node works it out from the verified date of birth of each
person, and states the years; its id alone says that it held for all of them. No date of birth comes as far as here.
"""

import calendar
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field, model_validator

from bekend_policy.scalars import Slug, Text, Whole, rule_fault
from bekend_policy.strict_yaml import StrictModel
from bekend_policy.words import CheckedBy, ConditionForm

DATED = {ConditionForm.DATE, ConditionForm.CONSENT}
_MONTHS = Annotated[Whole, Field(le=120)]
_YEARS = Annotated[Whole, Field(le=120)]
ASKING_DAY: Final = "vraag"
"""`peildag`: the day on which is asked."""


class Condition(StrictModel):
    """A condition on a purpose, and who can check it."""

    id: Slug
    text: Text = Field(alias="tekst")
    checked_by: CheckedBy = Field(alias="controle")
    article: Text | None = Field(default=None, alias="artikel")
    form: ConditionForm = Field(default=ConditionForm.CONFIRM, alias="vorm")
    months_back: _MONTHS | None = Field(default=None, alias="maanden_terug")
    """For a date: how many months it may lie in the past; 0: not in the past."""
    months_ahead: _MONTHS | None = Field(default=None, alias="maanden_vooruit")
    """For a date: how many months it may lie in the future; 0: not in the future."""
    from_age: _YEARS | None = Field(default=None, alias="van")
    to_age: _YEARS | None = Field(default=None, alias="tot_en_met")
    reference_day: Slug | None = Field(default=None, alias="peildag")
    """The day on which the age counts: that of asking, or the date that another condition states. None: typed."""
    values: tuple[Slug, ...] = Field(default=(), alias="waarden")

    @model_validator(mode="after")
    def _complete(self) -> "Condition":
        months = self.months_back is not None and self.months_ahead is not None
        some_months = self.months_back is not None or self.months_ahead is not None
        ages = self.from_age is not None and self.to_age is not None
        some_ages = self.from_age is not None or self.to_age is not None
        wants = (self.form in DATED, self.form is ConditionForm.AGE, self.form is ConditionForm.CHOICE)
        if wants != (months, ages, bool(self.values)) or wants[:2] != (some_months, some_ages):
            raise rule_fault(
                f"voorwaarde '{self.id}' heeft niet wat bij de vorm '{self.form}' hoort",
                "datum en toestemming: maanden_terug en maanden_vooruit; leeftijd: van en tot_en_met; keuze: waarden.",
                "id",
            )
        if self.reference_day is not None and self.form is not ConditionForm.AGE:
            raise rule_fault(
                "alleen een leeftijd heeft een peildag", "Kies vorm: leeftijd, of haal haar weg.", "peildag"
            )
        if self.form is not ConditionForm.CONFIRM and self.checked_by is not CheckedBy.REQUESTER:
            raise rule_fault(f"'{self.form}' kan alleen de vrager opgeven", "Kies controle: vrager.", "controle")
        if self.from_age is not None and self.to_age is not None and self.from_age > self.to_age:
            raise rule_fault("'van' is hoger dan 'tot_en_met': niemand voldoet", "Wissel ze om.", "van")
        return self

    @property
    def by_birth(self) -> bool:
        """Whether the node works it out from dates of birth, and nobody states it."""
        return self.reference_day is not None

    @property
    def example(self) -> str:
        """How a value looks, for who must give one; empty when the id alone is enough."""
        if self.form in DATED:
            return "jjjj-mm-dd"
        if self.form is ConditionForm.AGE:
            return "leeftijd in jaren"
        return "|".join(self.values)


def stated(attested: Iterable[str]) -> dict[str, list[str]]:
    """Condition id -> the values stated for it (an empty text for an id alone)."""
    found: dict[str, list[str]] = {}
    for one in attested:
        condition_id, _, value = one.partition("=")
        found.setdefault(condition_id, []).append(value)
    return found


def why_not(condition: Condition, statements: Mapping[str, list[str]], today: date) -> str | None:
    """Why what was stated does not meet the condition, in Dutch; None when it does. `today`: in Europe/Amsterdam."""
    values = statements.get(condition.id)
    if not values:
        return "er is geen geboortedatum" if condition.by_birth else "niet bevestigd"
    reasons = (_value_fails(condition, value, today) for value in values)
    return next((reason for reason in reasons if reason is not None), None)


def _value_fails(condition: Condition, value: str, today: date) -> str | None:
    if condition.form in DATED:
        return _date_fails(condition, value, today)
    if condition.form is ConditionForm.AGE:
        return _age_fails(condition, value)
    if condition.form is ConditionForm.CHOICE:
        return None if value in condition.values else f"kies uit {', '.join(condition.values)}"
    return None if not value else "hier hoort geen waarde achter"


def _date_fails(condition: Condition, value: str, today: date) -> str | None:
    day = _day(value)
    if day is None:
        return "geef een datum: jjjj-mm-dd"
    if day < plus_months(today, -(condition.months_back or 0)):
        ago = f"meer dan {condition.months_back} maanden geleden" if condition.months_back else "in het verleden"
        return f"{value} ligt {ago}"
    if day > plus_months(today, condition.months_ahead or 0):
        ahead = f"meer dan {condition.months_ahead} maanden vooruit" if condition.months_ahead else "in de toekomst"
        return f"{value} ligt {ahead}"
    return None


def _age_fails(condition: Condition, value: str) -> str | None:
    if condition.by_birth and not value:
        return None
    if condition.by_birth and not re.fullmatch(r"[0-9]{1,3}", value):
        return "de leeftijd is niet te bepalen"
    if not re.fullmatch(r"[0-9]{1,3}", value):
        return "geef de leeftijd in hele jaren"
    fits = (condition.from_age or 0) <= int(value) <= (condition.to_age or 0)
    return None if fits else f"de leeftijd ligt niet tussen {condition.from_age} en {condition.to_age} jaar"


def _day(value: str) -> date | None:
    try:
        return date.fromisoformat(value) if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value) else None
    except ValueError:
        return None


@lru_cache(maxsize=128)
def plus_months(day: date, months: int) -> date:
    """The same day so many months later (or earlier), or the last day of that month where it has no such day."""
    years, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
