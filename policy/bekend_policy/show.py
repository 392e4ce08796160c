"""`bekend policy show`: a purpose as a person reads it. Nothing of the file is left out, nothing is added."""

from collections.abc import Iterator
from typing import Any

from pydantic_core import to_jsonable_python

from bekend_policy.conditions import ASKING_DAY
from bekend_policy.model import Condition, Covenant, Mode, Purpose, Source
from bekend_policy.terms import CheckedBy
from bekend_policy.wording import KINDS, MODES, count, ground, limits, listed, on_day, party, term, wrapped
from bekend_policy.words import ConditionForm

_CHECKED = {
    CheckedBy.QUESTION: "iedere partij ziet het aan de vraag",
    CheckedBy.REQUESTER: "de vrager staat ervoor in",
    CheckedBy.SOURCE: "de bron gaat het na",
}
_WORKED_OUT = "het systeem van de vrager rekent het uit, uit de gecontroleerde geboortedatum van elke persoon"


def purpose_facts(covenant: Covenant, purpose: Purpose) -> dict[str, Any]:
    """The purpose with the keys of its file, and who that is in this covenant (`deelnemers`)."""
    # Not in pydantic's JSON mode: it knows nothing of the types that strict YAML gives, and warns about each.
    content = to_jsonable_python(purpose.model_dump(by_alias=True, exclude_none=True))
    return {
        **content,
        "identificatie": sorted(purpose.kinds),
        "deelnemers": {
            "vragers": [
                {"oin": it.oin, "namens": sorted(it.on_behalf_of), "voor_zichzelf": it.for_itself}
                for it in covenant.requesters(purpose.id).values()
            ],
            "bronnen": [{"oin": it.oin, "modus": it.mode} for it in covenant.sources(purpose.id).values()],
        },
        "niet_getoetst": [str(it) for it in purpose.untested],
    }


def show_covenant(covenant: Covenant) -> Iterator[str]:
    """What holds for all purposes, and which there are."""
    agreement = covenant.agreement
    yield f"{covenant.name}, versie {covenant.version}"
    yield f"Geldt van {on_day(agreement.first_day)} tot en met {on_day(agreement.last_day)}."
    yield f"In totaal ten hoogste {limits(agreement.totals)}."
    yield f"Geldig na {count(agreement.quorum, 'handtekening', 'handtekeningen')} van deelnemers (quorum)."
    if agreement.combinations:
        yield f"Afgesproken combinaties: {listed(sorted(agreement.combinations))}."
    yield f"Beheerder van de makelaar: {agreement.operator.name}."
    if agreement.auditor:
        yield f"Auditor: {agreement.auditor}."
        if agreement.auditor_key:
            yield f"  Sleutel van de auditor: {agreement.auditor_key.hex()}"
    yield f"Het logboek blijft {count(agreement.log_years, 'jaar', 'jaar')} bewaard."
    yield ""
    yield "Deelnemers"
    for one in covenant.participants.values():
        yield f"  {one.name} ({KINDS.get(one.kind, one.kind)}, OIN {one.oin})"
    for rule in agreement.mandate_rules:
        yield f"Mandaat mag: {KINDS[rule.principal]} aan {KINDS[rule.requester]} ({rule.article})."


def show_purpose(covenant: Covenant, purpose: Purpose) -> Iterator[str]:
    """The purpose in Dutch, a line each, wrapped for a terminal."""
    yield f"{purpose.title}"
    yield f"{purpose.id}"
    yield from _wrapped(purpose.description.strip())
    yield from _standing(purpose)
    yield ""
    yield from _asking(covenant, purpose)
    yield ""
    yield "Wie antwoordt, en hoe"
    for source_party, terms in purpose.source_terms.items():
        members = [it for it in covenant.sources(purpose.id).values() if _by(covenant, purpose, it, source_party)]
        yield from _source(covenant, source_party, members, purpose)
        if not members:
            yield "      In dit convenant is er nu geen deelnemer van deze soort."
        if terms.mode is not Mode.NEVER:
            yield from (line for it in terms.grounds for line in _wrapped(f"Grond: {ground(it)}", 6))
    yield "  Wie hier niet staat, wordt niet gevraagd."
    yield ""
    yield from _conditions(purpose)
    yield ""
    yield from _rest(covenant, purpose)


