"""On what ground a colleague releases or refuses: closed lists, per mode, and a text of a few lines.

The ground stays at the source: the requester is told no reason (FG-41).
"""

from typing import Final

from bekend_policy.justification import holds_bsn
from bekend_policy.model import Mode
from bekend_proto.errors import RefusedError

OTHER: Final = "anders"
"""Takes a text."""
SHORTEST: Final = 10
LONGEST: Final = 500
"""Characters of the text."""

_RELEASE: Final = {
    "nodig": "Verstrekken is nodig voor dit doel, en past daarbij.",
    "veiligheid": "Verstrekken is nodig voor de veiligheid van iemand.",
    "plicht": "Een wet verplicht ons om dit te zeggen.",
    "eigen-toestemming": "De persoon gaf ons zelf toestemming.",
}
_CONSENT: Final = {
    "toestemming": "De genoemde toestemming klopt, en geldt voor deze verstrekking.",
    "eigen-toestemming": _RELEASE["eigen-toestemming"],
}
_REFUSE: Final = {
    "geheim": "Ons beroepsgeheim staat het niet toe.",
    "niet-nodig": "Het is niet nodig voor dit doel, of gaat te ver.",
    "gevaar": "Verstrekken brengt de persoon of een ander in gevaar.",
    "niet-bekend": "De persoon is hier niet, of niet meer, bekend.",
    "grondslag": "De grondslag klopt volgens ons niet.",
    OTHER: "Iets anders: zeg wat, in de toelichting.",
}
_OTHER_PERSON: Final = {"andere-persoon": "De gegevens zijn van een ander, of we weten het niet zeker."}
_REFUSE_CONSENT: Final = {
    "geen-toestemming": "De toestemming ontbreekt, is ingetrokken of geldt hier niet voor.",
    **_REFUSE,
}


def release_grounds(mode: Mode) -> dict[str, str]:
    """What a colleague may release on, in words."""
    return _CONSENT if mode is Mode.CONSENT else _RELEASE


def refusal_grounds(mode: Mode, *, possible: bool = False) -> dict[str, str]:
    """What a colleague may refuse on, in words; `possible`: it was asked by a combination, which several may share."""
    found = _REFUSE_CONSENT if mode is Mode.CONSENT else _REFUSE
    return _OTHER_PERSON | found if possible else found


def check_ground(ground: str | None, text: str, allowed: dict[str, str]) -> str:
    """The ground. Raises RefusedError, which never repeats the text."""
    if ground is None or ground not in allowed:
        raise RefusedError("grond", f"Kies een grond: {', '.join(allowed)}.")
    if holds_bsn(text):
        raise RefusedError("toelichting", "In de toelichting staat een nummer dat een BSN kan zijn. Haal het weg.")
    if len(text) > LONGEST:
        raise RefusedError("toelichting", f"De toelichting is langer dan {LONGEST} tekens.")
    if ground == OTHER and len(text.strip()) < SHORTEST:
        raise RefusedError("toelichting", f"Zeg in de toelichting wat de grond is: minstens {SHORTEST} tekens.")
    return ground
