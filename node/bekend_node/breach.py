"""What the loss of one or more of a node's keys or files exposes, from its own logs (FG-48)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bekend_policy.breach import NOTIFY_STEP, RECONCILE_STEP, SUSPEND_STEP, Exposure, Finding, Safe
from bekend_policy.decided import About, Decided
from bekend_policy.model import Covenant


class Lost(StrEnum):
    """What can be lost at a node."""

    SIGNING_KEY = "signing-key"
    STATE_KEY = "state-key"
    ROOT = "root"
    DESK_KEY = "desk-key"
    TLS_KEY = "tls-key"
    DATABASE = "database"
    FILTERS = "filters"
    BACKUP = "backup"
    COVENANT_KEY = "covenant-key"
    OFFICER_KEY = "officer-key"
    BROKER_ROOT = "broker-root"
    """The broker's key for this node: the operator says so."""


@dataclass(frozen=True)
class Facts:
    """What the logs of a period say. `pseudonyms`: persons enrolled now per purpose; `pending`: answers to come."""

    own: tuple[Decided, ...]
    of_others: tuple[Decided, ...]
    pseudonyms: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    days: int = 1


def assess(exposure: Exposure, covenant: Covenant, facts: Facts) -> Exposure:
    """Fill in what `exposure.lost` exposes, what it brings nearer, what it does not, and what to do."""
    lost = frozenset(map(Lost, exposure.lost))
    stored = bool(lost & {Lost.DATABASE, Lost.BACKUP})
    if stored:
        _who_asked(exposure, facts)
    _who_is_known(exposure, lost, facts, stored=stored)
    _own_lookups(exposure, lost, facts, stored=stored)
    _records(exposure, lost, facts, stored=stored)
    _in_our_name(exposure, covenant, lost, facts)
    _desk(exposure, lost)
    for one in Lost:
        if one in lost:
            exposure.add_steps(_STEPS[one])
    exposure.add_steps([RECONCILE_STEP, NOTIFY_STEP])
    return exposure


def _who_asked(exposure: Exposure, facts: Facts) -> None:
    asked = [one for one in facts.of_others if one.about is About.LOOKUP and one.requester != exposure.oin]
    exposure.exposed.append(_finding("wie onder welk doel en wanneer iets vroeg, zonder over wie", asked))


def _who_is_known(exposure: Exposure, lost: frozenset[Lost], facts: Facts, *, stored: bool) -> None:
    """The three that are needed together: database, this node's key, the broker's key."""
    have = [stored or Lost.FILTERS in lost, Lost.ROOT in lost, Lost.BROKER_ROOT in lost]
    if not any(have):
        return
    people = sum(facts.pseudonyms.values())
    purposes = ", ".join(sorted(facts.pseudonyms)) or "geen enkel doel"
    if all(have) and stored:
        what = f"wie hier bekend is: elk nummer kan worden nagegaan, onder {purposes}"
        exposure.exposed.append(Finding(what, (exposure.oin,), persons=people))
        return
    missing = [
        text
        for text, there in (
            ("de databank", stored),
            ("uw sleutel (root)", have[1]),
            ("de sleutel van de makelaar voor uw knooppunt", have[2]),
        )
        if not there
    ]
    exposure.nearer.append(Finding(f"de pseudoniemen onder {purposes}", (exposure.oin,), persons=people))
    why = f"daarvoor zijn drie dingen samen nodig; een dief mist nog {' en '.join(missing)}"
    if have[:2] == [True, True]:
        why += ", en elke poging bij de makelaar wordt geteld, begrensd en vastgelegd"
    exposure.safe.append(Safe("wie hier bekend is", why))


def _own_lookups(exposure: Exposure, lost: frozenset[Lost], facts: Facts, *, stored: bool) -> None:
    asked = [one for one in facts.own if any(it.question_id for it in one.judged)]
    if stored and Lost.OFFICER_KEY in lost:
        what = "over wie uw eigen medewerkers vroegen, onder welke zaak, en wat eruit kwam"
        exposure.exposed.append(_own_finding(what, asked))
    elif stored:
        exposure.exposed.append(
            _own_finding("welke medewerker onder welk doel en wanneer vroeg, zonder over wie", asked)
        )
        exposure.safe.append(
            Safe("over wie uw medewerkers vroegen en wat eruit kwam", "dat is verzegeld voor uw privacy officer alleen")
        )
    if stored and Lost.STATE_KEY in lost and facts.pending:
        what = (
            "van vragen waarop een collega nog beslist: zaaknummer, medewerker, partner en wat al kwam, zonder over wie"
        )
        exposure.exposed.append(Finding(what, questions=facts.pending))


def _records(exposure: Exposure, lost: frozenset[Lost], facts: Facts, *, stored: bool) -> None:
    """E: who was asked about, sealed to the privacy officer and tied to a person by the broker's month key."""
    answered = [one for one in facts.of_others if one.about is About.LOOKUP and one.judged[0].allowed]
    if not stored:
        return
    if Lost.OFFICER_KEY in lost:
        exposure.nearer.append(_finding("de verzegelde vastleggingen van wat u beantwoordde", answered))
        why = "per nummer is een aanroep bij de makelaar nodig, begrensd tot tien per dag en vastgelegd"
    else:
        why = "dat is verzegeld voor uw privacy officer, en alleen met de maandsleutel van de makelaar te koppelen"
    exposure.safe.append(Safe("over wie partners bij u vroegen", why))
    exposure.safe.append(Safe("wat u antwoordde", "een antwoord wordt nergens bewaard"))


