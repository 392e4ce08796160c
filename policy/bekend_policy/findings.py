"""What reads well and does nothing, or not what was meant: found by asking the covenant everything that can be asked.

Faults make a covenant unusable and are in `check.py`. These are for who reads: purposes that nobody can use, sources
that can never answer, rules that never decide, limits that cannot be reached, partners who ask and never answer.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from bekend_proto.v1 import signed_pb2

from bekend_policy.check import AGREEMENT
from bekend_policy.decide import Asked, decide
from bekend_policy.faults import Fault
from bekend_policy.model import Covenant, Mode, Purpose, Requester
from bekend_policy.scalars import is_oin

Pair = tuple[str, str]
"""Requester (or the one in whose name is asked), source."""


def findings(covenant: Covenant) -> list[Fault]:
    """Every finding, with the purpose's file and a remedy, as if everybody had signed and on the first day."""
    signed = replace(covenant, signed_by=frozenset(covenant.participants))
    allowed = {purpose.id: _allowed(signed, purpose) for purpose in signed.purposes.values()}
    found: list[Fault] = []
    for purpose in signed.purposes.values():
        path = covenant.paths.get(purpose.id, purpose.id)
        reports = (
            *_texts(purpose),
            *_purpose(signed, purpose, allowed[purpose.id]),
            *_rules(purpose),
            *_mandates(signed, purpose),
            *_limits(signed, purpose),
        )
        found += [Fault(path, 0, what, remedy) for what, remedy in reports]
    found += _names(signed)
    found += _partners(signed, allowed)
    return sorted(set(found))


def _allowed(covenant: Covenant, purpose: Purpose) -> set[Pair]:
    """Which requester may ask which source under this purpose, in whatever name."""
    pairs: set[Pair] = set()
    requesters = covenant.requesters(purpose.id).values()
    for requester, source in product(requesters, covenant.sources(purpose.id)):
        for principal in _principals(requester):
            if _may(covenant, purpose, requester.oin, source, principal):
                pairs |= {(requester.oin, source), *([(principal, source)] if principal else [])}
    return pairs


def _may(covenant: Covenant, purpose: Purpose, requester: str, source: str, principal: str | None) -> bool:
    asked = Asked(
        requester=requester,
        source=source,
        purpose=purpose.id,
        on_behalf_of=principal,
        persons=1,
        kind_class=signed_pb2.KIND_CLASS_CERTAIN,
        covenant_hash=covenant.hash,
    )
    return requester != source and decide(covenant, asked, covenant.valid_from).allowed


def _principals(requester: Requester) -> list[str | None]:
    return [*sorted(requester.on_behalf_of), *([None] if requester.for_itself else [])]


def _says(text: str) -> bool:
    """Whether a text for people holds a letter or digit; `null` is what YAML calls nothing."""
    return text.lower() != "null" and any(char.isalnum() for char in text)


def _silent(key: str) -> tuple[str, str]:
    return f"'{key}' zegt niets", "Schrijf een tekst met woorden: mensen lezen dit."


def _names(covenant: Covenant) -> Iterator[Fault]:
    names = {AGREEMENT: covenant.name}
    names |= {covenant.paths.get(one.oin, one.oin): one.name for one in covenant.participants.values()}
    yield from (Fault(path, 0, *_silent("naam")) for path, name in names.items() if not _says(name))


def _texts(purpose: Purpose) -> Iterator[tuple[str, str]]:
    read = {"titel": purpose.title, "omschrijving": purpose.description, "informeren": purpose.informing}
    yield from (_silent(key) for key, text in read.items() if not _says(text))
    yield from (_silent(f"tekst van {one.id}") for one in purpose.conditions if not _says(one.text))
    yield from (_silent("grondslag") for one in purpose.grounds if not (_says(one.law) and _says(one.article)))


def _purpose(covenant: Covenant, purpose: Purpose, allowed: set[Pair]) -> Iterator[tuple[str, str]]:
    if not purpose.in_service:
        return
    if not covenant.requesters(purpose.id):
        yield "geen enkele deelnemer kan dit doel gebruiken", "Laat een vrager toetreden, of trek het doel in."
    elif not allowed:
        yield (
            "niemand kan onder dit doel iets vragen",
            "Kijk met 'bekend policy decide' waarom elke vraag wordt geweigerd.",
        )
    kinds = {one.oin: one.kind.value for one in covenant.participants.values()}
    for party, terms in purpose.source_terms.items():
        partners = [oin for oin in kinds if party in {oin, kinds[oin]}]
        if terms.mode is Mode.NEVER:
            continue
        if not partners:
            yield f"bron '{party}' kan nooit antwoorden: geen deelnemer is van die soort", "Laat haar toetreden of weg."
        elif allowed and not any(source in partners for _, source in allowed):
            yield (
                f"bron '{party}' kan nooit antwoorden: niemand mag haar vragen",
                "Haal haar weg, of verbeter de vragers.",
            )
    for party in purpose.asker.organisations:
        askers = [oin for oin in kinds if party in {oin, kinds[oin]}]
        if askers and allowed and not any(asker in askers for asker, _ in allowed):
            yield f"vrager '{party}' mag onder dit doel niemand iets vragen", "Haal deze vrager weg."