def _standing(purpose: Purpose) -> Iterator[str]:
    if not purpose.in_service:
        yield "LET OP: dit doel is buiten dienst gesteld."
    if purpose.untested:
        number = count(len(purpose.untested), "grondslag is", "grondslagen zijn")
        until = f" Het doel geldt op proef tot en met {on_day(purpose.last_day)}." if purpose.last_day else ""
        yield from _wrapped(f"LET OP: {number} nog niet door een jurist getoetst, of omstreden.{until}")
    elif purpose.last_day:
        yield f"Geldt tot en met {on_day(purpose.last_day)}."
    if purpose.open_question:
        yield from _wrapped(f"Open vraag: {purpose.open_question}")


def _asking(covenant: Covenant, purpose: Purpose) -> Iterator[str]:
    yield "Wie mag vragen"
    asker = purpose.asker
    yield from _wrapped(listed(party(covenant, it) for it in asker.organisations), 2)
    yield from _wrapped(f"In de rol van {listed(asker.roles, 'of')}.", 2)
    for mandate in asker.mandates:
        until = f", tot en met {on_day(mandate.last_day)}" if mandate.last_day else ""
        text = f"{party(covenant, mandate.requester)} namens {party(covenant, mandate.principal)}"
        yield from _wrapped(f"{text}: {mandate.decision}{until}.", 2)
    for it in purpose.requester_grounds:
        yield from _wrapped(f"Grond: {ground(it)}", 2)


def _by(covenant: Covenant, purpose: Purpose, source: Source, source_party: str) -> bool:
    own = source.oin in purpose.source_terms
    return source.oin == source_party or (not own and covenant.participants[source.oin].kind == source_party)


def _source(covenant: Covenant, source_party: str, members: list[Source], purpose: Purpose) -> Iterator[str]:
    terms = purpose.source_terms[source_party]
    who = party(covenant, source_party)
    names = listed(covenant.participants[it.oin].name for it in members)
    yield from _wrapped(f"{who}: {terms.mode}" + (f" ({names})" if names and names != who else ""), 2)
    if terms.mode is Mode.NEVER:
        yield from _wrapped(f"Nooit, want: {terms.reason}", 6)
        return
    yield from _wrapped(f"{_sentence(MODES[terms.mode])} Uit: {listed(terms.registers)}.", 6)
    if terms.reply_term:
        fallback = "Zonder geldig besluit beslist een collega" if terms.mode is Mode.STANDING else "Beslist"
        yield from _wrapped(f"{fallback} binnen {term(terms.reply_term)}.", 6)
    yield from _wrapped(f"De lijst is ten hoogste {term(terms.max_list_age)} oud.", 6)
    if terms.only_for:
        yield from _wrapped(f"Antwoordt alleen aan {listed(party(covenant, it) for it in terms.only_for)}.", 6)
    if terms.own_kinds:
        yield from _wrapped(f"Te vragen met {listed(sorted(terms.own_kinds), 'of')}.", 6)
    if terms.labels:
        yield from _wrapped(f"Leest alleen in wie een van deze labels heeft: {listed(sorted(terms.labels), 'of')}.", 6)
    if terms.conditions:
        yield from _wrapped(f"Alleen als ook vaststaat: {listed(terms.conditions)}.", 6)
    if terms.alternative:
        yield from _wrapped(f"Anders: {terms.alternative}.", 6)


def _conditions(purpose: Purpose) -> Iterator[str]:
    yield "Voorwaarden"
    case = next((f"{it.text}; " for it in purpose.conditions if it.checked_by is CheckedBy.QUESTION), "")
    yield from _wrapped(f"zaaknummer: {case}{purpose.case.description} (patroon {purpose.case.pattern})", 2)
    for condition in (it for it in purpose.conditions if it.checked_by is not CheckedBy.QUESTION):
        yield from _wrapped(condition_text(condition), 2)
    if purpose.justification:
        yield from _wrapped("motivering: het dossier bevat een motivering; de vrager staat ervoor in", 2)
    if purpose.weighing:
        yield from _wrapped("afweging: waarom nodig, waarom dit middel, waarom niet met minder (drie teksten)", 2)
    if purpose.own_reasons:
        yield from _wrapped("motivering per persoon: elke volgende persoon in een vraag heeft een eigen tekst", 2)


