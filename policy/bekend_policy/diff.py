"""`bekend policy diff A B`: what a new version changes, in sentences, and every combination whose outcome changes.

The sentences come from the files; the combinations from deciding everything twice (see `routes.py`). So a change that
no sentence names still shows, and a sentence without consequence shows as one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import product

from bekend_proto.shape import MAX_PERSONS

from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.model import Covenant, Purpose
from bekend_policy.routes import Route, as_if_signed, asked_by, noon, outcome, routes
from bekend_policy.show import condition_text, limits_text
from bekend_policy.terms import Ground, IdentifierKind, SourceTerms
from bekend_policy.wording import asker, count, ground, limits, listed, on_day, party, term
from bekend_policy.words import class_of_kind


@dataclass(frozen=True)
class Change:
    """One sentence. `subject`: `afspraken`, `deelnemers` or a purpose id."""

    subject: str
    text: str


@dataclass(frozen=True)
class Changed:
    """A combination whose outcome differs."""

    route: Route
    before: Decision
    after: Decision


@dataclass(frozen=True)
class Comparison:
    """All that differs. `questions`: role, kind of identifier and persons, over the routes allowed in both."""

    changes: tuple[Change, ...]
    routes: tuple[Changed, ...]
    tried: int
    questions_changed: int
    questions_tried: int


def compare(old: Covenant, new: Covenant, day: date) -> Comparison:
    """Everything that differs on this day, which lies within both versions or is moved into each."""
    old, new = as_if_signed(old), as_if_signed(new)
    changed, tried, both = _routes(old, new, day)
    questions_changed, questions_tried = _questions(old, new, day, both)
    changes = (*_agreement(old, new), *_participants(old, new), *_purposes(old, new))
    return Comparison(changes, changed, tried, questions_changed, questions_tried)


# --- combinations ----------------------------------------------------------------------------------------------


def _routes(old: Covenant, new: Covenant, day: date) -> tuple[tuple[Changed, ...], int, list[Route]]:
    every = sorted({*routes(old), *routes(new)})
    decided = [(route, outcome(old, route, _in(old, day)), outcome(new, route, _in(new, day))) for route in every]
    changed = tuple(Changed(route, a, b) for route, a, b in decided if _essence(a) != _essence(b))
    return changed, len(every), [route for route, a, b in decided if a.allowed and b.allowed]


def _in(covenant: Covenant, day: date) -> date:
    return min(max(day, covenant.agreement.first_day), covenant.agreement.last_day)


def _essence(decision: Decision) -> tuple[object, ...]:
    return decision.allowed, decision.mode, decision.rule, decision.attests


def _questions(old: Covenant, new: Covenant, day: date, both: Iterable[Route]) -> tuple[int, int]:
    """Role, kind and persons matter per purpose, not per route; still every route is tried."""
    changed = tried = 0
    moments = noon(_in(old, day)), noon(_in(new, day))
    for route in both:
        purposes = old.purposes[route.purpose], new.purposes[route.purpose]
        roles = sorted({role for it in purposes for role in it.asker.roles})
        kinds = sorted({kind for it in purposes for kind in it.kinds})
        for role, kind, persons in product(roles, kinds, range(1, MAX_PERSONS + 1)):
            before, after = (
                decide(it, _asked(route, it, persons, role, kind), moment).rule
                for it, moment in zip((old, new), moments, strict=True)
            )
            tried += 1
            changed += before != after
    return changed, tried


def _asked(route: Route, covenant: Covenant, persons: int, role: str, kind: IdentifierKind) -> Asked:
    return replace(asked_by(route, covenant, persons, class_of_kind(kind)), role=role, kind=kind)


def route_sentences(old: Covenant, new: Covenant, changed: Iterable[Changed]) -> Iterator[str]:
    """One sentence per source, purpose and kind of change; who asks is listed in it."""
    groups: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for it in changed:
        names = new if it.route.source in new.participants else old
        askers = new if it.route.requester in new.participants else old
        kind, extra = _kind_of_change(it)
        groups[it.route.purpose, party(names, it.route.source), kind, extra].append(
            asker(askers, it.route.requester, it.route.on_behalf_of)
        )
    for (purpose, source, kind, extra), who in groups.items():
        title = (new if purpose in new.purposes else old).purposes[purpose].title
        yield _SENTENCES[kind].format(source=source, title=title, who=listed(who), extra=extra)


_SENTENCES = {
    "opened": "{source} mag voor doel '{title}' nu ook gevraagd worden door {who} ({extra}).",
    "closed": "{source} mag voor doel '{title}' niet meer gevraagd worden door {who}: {extra}.",
    "mode": "{source} antwoordt voor doel '{title}' aan {who} nu {extra}.",
    "attests": "Wie {source} vraagt voor doel '{title}' staat nu voor iets anders in ({extra}); dit geldt voor {who}.",
    "reason": "{source} mag voor doel '{title}' nog steeds niet gevraagd worden door {who}, maar nu om een andere "
    "reden ({extra}).",
}


def _kind_of_change(it: Changed) -> tuple[str, str]:
    before, after = it.before, it.after
    if after.allowed and not before.allowed:
        return "opened", str(after.mode)
    if before.allowed and not after.allowed:
        return "closed", after.reason
    if before.mode != after.mode and after.allowed:
        return "mode", f"{after.mode}; dat was {before.mode}"
    if before.attests != after.attests:
        return "attests", listed(after.attests)
    return "reason", f"{after.rule}; dat was {before.rule}"


# --- sentences from the files ----------------------------------------------------------------------------------


def _agreement(old: Covenant, new: Covenant) -> Iterator[Change]:
    def said(covenant: Covenant) -> dict[str, str]:
        agreement = covenant.agreement
        general = agreement.general
        facts = {
            "de naam": agreement.name,
            "het versienummer": str(agreement.version),
            "de eerste dag": on_day(agreement.first_day),
            "de laatste dag": on_day(agreement.last_day),
            "het quorum": str(agreement.quorum),
            "de beheerder": f"{agreement.operator.name} (OIN {agreement.operator.oin})",
            "de sleutel van de beheerder": agreement.operator.key,
            "de auditor": agreement.auditor or "",
            "de sleutel van de auditor": agreement.auditor_key.hex() if agreement.auditor_key else "",
            "de sleutel waarmee de auditor ondertekent": agreement.auditor_signer or "",
            "het totaal per dag": limits(agreement.totals),
            "de bewaartermijn van het logboek": f"{agreement.log_years} jaar",
            "demo": "ja" if agreement.demo else "nee",
            "de afgesproken combinaties": listed(sorted(agreement.combinations)),
            "de oudste versie waarvan een handtekening telt": str(agreement.signatures_from or ""),
            "de tijd tussen twee filters": term(agreement.filter_interval) if agreement.filter_interval else "",
            "de tijd tussen twee keer ophalen": term(agreement.collect_interval),
        }
        for rule in agreement.mandate_rules:
            facts[f"het mandaat van {rule.principal} aan {rule.requester}"] = rule.article
        for name, value in general.model_dump(by_alias=True).items() if general else ():
            facts[f"de algemene regel '{name}'"] = value if isinstance(value, str) else listed(value)
        return facts

    yield from (Change("afspraken", text) for text in _told(said(old), said(new)))


def _participants(old: Covenant, new: Covenant) -> Iterator[Change]:
    for oin in sorted(old.participants.keys() | new.participants.keys()):
        before, after = old.participants.get(oin), new.participants.get(oin)
        if before is None and after is not None:
            yield Change("deelnemers", f"{after.name} doet nu mee ({after.kind}, OIN {oin}).")
        elif before is not None and after is None:
            yield Change("deelnemers", f"{before.name} doet niet meer mee (OIN {oin}).")
        elif before is not None and after is not None and before != after:
            was, now = before.model_dump(by_alias=True), after.model_dump(by_alias=True)
            for name in was:
                if was[name] != now[name]:
                    text = f"Van {after.name} is '{name}' nu: {_plain(now[name])}; dat was: {_plain(was[name])}."
                    yield Change("deelnemers", text)


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return listed(map(str, value)) or "leeg"
    return "leeg" if value is None else str(value)


def _purposes(old: Covenant, new: Covenant) -> Iterator[Change]:
    for id_ in sorted(old.purposes.keys() | new.purposes.keys()):
        before, after = old.purposes.get(id_), new.purposes.get(id_)
        if before is None and after is not None:
            yield Change(id_, f"Het doel '{after.title}' is nieuw.")
        elif before is not None and after is None:
            yield Change(id_, f"Het doel '{before.title}' bestaat niet meer.")
        elif before is not None and after is not None and before != after:
            yield from (Change(id_, text) for text in _purpose(old, new, before, after))


def _purpose(old: Covenant, new: Covenant, before: Purpose, after: Purpose) -> Iterator[str]:
    title = after.title
    yield from _set_change(
        (party(old, it) for it in before.asker.organisations),
        (party(new, it) for it in after.asker.organisations),
        f"{{it}} mag onder '{title}' nu vragen.",
        f"{{it}} mag onder '{title}' niet meer vragen.",
    )
    yield from _set_change(
        before.asker.roles,
        after.asker.roles,
        f"De rol '{{it}}' mag onder '{title}' nu vragen.",
        f"De rol '{{it}}' mag onder '{title}' niet meer vragen.",
    )
    yield from _told(_mandates(old, before), _mandates(new, after), f"Onder '{title}': ")
    yield from _told(_grounds(before.requester_grounds), _grounds(after.requester_grounds), f"Vrager van '{title}': ")
    yield from _told(_conditions(before), _conditions(after), f"Onder '{title}': ")
    yield from _told(_facts(old, before), _facts(new, after), f"Onder '{title}': ")
    for source in sorted(before.source_terms.keys() | after.source_terms.keys()):
        yield from _source(
            party(new if source in after.source_terms else old, source),
            title,
            before.source_terms.get(source),
            after.source_terms.get(source),
        )


def _source(name: str, title: str, before: SourceTerms | None, after: SourceTerms | None) -> Iterator[str]:
    if before is None and after is not None:
        yield f"{name} is onder '{title}' nu bron: {after.mode}."
    elif before is not None and after is None:
        yield f"{name} is onder '{title}' geen bron meer (was {before.mode})."
    elif before is not None and after is not None:
        yield from _told(_terms(before), _terms(after), f"Bron {name} onder '{title}': ")
        yield from _told(_grounds(before.grounds), _grounds(after.grounds), f"Bron {name} onder '{title}': ")


def _terms(terms: SourceTerms) -> dict[str, str]:
    return {
        "de modus": str(terms.mode),
        "de registers": listed(terms.registers),
        "de grootste ouderdom van de lijst": term(terms.max_list_age),
        "de reactietermijn": term(terms.reply_term) if terms.reply_term else "",
        "de eigen voorwaarden": listed(terms.conditions),
        "de eigen kenmerken": listed(sorted(terms.own_kinds or ())),
        "de labels": listed(sorted(terms.labels or ())),
        "wie antwoord krijgt": listed(terms.only_for),
        "het alternatief": terms.alternative or "",
        "de reden": terms.reason or "",
    }


def _mandates(covenant: Covenant, purpose: Purpose) -> dict[str, str]:
    return {
        f"het mandaat van {party(covenant, it.principal)} aan {party(covenant, it.requester)}": it.decision
        + (f", tot en met {on_day(it.last_day)}" if it.last_day else "")
        for it in purpose.asker.mandates
    }


def _grounds(grounds: Iterable[Ground]) -> dict[str, str]:
    return {f"de grondslag {it}": ground(it).removeprefix(f"{it}").lstrip(", ") for it in grounds}


def _conditions(purpose: Purpose) -> dict[str, str]:
    return {f"de voorwaarde '{it.id}'": condition_text(it).partition(": ")[2] for it in purpose.conditions}


def _facts(covenant: Covenant, purpose: Purpose) -> dict[str, str]:
    facts = {f"'{name}'": value for name, value in limits_text(covenant, purpose)}
    facts |= {
        "de titel": purpose.title,
        "de omschrijving": purpose.description.strip(),
        "de fase": purpose.phase or "",
        "het kader": str(purpose.frame),
        "het zaaknummer": f"{purpose.case.description} (patroon {purpose.case.pattern})",
        "de motivering": "verplicht" if purpose.justification else "niet nodig",
        "de afweging": "verplicht" if purpose.weighing else "niet nodig",
        "de motivering per persoon": "verplicht" if purpose.own_reasons else "niet nodig",
        "de einddatum": on_day(purpose.last_day) if purpose.last_day else "",
        "de open vraag": purpose.open_question or "",
        "in dienst": "ja" if purpose.in_service else "nee",
        "de tijd tussen twee filters": term(purpose.filter_interval) if purpose.filter_interval else "",
    }
    return facts


def _told(was: Mapping[str, str], now: Mapping[str, str], lead: str = "") -> Iterator[str]:
    """A sentence for every key whose value differs; an absent key is an empty value."""
    for name in [*was, *(it for it in now if it not in was)]:
        old, new = was.get(name, ""), now.get(name, "")
        if old == new:
            continue
        old, new = old.removesuffix("."), new.removesuffix(".")  # our sentence has a full stop of its own
        if not old:
            text = f"{name} is nieuw: {new}."
        elif not new:
            text = f"{name} vervalt (was: {old})."
        else:
            text = f"{name} is nu: {new}; dat was: {old}."
        yield f"{lead}{text}" if lead else f"{text[0].upper()}{text[1:]}"


def _set_change(was: Iterable[str], now: Iterable[str], added: str, removed: str) -> Iterator[str]:
    old, new = list(was), list(now)
    yield from (added.format(it=_capital(it)) for it in new if it not in old)
    yield from (removed.format(it=_capital(it)) for it in old if it not in new)


def _capital(text: str) -> str:
    return text if "'" in text else f"{text[0].upper()}{text[1:]}"


# --- for who reads ---------------------------------------------------------------------------------------------


def diff_lines(old: Covenant, new: Covenant, found: Comparison) -> Iterator[str]:
    """The comparison as Dutch text."""
    yield f"{new.name}: van versie {old.version} naar versie {new.version}"
    if not found.changes and not found.routes:
        yield "Geen verschil."
        return
    subjects = list(dict.fromkeys(change.subject for change in found.changes))
    for subject in subjects:
        yield ""
        yield {"afspraken": "Afspraken", "deelnemers": "Deelnemers"}.get(subject, subject)
        yield from (f"  {change.text}" for change in found.changes if change.subject == subject)
    yield ""
    yield f"Wie mag wie vragen: {len(found.routes)} van {found.tried} combinaties veranderen"
    reasons = [it for it in found.routes if _kind_of_change(it)[0] == "reason"]
    yield from (f"  {text}" for text in route_sentences(old, new, (it for it in found.routes if it not in reasons)))
    for purpose, number in Counter(it.route.purpose for it in reasons).items():
        kept = count(number, "combinatie blijft", "combinaties blijven")
        yield f"  {purpose}: {kept} geweigerd, om een andere reden."
    yield (
        f"Rol, kenmerk en aantal personen: {found.questions_changed} van {found.questions_tried} "
        "vragen krijgen een andere uitkomst"
    )
    if _worse(old, new):
        yield "Let op, meer grondslagen zonder toets dan eerst: " + listed(_worse(old, new)) + "."


def _worse(old: Covenant, new: Covenant) -> list[str]:
    """Purposes that have more untested grounds than before."""
    return [
        purpose.title
        for id_, purpose in new.purposes.items()
        if len(purpose.untested) > len(old.purposes[id_].untested if id_ in old.purposes else ())
    ]