def _rules(purpose: Purpose) -> Iterator[tuple[str, str]]:
    """Conditions and exceptions that decide nothing, and those that contradict each other."""
    asked = {party: terms for party, terms in purpose.source_terms.items() if terms.mode is not Mode.NEVER}
    for party, terms in purpose.source_terms.items():
        decides_nothing = terms.conditions or terms.only_for or terms.grounds or terms.own_kinds or terms.labels
        if terms.mode is Mode.NEVER and decides_nothing:
            yield f"bron '{party}' antwoordt nooit: haar voorwaarden en grondslag beslissen niets", "Haal ze weg."
    for condition in purpose.conditions:
        special = [party for party, terms in purpose.source_terms.items() if condition.id in terms.conditions]
        if special and not any(party in asked for party in special):
            yield f"voorwaarde '{condition.id}' hoort bij een bron die nooit antwoordt", "Haal haar weg."
    by_oin = {party for party in asked if is_oin(party)}
    if by_oin and len(by_oin) == len(asked) > 1 and len({asked[it] for it in by_oin}) == 1:
        yield (
            "alle bronnen hebben dezelfde regels, elk onder een eigen OIN",
            "Noem de soort één keer, als dat bedoeld is.",
        )


def _mandates(covenant: Covenant, purpose: Purpose) -> Iterator[tuple[str, str]]:
    for mandate in purpose.asker.mandates:
        if mandate.requester == mandate.principal:
            yield f"{mandate.requester} vraagt namens zichzelf: dat mandaat beslist niets", "Haal het weg."
        elif purpose.in_service and not any(
            _may(covenant, purpose, mandate.requester, source, mandate.principal)
            for source in covenant.sources(purpose.id)
        ):
            what = f"met het mandaat van {mandate.principal} aan {mandate.requester} is niemand te vragen"
            yield what, "Haal het weg, of kijk met 'bekend policy explain' waarom elke vraag wordt geweigerd."
        if purpose.last_day and mandate.last_day and mandate.last_day > purpose.last_day:
            yield "een mandaat loopt langer dan het doel", f"Kies tot_en_met {purpose.last_day} of eerder."


def _limits(covenant: Covenant, purpose: Purpose) -> Iterator[tuple[str, str]]:
    if purpose.own_reasons and purpose.max_persons == 1:
        yield "'motivering_per_persoon' beslist niets: een vraag gaat over één persoon", "Haal het weg."
    if purpose.max_persons > purpose.limits.per_officer:
        what = f"max_personen {purpose.max_persons} past niet in max_per_dag van één persoon"
        yield what, f"Kies ten hoogste {purpose.limits.per_officer}, of verhoog max_per_dag."
    if purpose.raised is not None and purpose.raised.per_officer > covenant.totals.per_officer:
        what = "de verhoging komt boven totalen_per_dag uit, dus die grens wordt nooit gehaald"
        yield what, f"Kies ten hoogste {covenant.totals.per_officer}."
    if purpose.last_day is not None and purpose.last_day > covenant.agreement.last_day:
        what = "de einddatum ligt na het einde van het convenant en beslist niets"
        yield what, f"Kies ten hoogste {covenant.agreement.last_day}."
    interval = covenant.interval_of(purpose.id)
    for party, terms in purpose.source_terms.items():
        if terms.reply_term is not None and terms.reply_term > purpose.result_lifetime:
            what = f"bron '{party}': een antwoord kan komen nadat de uitkomst al is vervallen"
            yield what, "Verkort de reactietermijn, of verleng geldigheid_resultaat."
        if interval is not None and terms.mode.by_machine and terms.max_list_age < interval:
            what = f"bron '{party}': de lijst is al te oud voordat een nieuw filter komt"
            yield what, "Maak maximale_ouderdom_lijst langer dan filter_interval."


def _partners(covenant: Covenant, allowed: dict[str, set[Pair]]) -> Iterator[Fault]:
    pairs = set[Pair]().union(*allowed.values())
    askers, sources = {asker for asker, _ in pairs}, {source for _, source in pairs}
    for one in covenant.participants.values():
        path = covenant.paths.get(one.oin, one.oin)
        if one.oin in askers and one.oin not in sources:
            remedy = "Ga na of dat de bedoeling is: wie vraagt, hoort ook te antwoorden."
            yield Fault(path, 0, f"{one.name} vraagt, maar wordt zelf nooit bevraagd", remedy)
        if one.oin not in askers | sources:
            yield Fault(
                path, 0, f"{one.name} vraagt niet en antwoordt niet", "Noem deze soort in een doel, of verwijder."
            )
