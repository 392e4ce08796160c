"""What the files of a covenant say about each other: checked at load, every fault with its file and line."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from bekend_proto.errors import MalformedError
from bekend_proto.note import note_name, parse_vkey

from bekend_policy.audited import AUDITOR, oin_of
from bekend_policy.conditions import ASKING_DAY
from bekend_policy.directions import UNCONNECTED, Pairing, denials, frame_fits, is_no_law
from bekend_policy.faults import Fault
from bekend_policy.scalars import is_oin, is_slug
from bekend_policy.strict_yaml import Document
from bekend_policy.terms import (
    Agreement,
    CheckedBy,
    Frame,
    Ground,
    IdentifierKind,
    Kind,
    Mandate,
    Mode,
    Participant,
    Purpose,
    SourceTerms,
)
from bekend_policy.words import ConditionForm

AGREEMENT = "afspraken.yaml"

SKN_HOLDERS = frozenset(
    {Kind.OM, Kind.POLITIE, Kind.RECLASSERING, Kind.RVDK, Kind.DJI, Kind.CJIB, Kind.GI_JEUGDRECLASSERING}
)
"""The criminal-law chain, whose number it is (Sv 27b); youth probation by Jeugdwet 7.2.1(2)."""

LAWFUL_LABELS: dict[Kind | None, frozenset[str]] = {
    Kind.POLITIE: frozenset({"wpg-8", "wpg-13"}),
    Kind.GGZ: frozenset({"toestemming"}),
}
"""Whom they may read in at all: Wpg 8 and 13 (WGS 2.30(1)(a)), and who consented (WGS 2.29(2))."""


class _Checks:
    """All that was read, and the faults found so far."""

    def __init__(
        self,
        agreement: Agreement | None,
        participants: Mapping[str, Participant],
        purposes: Mapping[str, Purpose],
        documents: Mapping[str, Document],
    ) -> None:
        self.agreement = agreement
        self.participants = participants
        self.purposes = purposes
        self.documents = documents
        self.faults: list[Fault] = []
        self.kinds = {one.oin: one.kind for one in participants.values()}

    def kind_of(self, party: str) -> Kind | None:
        """The kind that a party of a file stands for; None for an OIN of no participant."""
        return self.kinds.get(party) if is_oin(party) else Kind(party)

    def add(self, path: str, place: Sequence[str | int], what: str, remedy: str) -> None:
        document = self.documents.get(path)
        self.faults.append(Fault(path, document.line(place) if document else 0, what, remedy))


def check_covenant(
    agreement: Agreement | None,
    participants: Mapping[str, Participant],
    purposes: Mapping[str, Purpose],
    documents: Mapping[str, Document],
    faults: list[Fault],
) -> None:
    """Add every fault between the files to `faults`. Files that could not be read are left out of the comparison."""
    checks = _Checks(agreement, participants, purposes, documents)
    _participants(checks)
    _keys(checks)
    if agreement is not None:
        _agreement(checks, agreement)
    for path, purpose in purposes.items():
        _purpose(checks, path, purpose)
        _parties(checks, path, purpose)
        _conditions(checks, path, purpose)
        _terms(checks, path, purpose)
        _identifiers(checks, path, purpose)
        _combinations(checks, path, purpose)
        _labels(checks, path, purpose)
        _grounds(checks, path, purpose)
        _references(checks, path, purpose)
        _directions(checks, path, purpose)
    faults.extend(checks.faults)


def _participants(checks: _Checks) -> None:
    seen: dict[str, str] = {}
    for path, one in checks.participants.items():
        if one.oin in seen:
            checks.add(path, ("oin",), f"OIN {one.oin} staat ook in {seen[one.oin]}", "Eén bestand per deelnemer.")
        seen.setdefault(one.oin, path)
        if one.parent is not None and one.parent not in checks.kinds:
            what = f"{one.parent} is geen deelnemer, dus daar kan niemand bij horen"
            checks.add(path, ("hoort_bij",), what, "Verbeter het OIN, of laat 'hoort_bij' weg.")
        for house in one.houses:
            if checks.kinds.get(house) is not Kind.ZVH:
                what = f"{house} is geen Zorg- en Veiligheidshuis van dit convenant"
                checks.add(path, ("zvh",), what, "Verbeter het OIN.")
        if one.kind in UNCONNECTED:
            checks.add(
                path,
                ("soort",),
                f"D10: een {one.kind} kan geen deelnemer zijn",
                "Verwijder dit bestand: geen wet noemt deze organisatie.",
            )


def _keys(checks: _Checks) -> None:
    """Each signer's key is well formed, carries the owner's name, and is in one role only."""
    roles: dict[bytes, str] = {}
    for path, place, name, vkey in _pinned(checks):
        try:
            key = parse_vkey(vkey)
        except MalformedError:
            checks.add(path, place, "dit is geen sleutel", "Neem de regel over die 'bekend policy keygen' toonde.")
            continue
        if key.name != name:
            checks.add(path, place, f"de sleutel heet '{key.name}'", f"De naam moet '{name}' zijn.")
        if key.public in roles:
            checks.add(
                path, place, f"deze sleutel is ook van {roles[key.public]}", "Eén sleutel, één rol: maak een nieuwe."
            )
        roles.setdefault(key.public, f"{place[0]} in {path}")
    for path, one in checks.participants.items():
        if one.lawyer is None and checks.agreement is not None and not checks.agreement.demo:
            what = "de sleutel van de jurist ontbreekt: twee rollen tekenen (FG-05)"
            checks.add(path, ("ondertekenaar",), what, "Voeg 'jurist:' toe; alleen een demo kan zonder.")


def _pinned(checks: _Checks) -> Iterator[tuple[str, tuple[str | int, ...], str, str]]:
    """File, place, the name that the key must have, and the key."""
    for path, one in checks.participants.items():
        yield path, ("ondertekenaar",), note_name(one.oin, "ondertekenaar"), one.signer
        if one.lawyer is not None:
            yield path, ("jurist",), note_name(one.oin, "jurist"), one.lawyer
        for index, former in enumerate(one.former_keys):
            role = "jurist" if former.split("+")[0].endswith("/jurist") else "ondertekenaar"
            yield path, ("vervangt", index), note_name(one.oin, role), former
    if checks.agreement is not None:
        operator = checks.agreement.operator
        yield AGREEMENT, ("beheerder", "sleutel"), note_name(operator.oin, "beheerder"), operator.key
        auditor = checks.agreement.auditor_signer
        if auditor is not None:
            yield AGREEMENT, ("auditor_ondertekent",), note_name(oin_of(auditor), AUDITOR), auditor


def _agreement(checks: _Checks, agreement: Agreement) -> None:
    count = sum(path.startswith("deelnemers/") for path in checks.documents)  # one with a fault of its own counts too
    if count and agreement.quorum > count:
        checks.add(
            AGREEMENT, ("quorum",), f"quorum is hoger dan het aantal deelnemers ({count})", "Verlaag het quorum."
        )
    if agreement.operator.oin in checks.kinds:
        checks.add(
            AGREEMENT,
            ("beheerder", "oin"),
            "de beheerder is zelf deelnemer: dan ziet één partij beide helften van de sleutels",
            "Kies een andere organisatie als beheerder.",
        )
    auditor = agreement.auditor_signer
    if auditor is not None and oin_of(auditor) in {*checks.kinds, agreement.operator.oin}:
        what = "de auditor is zelf deelnemer of beheerder: niemand toetst zichzelf"
        checks.add(AGREEMENT, ("auditor_ondertekent",), what, "Kies een andere organisatie als auditor.")


def _purpose(checks: _Checks, path: str, purpose: Purpose) -> None:
    name = path.removeprefix("doelen/").removesuffix(".yaml")
    covenant_id = checks.agreement.id if checks.agreement else purpose.id.partition("/")[0]
    if purpose.id != f"{covenant_id}/{name}" or not is_slug(name):
        checks.add(
            path, ("doel",), f"doel '{purpose.id}' past niet bij de bestandsnaam", f"Schrijf '{covenant_id}/{name}'."
        )
    _limits(checks, path, purpose)


def _limits(checks: _Checks, path: str, purpose: Purpose) -> None:
    """No limit exceeds another that holds beside it."""
    totals = checks.agreement.totals if checks.agreement else purpose.limits
    if purpose.limits.per_officer > totals.per_officer or purpose.limits.per_organisation > totals.per_organisation:
        checks.add(
            path, ("max_per_dag",), "hoger dan totalen_per_dag in afspraken.yaml", "Verlaag het, of verhoog het totaal."
        )
    raised = purpose.raised
    if raised is not None and not purpose.limits.per_officer < raised.per_officer <= purpose.limits.per_organisation:
        checks.add(
            path,
            ("verhoging", "per_persoon"),
            "een verhoging ligt boven max_per_dag van de persoon en niet boven die van de organisatie",
            f"Kies {purpose.limits.per_officer + 1} tot en met {purpose.limits.per_organisation}.",
        )
    years = purpose.log_years or (checks.agreement.log_years if checks.agreement else 5)
    parties = (*purpose.asker.organisations, *purpose.source_terms)
    justice = {Kind.OM, Kind.POLITIE} & {checks.kinds.get(party, party) for party in parties}
    if not (4 if justice else 1) <= years <= 5:
        checks.add(
            path,
            ("bewaartermijn_log",),
            f"het log {years} jaar bewaren past niet (FG-31)",
            "Ten hoogste P5Y; waar politie of OM meedoet ten minste P4Y (Wpg 32, Wjsg 39j).",
        )


def _parties(checks: _Checks, path: str, purpose: Purpose) -> None:
    """Every OIN is a participant; a partner is a source once; who asks in another's name is not left hanging."""
    asker = purpose.asker
    named: list[tuple[tuple[str | int, ...], str]]
    named = [(("vrager", "organisaties", index), party) for index, party in enumerate(asker.organisations)]
    named += [(("bronnen", party), party) for party in purpose.source_terms]
    for party, terms in purpose.source_terms.items():
        named += [(("bronnen", party, "alleen_voor"), asking) for asking in terms.only_for]
    for index, mandate in enumerate(asker.mandates):
        named += [(("vrager", "namens", index), oin) for oin in (mandate.requester, mandate.principal)]
        _mandate_rule(checks, path, index, mandate)
        if not {mandate.principal, checks.kinds.get(mandate.principal)} & set(asker.organisations):
            checks.add(
                path,
                ("vrager", "namens", index),
                f"{mandate.principal} mag zelf niet vragen, dus ook niet laten vragen",
                "Noem de organisatie bij 'organisaties', of verwijder het mandaat.",
            )
    for place, party in named:
        if is_oin(party) and party not in checks.kinds:
            checks.add(path, place, f"OIN {party} is geen deelnemer", "Verbeter het OIN, of voeg de deelnemer toe.")
        if not is_oin(party) and Kind(party) in UNCONNECTED:
            checks.add(path, place, f"D10: een {party} kan niet meedoen", "Haal deze soort weg.")
    for party in purpose.source_terms:
        if is_oin(party) and checks.kinds.get(party) in purpose.source_terms:
            checks.add(
                path,
                ("bronnen", party),
                f"deze partner is al bron als '{checks.kinds[party]}': een partner is per doel één keer bron",
                "Laat één van de twee staan, of maak een apart doel.",
            )


