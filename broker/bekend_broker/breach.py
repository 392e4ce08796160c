"""What the loss of one or more of the broker's keys or files exposes, from its own log (FG-48)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from bekend_policy.breach import NOTIFY_STEP, RECONCILE_STEP, Exposure, Finding, Safe
from bekend_policy.decided import About, Decided
from bekend_policy.model import Covenant


class Lost(StrEnum):
    """What can be lost at a broker."""

    SIGNING_KEY = "signing-key"
    ROOT_B = "root-b"
    ROOT_U = "root-u"
    TLS_KEY = "tls-key"
    DATABASE = "database"
    BACKUP = "backup"
    OPERATOR_KEY = "operator-key"


def assess(exposure: Exposure, covenant: Covenant, bundles: Sequence[Decided]) -> Exposure:
    """Fill in what `exposure.lost` exposes, what it brings nearer, what it does not, and what to do."""
    lost = frozenset(map(Lost, exposure.lost))
    asked = [one for one in bundles if one.about is About.LOOKUP and any(it.question_id for it in one.judged)]
    if lost & {Lost.DATABASE, Lost.BACKUP}:
        exposure.exposed.append(_finding("wie wie onder welk doel en wanneer iets vroeg, zonder over wie", asked))
    sources = tuple(sorted({oin for id_ in covenant.purposes for oin in covenant.sources(id_)}))
    if Lost.ROOT_B in lost:
        exposure.nearer.append(Finding("de pseudoniemen van alle bronnen: een van de drie delen", sources))
        exposure.safe.append(
            Safe(
                "wie waar bekend is",
                "daarvoor is van een bron ook de databank en de eigen sleutel nodig; geen van beide is hier",
            )
        )
    if Lost.ROOT_U in lost:
        exposure.nearer.append(_finding("de verzegelde vastleggingen van de maanden van die sleutels", asked))
        exposure.safe.append(
            Safe(
                "over wie gevraagd is",
                "daarvoor is ook de databank van een bron en de sleutel van haar privacy officer nodig",
            )
        )
    if lost & {Lost.SIGNING_KEY, Lost.TLS_KEY, Lost.OPERATOR_KEY}:
        both = Lost.TLS_KEY in lost and bool(lost & {Lost.SIGNING_KEY, Lost.OPERATOR_KEY})
        what = "een dief kan zich als makelaar voordoen: vragen vertragen of laten vallen, en zien wie wie vraagt"
        (exposure.exposed if both else exposure.nearer).append(Finding(what, tuple(sorted(covenant.participants))))
        exposure.safe.append(
            Safe(
                "vragen of antwoorden vervalsen",
                "die zijn getekend door vrager en bron, en elk bewijs wordt nagerekend",
            )
        )
    exposure.safe.append(
        Safe(
            "personen, pseudoniemen en antwoorden",
            "die heeft de makelaar nooit: hij ziet willekeurige punten en gesloten dozen",
        )
    )
    for one in Lost:
        if one in lost:
            exposure.add_steps(_STEPS[one])
    exposure.add_steps(["Bericht alle partners: zij maken elk hun eigen afweging.", RECONCILE_STEP, NOTIFY_STEP])
    return exposure


def _finding(what: str, bundles: Sequence[Decided]) -> Finding:
    partners = {one.requester for one in bundles} | {
        it.source for one in bundles for it in one.judged if it.question_id
    }
    questions = sum(1 for one in bundles for it in one.judged if it.question_id)
    return Finding(what, tuple(sorted(partners)), questions=questions, persons=sum(one.persons for one in bundles))


_MANIFEST: Final = (
    "Laat een nieuw sleuteloverzicht tekenen (bekend broker manifest, bekend policy sign) en lees het in (SIGHUP)."
)
_STEPS: Final[Mapping[Lost, tuple[str, ...]]] = {
    Lost.SIGNING_KEY: ("Maak een nieuwe sleutel waarmee de makelaar tekent.", _MANIFEST),
    Lost.ROOT_B: (
        "Maak een nieuwe root voor dit kwartaal en vernietig de oude.",
        _MANIFEST,
        "Elke bron leest daarna alle registers opnieuw in; tot dan is het 'geen antwoord'.",
    ),
    Lost.ROOT_U: (
        "Maak een nieuwe root voor deze maand. De oude van voorbije maanden blijft nodig voor inzage: leg hem apart.",
        _MANIFEST,
    ),
    Lost.TLS_KEY: ("Laat het certificaat intrekken en zet een nieuw neer; nieuwe verbindingen gebruiken het meteen.",),
    Lost.DATABASE: (
        "Zorg dat de sleutels niet mee zijn: die staan nooit in de databank, wel in een back-up van keys.",
    ),
    Lost.BACKUP: ("Stel vast van welke dag de back-up is: wat sindsdien is vernietigd, staat er nog in.",),
    Lost.OPERATOR_KEY: (
        "Zet de federatie stil (bekend broker suspend) en laat een nieuwe versie van het convenant maken met een "
        "nieuwe sleutel van de beheerder; alle partners tekenen die.",
    ),
}