def condition_text(condition: Condition) -> str:
    """A condition, what the requester states for it, and who checks it."""
    asks = {
        ConditionForm.DATE: f"; datum, {_window(condition)}",
        ConditionForm.CONSENT: f"; datum van de toestemming, {_window(condition)}",
        ConditionForm.AGE: f"; leeftijd van {condition.from_age} tot en met {condition.to_age} jaar{_on(condition)}",
        ConditionForm.CHOICE: f"; een van: {', '.join(condition.values)}",
    }.get(condition.form, "")
    article = f" ({condition.article})" if condition.article else ""
    checked = _WORKED_OUT if condition.by_birth else _CHECKED[condition.checked_by]
    return f"{condition.id}: {condition.text}{article}{asks}; {checked}"


def _on(condition: Condition) -> str:
    """On which day an age counts, where the covenant says so."""
    if not condition.by_birth:
        return ""
    return " op de dag van vragen" if condition.reference_day == ASKING_DAY else f" op '{condition.reference_day}'"


def _window(condition: Condition) -> str:
    back, ahead = condition.months_back or 0, condition.months_ahead or 0
    parts = [f"ten hoogste {count(back, 'maand', 'maanden')} terug" if back else "niet in het verleden"]
    parts.append(f"ten hoogste {count(ahead, 'maand', 'maanden')} vooruit" if ahead else "niet in de toekomst")
    return " en ".join(parts)


def limits_text(covenant: Covenant, purpose: Purpose) -> list[tuple[str, str]]:
    """Limits, terms and duties of a purpose: what, and how it reads."""
    years = purpose.log_years or covenant.agreement.log_years
    rows = [
        ("per vraag", f"{count(purpose.max_persons, 'persoon', 'personen')}, {purpose.max_sources} partners"),
        ("per dag", limits(purpose.limits)),
    ]
    if purpose.raised:
        by = listed(purpose.raised.roles, "of")
        rows.append(("verhoging", f"tot {purpose.raised.per_officer} per medewerker, 24 uur, door een tweede: {by}"))
    rows += [
        ("kenmerk", listed(sorted(purpose.kinds), "of")),
        *_possible(purpose),
        ("uitkomst vervalt", f"na {term(purpose.result_lifetime)}"),
        ("logboek", f"{years} jaar"),
        ("vier ogen", "ja" if purpose.four_eyes else "nee"),
    ]
    if purpose.emergency:
        rows.append(("noodgreep", f"{purpose.emergency.strip()} De tweede kijkt binnen 24 uur achteraf."))
    rows.append(("informeren", purpose.informing))
    if purpose.deferral:
        review = f"; opnieuw bekijken na {term(purpose.deferral.review)}" if purpose.deferral.review else ""
        rows.append(("uitstel", purpose.deferral.ground + review))
    optional = (
        ("personen", purpose.persons),
        ("minderjarigen", purpose.minors),
        ("zichtbaarheid", purpose.visibility),
        ("uitzonderingen", "; ".join(purpose.exceptions) or None),
        ("bron legt vast", "; ".join(purpose.source_records) or None),
        ("vervolgstap", purpose.next_step),
        ("let op", purpose.notice),
        ("DPIA", purpose.dpia),
        ("advies RAC", purpose.advice),
    )
    return rows + [(name, value.strip()) for name, value in optional if value]


def _possible(purpose: Purpose) -> list[tuple[str, str]]:
    if purpose.possible is None:
        return []
    kinds = listed(sorted(kind for kind in purpose.kinds if kind.possible), "of")
    own = purpose.possible
    by_hand = f"bij {kinds} beslist altijd een collega, binnen {term(own.reply_term)}; vervalt na {term(own.lifetime)}"
    return [("mogelijk bekend", by_hand)]


def _rest(covenant: Covenant, purpose: Purpose) -> Iterator[str]:
    yield "Grenzen, termijnen en plichten"
    for name, value in limits_text(covenant, purpose):
        yield from _wrapped(f"{name}: {value}", 2)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return wrapped(text, start=" " * indent, hanging=" " * (indent + 2))