def _mandate_rule(checks: _Checks, path: str, index: int, mandate: Mandate) -> None:
    """Who may mandate whom stands in afspraken.yaml."""
    principal, requester = checks.kinds.get(mandate.principal), checks.kinds.get(mandate.requester)
    if checks.agreement is None or principal is None or requester is None:
        return
    if (principal, requester) not in {(rule.principal, rule.requester) for rule in checks.agreement.mandate_rules}:
        checks.add(
            path,
            ("vrager", "namens", index),
            f"een {principal} mag zich niet door een {requester} laten vertegenwoordigen",
            f"Verwijder het mandaat, of voeg {{van: {principal}, aan: {requester}, grond: …}} toe in {AGREEMENT}.",
        )


def _conditions(checks: _Checks, path: str, purpose: Purpose) -> None:
    ids = [condition.id for condition in purpose.conditions]
    for index, condition in enumerate(purpose.conditions):
        if condition.id in ids[:index]:
            checks.add(
                path, ("voorwaarden", index), f"voorwaarde '{condition.id}' staat er twee keer", "Laat er één staan."
            )
        if condition.checked_by is CheckedBy.QUESTION and condition.id != "zaaknummer":
            checks.add(
                path,
                ("voorwaarden", index, "controle"),
                f"voorwaarde '{condition.id}' is uit de vraag niet te controleren",
                "Alleen 'zaaknummer' staat in de vraag; kies controle: vrager.",
            )
        if condition.reference_day not in {None, ASKING_DAY}:
            _reference_day(checks, path, purpose, index)
    for party, terms in purpose.source_terms.items():
        for unknown in sorted(set(terms.conditions) - set(ids)):
            checks.add(
                path,
                ("bronnen", party, "mits"),
                f"voorwaarde '{unknown}' bestaat niet",
                "Voeg haar toe bij 'voorwaarden'.",
            )