def _in_our_name(exposure: Exposure, covenant: Covenant, lost: frozenset[Lost], facts: Facts) -> None:
    """Asking and answering as this organisation needs its certificate's key and a key of its manifest."""
    identity = Lost.TLS_KEY in lost
    signing = bool(lost & {Lost.SIGNING_KEY, Lost.COVENANT_KEY})
    if not identity and not signing:
        return
    partners = tuple(
        sorted(
            {
                oin
                for id_ in covenant.purposes
                if exposure.oin in covenant.requesters(id_)
                for oin in covenant.sources(id_)
            }
        )
    )
    if identity and signing:
        most = covenant.totals.per_organisation * facts.days
        what = f"in uw naam kan zijn gevraagd, binnen uw grenzen: hoogstens {most} personen in deze periode"
        exposure.exposed.append(Finding(what, tuple(oin for oin in partners if oin != exposure.oin), persons=most))
        return
    have, miss = ("certificaat", "een sleutel die in uw sleuteloverzicht staat")
    if signing:
        have, miss = ("handtekening", "de sleutel van uw certificaat: zonder verbindt niemand zich als u")
    exposure.nearer.append(Finding(f"uw {have} naar anderen", tuple(oin for oin in partners if oin != exposure.oin)))
    exposure.safe.append(Safe("vragen of antwoorden in uw naam", f"een dief mist {miss}"))


def _desk(exposure: Exposure, lost: frozenset[Lost]) -> None:
    if Lost.DESK_KEY not in lost:
        return
    if lost & {Lost.DATABASE, Lost.BACKUP}:
        what = "de personen in de vragen die nu op uw loket wachten op een besluit, met de motivering van de vrager"
        exposure.exposed.append(Finding(what))
    else:
        exposure.safe.append(Safe("de vragen op uw loket", "zij staan versleuteld in de databank, die een dief mist"))


def _finding(what: str, bundles: list[Decided]) -> Finding:
    partners = tuple(sorted({one.requester for one in bundles}))
    return Finding(what, partners, questions=len(bundles), persons=sum(one.persons for one in bundles))


def _own_finding(what: str, bundles: list[Decided]) -> Finding:
    partners = Counter(it.source for one in bundles for it in one.judged if it.question_id)
    return Finding(
        what, tuple(sorted(partners)), questions=partners.total(), persons=sum(one.persons for one in bundles)
    )


_ROTATE: Final = (
    "Maak een nieuwe sleutel, laat een nieuw sleuteloverzicht tekenen (bekend node manifest, bekend policy sign) en "
    "lees het in (SIGHUP): binnen drie minuten geldt het oude niet meer."
)
_STEPS: Final[Mapping[Lost, tuple[str, ...]]] = {
    Lost.SIGNING_KEY: (SUSPEND_STEP, _ROTATE),
    Lost.STATE_KEY: (
        "Vervang state.key zodra niets meer op een collega wacht, en start het knooppunt opnieuw: de filters worden "
        "bij de eerstvolgende wissel nieuw gemaakt.",
    ),
    Lost.ROOT: (
        "Maak voor dit kwartaal een nieuwe root, laat het sleuteloverzicht tekenen en lees alle registers opnieuw in.",
    ),
    Lost.DESK_KEY: ("Vervang de sleutel van het loket en beslis over wat openstaat, of laat het verlopen.",),
    Lost.TLS_KEY: (
        "Laat uw certificaat intrekken en zet een nieuw neer. Intrekken alleen is niet genoeg: vraag de beheerder om "
        "uw knooppunt stil te zetten tot het vervangen is.",
        SUSPEND_STEP,
    ),
    Lost.DATABASE: ("Zorg dat de sleutels niet mee zijn: map keys, back-ups van sleutels, de sleutel van de schijf.",),
    Lost.FILTERS: ("Na de eerstvolgende wissel past het oude filter nergens meer op: controleer dat die er was.",),
    Lost.BACKUP: (
        "Stel vast van welke dag de back-up is: wat sindsdien is vernietigd, staat er nog in. Vernietig de kopie waar "
        "u erbij kunt.",
    ),
    Lost.COVENANT_KEY: (
        "Zet uw knooppunt stil met een stilzetting van de beheerder: die van uzelf is niet meer te vertrouwen.",
        "Laat een nieuwe versie van het convenant maken met een nieuwe sleutel van uw ondertekenaar (vervangt: de "
        "oude), en laat alle partners die tekenen.",
    ),
    Lost.OFFICER_KEY: (
        "Geef de privacy officer een nieuwe sleutel en laat een nieuw sleuteloverzicht tekenen: nieuwe vastleggingen "
        "gaan dan naar de nieuwe sleutel.",
    ),
    Lost.BROKER_ROOT: ("De beheerder maakt nieuwe sleutels: lees daarna alle registers opnieuw in.",),
}