def _reference_day(checks: _Checks, path: str, purpose: Purpose, index: int) -> None:
    """The day on which an age counts is stated wherever the age is asked."""
    age, place = purpose.conditions[index], ("voorwaarden", index, "peildag")
    dated = [one.id for one in purpose.conditions if one.form is ConditionForm.DATE]
    if age.reference_day not in dated:
        checks.add(
            path,
            place,
            f"peildag '{age.reference_day}' is geen voorwaarde van de vorm datum",
            f"Schrijf '{ASKING_DAY}' voor de dag van vragen, of noem zo'n voorwaarde van dit doel.",
        )
        return
    special = {age.id: set[str](), age.reference_day: set[str]()}
    for party, terms in purpose.source_terms.items():
        for id_ in special.keys() & set(terms.conditions):
            special[id_].add(party)
    there, dates = special[age.id], special[age.reference_day]
    if dates and (not there or not there <= dates):
        checks.add(
            path,
            place,
            f"niet elke bron met '{age.id}' heeft ook '{age.reference_day}': daar is de leeftijd niet te bepalen",
            f"Noem '{age.reference_day}' bij 'mits' van dezelfde bronnen, of bij geen enkele.",
        )


def _terms(checks: _Checks, path: str, purpose: Purpose) -> None:
    """A person at the source has a term, a machine has none; consent is a condition, never a mere mode."""
    consents = {one.id for one in purpose.conditions if one.form is ConditionForm.CONSENT}
    general = {one.id for one in purpose.conditions} - {
        id_ for it in purpose.source_terms.values() for id_ in it.conditions
    }
    for party, terms in purpose.source_terms.items():
        place = ("bronnen", party)
        if terms.mode is Mode.AUTOMATIC and terms.own_reply_term is not None:
            what = f"modus {terms.mode} antwoordt direct en heeft geen reactietermijn"
            checks.add(path, (*place, "reactietermijn"), what, "Haal de reactietermijn weg, of kies handmatig.")
        if terms.mode in {Mode.MANUAL, Mode.CONSENT} and terms.own_reply_term is None:
            what = f"bij modus {terms.mode} ontbreekt de reactietermijn"
            checks.add(path, place, what, "Voeg 'reactietermijn: P2D' toe.")
        if terms.own_reply_term == timedelta(0):
            what = "de reactietermijn moet langer dan nul zijn"
            checks.add(path, (*place, "reactietermijn"), what, "Bijvoorbeeld P2D.")
        if terms.mode is Mode.CONSENT and consents.isdisjoint(general | set(terms.conditions)):
            checks.add(
                path,
                (*place, "modus"),
                "modus toestemming zonder voorwaarde van de vorm toestemming (FG-10)",
                "Voeg zo'n voorwaarde toe, en noem haar bij 'mits' als zij alleen voor deze bron geldt.",
            )


def _identifiers(checks: _Checks, path: str, purpose: Purpose) -> None:
    """Who may use which number: what the law says of it, and a source no kind that its purpose does not list."""
    if IdentifierKind.TEST in purpose.kinds and checks.agreement is not None and not checks.agreement.demo:
        checks.add(
            path, ("identificatie",), "kenmerk 'test' bestaat alleen in een demo", "Haal 'test' weg, of zet 'demo: ja'."
        )
    for index, party in enumerate(purpose.asker.organisations):
        if IdentifierKind.SKN in purpose.kinds and checks.kind_of(party) not in {None, *SKN_HOLDERS}:
            what = f"een {checks.kind_of(party)} gebruikt het SKN niet: dat is van de strafrechtketen (Sv 27b)"
            checks.add(path, ("vrager", "organisaties", index), what, "Haal 'skn' uit 'identificatie', of deze vrager.")
    for party, terms in purpose.source_terms.items():
        if terms.mode is Mode.NEVER:
            continue
        place, kind = ("bronnen", party, *(["identificatie"] if terms.own_kinds else [])), checks.kind_of(party)
        for unknown in sorted(set(terms.own_kinds or ()) - purpose.kinds):
            what = f"kenmerk '{unknown}' staat niet bij 'identificatie' van het doel"
            checks.add(path, place, what, "Noem het daar ook, of haal het hier weg.")
        if IdentifierKind.SKN in purpose.kinds_of(terms) and kind not in {None, *SKN_HOLDERS}:
            what = f"een {kind} gebruikt het SKN niet: dat is van de strafrechtketen (Sv 27b)"
            checks.add(path, place, what, "Geef deze bron een eigen 'identificatie:' zonder skn.")
        if _is_youth_probation(purpose, kind) and IdentifierKind.BSN in purpose.kinds_of(terms):
            what = "jeugdreclassering gebruikt in een strafzaak geen BSN (Jeugdwet 7.2.1(2))"
            checks.add(path, place, what, "Geef deze bron 'identificatie: [skn]'.")


def _is_youth_probation(purpose: Purpose, kind: Kind | None) -> bool:
    return purpose.frame is Frame.STRAFVORDERING and kind is Kind.GI_JEUGDRECLASSERING


def _combinations(checks: _Checks, path: str, purpose: Purpose) -> None:
    """A combination of name and dates: agreed on, with terms of its own, and no longer kept than a certain outcome."""
    listed = sorted(kind for kind in purpose.kinds if kind.possible)
    agreed = checks.agreement.combinations if checks.agreement is not None else listed
    for kind in listed:
        if kind not in agreed:
            what = f"combinatie '{kind}' is niet afgesproken"
            checks.add(
                path, ("identificatie",), what, f"Noem haar bij 'combinaties:' in {AGREEMENT}, of haal haar weg."
            )
    if listed and purpose.possible is None:
        what = f"'{listed[0]}' kan meer personen aanwijzen, en 'mogelijk:' ontbreekt"
        checks.add(path, ("identificatie",), what, "Voeg 'mogelijk: {reactietermijn: PT24H, levensduur: PT72H}' toe.")
    if purpose.possible is not None and not listed:
        checks.add(path, ("mogelijk",), "'mogelijk:' zonder combinatie beslist niets", "Haal het blok weg.")
    if purpose.possible is not None and purpose.possible.lifetime > purpose.result_lifetime:
        what = "een uitkomst 'mogelijk bekend' leeft niet langer dan een zekere uitkomst"
        checks.add(path, ("mogelijk", "levensduur"), what, "Kies ten hoogste geldigheid_resultaat.")


def _labels(checks: _Checks, path: str, purpose: Purpose) -> None:
    """FG-39: which persons police and GGZ read in, the law says; a source names its labels, and no others."""
    for party, terms in purpose.source_terms.items():
        lawful = LAWFUL_LABELS.get(checks.kind_of(party))
        if lawful is None or terms.mode is Mode.NEVER:
            continue
        place = ("bronnen", party, *(["labels"] if terms.labels else []))
        for label in sorted(set(terms.labels or ()) - lawful):
            what = f"label '{label}' mag een {checks.kind_of(party)} niet inlezen (FG-39)"
            checks.add(path, place, what, f"Kies uit {', '.join(sorted(lawful))}.")
        if terms.labels is None and checks.agreement is not None and not checks.agreement.demo:
            what = f"'labels:' ontbreekt: een {checks.kind_of(party)} leest alleen in wie de wet noemt (FG-39)"
            checks.add(path, place, what, f"Voeg 'labels: [{', '.join(sorted(lawful))}]' toe.")


def _references(checks: _Checks, path: str, purpose: Purpose) -> None:
    """FG-06: every purpose names its DPIA and the RAC's advice; with an untested ground it also ends on a day."""
    for name, value in (("dpia", purpose.dpia), ("rac_advies", purpose.advice)):
        if value is None:
            checks.add(path, (), f"'{name}' ontbreekt (FG-06)", f"Verwijs bij '{name}:' naar het stuk.")
    if purpose.untested and purpose.last_day is None:
        checks.add(
            path,
            (),
            f"'{purpose.untested[0]}' is niet getoetst, en er is geen einddatum",
            "Voeg 'einddatum:' toe: tot die dag geldt het doel op proef.",
        )
    if purpose.last_day is not None and checks.agreement and purpose.last_day < checks.agreement.first_day:
        checks.add(
            path,
            ("einddatum",),
            "de einddatum ligt voor het begin van het convenant",
            "Verwijder het doel of de datum.",
        )


def _grounds(checks: _Checks, path: str, purpose: Purpose) -> None:
    listed: list[tuple[tuple[str | int, ...], Ground]]
    listed = [(("grondslag_vrager", index), ground) for index, ground in enumerate(purpose.requester_grounds)]
    for party, terms in purpose.source_terms.items():
        listed += [(("bronnen", party, "grondslag", index), ground) for index, ground in enumerate(terms.grounds)]
    for place, ground in listed:
        if is_no_law(ground):
            checks.add(
                path,
                place,
                f"D13: '{ground}' is geen grondslag: de Wams is een wetsvoorstel, een afspraak is geen wet",
                "Noem het artikel van de geldende wet.",
            )
        if ground.status is None:
            checks.add(
                path, place, f"'{ground}' heeft geen status", "Schrijf status: getoetst, te_toetsen of omstreden."
            )
        if ground.tested and ground.version is None:
            checks.add(path, place, f"'{ground}' is getoetst, maar aan welke versie?", "Voeg 'versie:' toe.")
    if not frame_fits(purpose.frame, purpose.requester_grounds):
        checks.add(
            path,
            ("kader",),
            f"kader '{purpose.frame}' past niet bij de grondslag van de vrager",
            "Kies het kader van de wet die de vrager noemt (WGS: zvh; WG-PGA: radicalisering).",
        )


def _directions(checks: _Checks, path: str, purpose: Purpose) -> None:
    for party, terms in purpose.source_terms.items():
        reported: set[str] = set()
        for pairing in _pairings(checks, purpose, party, terms):
            for direction in denials(pairing):
                if direction.id in reported | {"D10", "D13"}:  # these two are reported at places of their own
                    continue
                reported.add(direction.id)
                what = f"{direction.id}: {direction.reason} ({direction.article}); hier vraagt {pairing.asker}"
                checks.add(path, ("bronnen", party, "modus"), what, direction.remedy)


def _answered(checks: _Checks, terms: SourceTerms, party: str) -> bool:
    """Whether `alleen_voor` lets this kind, or this OIN, be answered."""
    here = {str(one) for one in terms.only_for}
    kind = str(checks.kinds.get(party, party))
    of_kind = {oin for oin, its in checks.kinds.items() if its == party}
    return not here or bool(here & {party, kind}) or bool(here & of_kind)


def _pairings(checks: _Checks, purpose: Purpose, party: str, terms: SourceTerms) -> Iterator[Pairing]:
    """Every kind that may ask against this source, also kinds that nobody has yet."""
    source = checks.kind_of(party)
    if source is None or terms.mode is Mode.NEVER:
        return
    askers: set[tuple[Kind, Kind | None]] = set()
    for organisation in purpose.asker.organisations:
        kind = checks.kind_of(organisation)
        if kind is not None and _answered(checks, terms, organisation):
            askers.add((kind, None))
    for mandate in purpose.asker.mandates:
        who, principal = checks.kinds.get(mandate.requester), checks.kinds.get(mandate.principal)
        answered = _answered(checks, terms, mandate.requester) and _answered(checks, terms, mandate.principal)
        if who is not None and principal is not None and answered:
            askers |= {(who, principal), (principal, who)}
    base = Pairing(
        asker=source,
        other_asker=None,
        source=source,
        mode=terms.mode,
        registers=terms.registers,
        frame=purpose.frame,
        requester_grounds=purpose.requester_grounds,
        source_grounds=terms.grounds,
        same_house=True,
    )
    for asker, other in sorted(askers, key=str):
        yield replace(base, asker=asker, other_asker=other)
