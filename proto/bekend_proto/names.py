"""Canonical names: one form for what is the same name written in another way, and keys made of it.

The rules follow the BRP (LO BRP, categories 01, 04 and 08) and stand in docs/identifiers.md, with vectors. What is
unknown is never guessed: a key of which a part is unknown is refused.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NoReturn

from bekend_proto.identifiers import (
    MOST_LETTERS,
    NAME_BIRTH,
    NAME_BIRTH_POSTCODE,
    NAME_DAY_MONTH,
    NAME_POSTCODE,
    NEW_YEAR,
    Identifier,
    InvalidIdentifier,
)
from bekend_proto.name_tables import APOSTROPHES, BEGINNINGS, HYPHENS, LETTERS, PREFIX_WORDS, SERVANT_OF, SPELLINGS

UNKNOWN: Final = frozenset({"", ".", "-"})
"""How the BRP, and who copies from it, writes that a name is unknown or absent."""

_NAAMGEBRUIK: Final = frozenset({"", "E", "P", "V", "N"})
_SPACING_ACCENT = re.compile(" [\u0300-\u036f]+")
_MARKS = re.compile("[\u0300-\u036f]+")
_ELIDED = re.compile(r"(?<![A-Z])([DLST])'")
_REST_LEAST: Final = 3
_DATES: Final = (
    re.compile(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"),
    re.compile(r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"),
    re.compile(r"(?P<day>[0-9]{1,2})[-/.](?P<month>[0-9]{1,2})[-/.](?P<year>[0-9]{4})"),
)
_EARLIEST: Final = 1850
_POSTCODE = re.compile(r"([1-9][0-9]{3})[ \u00a0]?([A-Za-z]{2})")
_HOUSE_NUMBER = re.compile(r"0{0,4}([1-9][0-9]{0,4})(?![0-9])")


@dataclass(frozen=True, slots=True)
class PersonData:
    """A person as typed or as read from a register, in the elements of the BRP. Shows nothing, and is not pickled.

    `geslachtsnaam` is the person's own surname, of birth, whatever the name that is used; "." is unknown. A person
    without given names has the whole chain of names (naamketen) there. `geboortedatum` is YYYYMMDD with zeros for what
    is unknown, YYYY-MM-DD or DD-MM-YYYY. `naamgebruik` is E, P, V or N (BRP 61.10) and enters no key.
    """

    geslachtsnaam: str = field(default="", repr=False)
    voorvoegsel: str = field(default="", repr=False)
    voornamen: str = field(default="", repr=False)
    geboortedatum: str = field(default="", repr=False)
    postcode: str = field(default="", repr=False)
    huisnummer: str = field(default="", repr=False)
    partner_geslachtsnaam: str = field(default="", repr=False)
    partner_voorvoegsel: str = field(default="", repr=False)
    naamgebruik: str = field(default="", repr=False)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a person's data stay in the process that read them")


@dataclass(frozen=True, slots=True)
class CanonicalName:
    """Own surname and first given name in A to Z. `given` is None where the person has none that is known."""

    surname: str = field(repr=False)
    given: str | None = field(repr=False)


def combine(kind: str, data: PersonData) -> Identifier:
    """The identifier of a possible kind that these data make.

    Raises InvalidIdentifier, in plain Dutch and without a value, where a part is absent, unknown or no such part.
    """
    make = _MAKERS.get(kind)
    if make is None:
        raise InvalidIdentifier(f"Dit is geen combinatie van gegevens. Kies uit: {', '.join(sorted(_MAKERS))}.")
    return Identifier(kind, make(data))


def canonical_name(data: PersonData) -> CanonicalName:
    """The name that goes into keys. Raises InvalidIdentifier where no surname is known, or a name is none."""
    if data.naamgebruik.strip().upper() not in _NAAMGEBRUIK:
        raise InvalidIdentifier("Het naamgebruik is E, P, V of N. Kies een van deze, of laat het leeg.")
    prefix = _words(_letters(data.voorvoegsel, "het voorvoegsel"))
    chain = _letters(_known(data.geslachtsnaam), "de achternaam")
    given = _first_given(_letters(_known(data.voornamen), "de voornaam").replace("'", ""))
    if given is None:
        links = chain.replace("'", "").split()
        if not prefix and len(links) > 1 and not PREFIX_WORDS.intersection(_words(chain)):
            return CanonicalName(_surname(_words(" ".join(links[1:]))), _first_given(links[0]))
    own = _without_partner(chain, data)
    if not own.strip(" '-"):
        raise InvalidIdentifier("De achternaam is leeg of onbekend. Zonder achternaam kan deze vraag niet.")
    return CanonicalName(_surname([*prefix, *_words(own)]), given)


def birth_date(text: str) -> date:
    """A date of birth that is wholly known. Raises InvalidIdentifier: an unknown day or month is not guessed."""
    text = text.strip()
    found = next((match for form in _DATES if (match := form.fullmatch(text))), None)
    if not text or text in UNKNOWN:
        raise InvalidIdentifier("Er is geen geboortedatum ingevuld. Zonder geboortedatum kan deze vraag niet.")
    if found is None or not text.isascii():
        raise InvalidIdentifier("De geboortedatum is niet goed geschreven. Schrijf hem als 31-12-1980.")
    year, month, day = (int(found[part]) for part in ("year", "month", "day"))
    if 0 in (year, month, day):
        raise InvalidIdentifier(
            "De geboortedatum is voor een deel onbekend. Wij raden niet: zonder volledige datum kan deze vraag niet."
        )
    try:
        born = date(year, month, day)
    except ValueError:
        born = date.min
    if born.year < _EARLIEST:
        raise InvalidIdentifier("Deze geboortedatum bestaat niet. Controleer dag, maand en jaar.")
    return born


def address(postcode: str, number: str) -> str:
    """Postcode and house number, without letter or addition: 2011AB/12. Raises InvalidIdentifier."""
    code = _POSTCODE.fullmatch(postcode.strip())
    if code is None:
        raise InvalidIdentifier("De postcode ontbreekt of klopt niet. Schrijf vier cijfers en twee letters.")
    number = number.strip()
    house = _HOUSE_NUMBER.match(number)
    # What cannot be seen could part two digits.
    if house is None or not number.isascii() or not number.isprintable():
        raise InvalidIdentifier("Het huisnummer ontbreekt of klopt niet. Schrijf alleen het nummer, van 1 tot 99999.")
    return f"{code[1]}{code[2].upper()}/{house[1]}"


def _letters(text: str, what: str) -> str:
    """A to Z, space, hyphen and apostrophe: what everything else in a name becomes, or is refused for."""
    if len(text) > MOST_LETTERS:
        raise InvalidIdentifier(f"In {what} staan meer dan {MOST_LETTERS} tekens. Vul alleen de naam in.")
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text.strip()).upper())
    # An accent that stands by itself was typed for an apostrophe.
    plain = _MARKS.sub("", _SPACING_ACCENT.sub("'", plain))
    made = "".join(_letter(sign, what) for sign in plain)
    if len(made) > MOST_LETTERS:
        raise InvalidIdentifier(f"In {what} staan meer dan {MOST_LETTERS} letters. Vul alleen de naam in.")
    return made


def _letter(sign: str, what: str) -> str:
    if "A" <= sign <= "Z" or sign == " ":
        return sign
    if sign in LETTERS:
        return LETTERS[sign]
    if sign in HYPHENS:
        return "-"
    if sign in APOSTROPHES:
        return "'"
    if sign in ".,/":
        return " "
    raise InvalidIdentifier(_why_not(sign).format(what))


def _why_not(sign: str) -> str:
    category = unicodedata.category(sign)
    if category[0] == "C" or category in ("Zl", "Zp"):
        return "In {} staat een onzichtbaar teken. Haal de naam weg en tik hem opnieuw."
    if category[0] == "N":
        return "In {} staat een cijfer. Een naam bestaat uit letters: controleer op typefouten."
    if category[0] in "LM":
        return (
            "In {} staat een letter die geen Latijnse letter is, ook al lijkt hij er soms op. "
            "Tik de naam in Latijnse letters, zoals in het paspoort."
        )
    return "In {} staat een teken dat niet in een naam hoort. Houd alleen letters, streepjes en apostrofs over."


def _known(text: str) -> str:
    return "" if text.strip() in UNKNOWN else text


def _words(letters: str) -> list[str]:
    """The words of a surname; an elided article (d', 's, 't) is one by itself."""
    return _ELIDED.sub(r"\1 ", letters).replace("'", "").replace("-", " ").split()


def _surname(words: list[str]) -> str:
    """Without the voorvoegsels at both ends, in one piece. A surname that is nothing else stays as it is."""
    while len(words) > 1 and _spelling(words[0]) in PREFIX_WORDS:
        words = words[1:]
    while len(words) > 1 and _spelling(words[-1]) in PREFIX_WORDS:
        words = words[:-1]
    made = _spelling("".join(_spelling(word) for word in words))
    if len(made) > MOST_LETTERS:
        raise InvalidIdentifier(f"De achternaam heeft meer dan {MOST_LETTERS} letters. Vul alleen de naam in.")
    return made


def _without_partner(letters: str, data: PersonData) -> str:
    """Of two names with a hyphen, the one that is not the partner's, where the partner's name is known."""
    partner = _words(_letters(_known(data.partner_voorvoegsel), "het voorvoegsel van de partner"))
    partner += _words(_letters(_known(data.partner_geslachtsnaam), "de naam van de partner"))
    sides = letters.split("-")
    if not partner or len(sides) != 2 or not all(_words(side) for side in sides):
        return letters
    first, second = sides
    if _surname(_words(first)) == _surname(partner):
        return second
    return first if _surname(_words(second)) == _surname(partner) else letters


def _first_given(letters: str) -> str | None:
    """The first given name; what means 'servant of' goes together with the name that follows."""
    words = letters.replace("-", " ").split()
    if not words:
        return None
    first, *others = words
    if first in SERVANT_OF:
        while others and others[0] in PREFIX_WORDS:
            others = others[1:]
        if others:
            return _spelling(SERVANT_OF[0] + _spelling(others[0]))
    return _spelling(first)


def _spelling(word: str) -> str:
    """The one spelling of a word: ij as y, and what the tables say."""
    word = word.replace("IJ", "Y")
    for begins, instead in _BEGINNINGS:
        if word.startswith(begins) and len(word) >= len(begins) + _REST_LEAST:
            word = instead + word.removeprefix(begins)
            break
    return SPELLINGS.get(word, word)


_BEGINNINGS: Final = (*((begins, SERVANT_OF[0]) for begins in SERVANT_OF if begins != "ABD"), *BEGINNINGS)


def _given(name: CanonicalName) -> str:
    if name.given is None:
        raise InvalidIdentifier("De voornaam is leeg of onbekend. Zonder voornaam kan deze vraag niet.")
    if len(name.given) == 1:
        raise InvalidIdentifier("Een voorletter is niet genoeg. Vul de eerste voornaam voluit in.")
    return name.given


def _known_day(text: str) -> date:
    """A date of birth that is not the day that registers give to whoever does not know it."""
    born = birth_date(text)
    if (born.month, born.day) == NEW_YEAR:
        raise InvalidIdentifier(
            "Wie op 1 januari staat ingeschreven, is vaak op een andere dag geboren. Te veel mensen delen die dag. "
            "Vraag met een nummer, of met naam, geboortedatum en adres."
        )
    return born


def _name_birth(data: PersonData) -> str:
    name = canonical_name(data)
    return f"{name.surname}/{_given(name)}/{_known_day(data.geboortedatum):%Y%m%d}"


def _name_day_month(data: PersonData) -> str:
    name, born = canonical_name(data), _known_day(data.geboortedatum)
    low, high = sorted((born.month, born.day))
    return f"{name.surname}/{_given(name)}/{born.year}/{low:02d}{high:02d}"


def _name_postcode(data: PersonData) -> str:
    born = birth_date(data.geboortedatum)
    return f"{canonical_name(data).surname}/{born:%Y%m%d}/{address(data.postcode, data.huisnummer)}"


def _name_birth_postcode(data: PersonData) -> str:
    name, born = canonical_name(data), birth_date(data.geboortedatum)
    return f"{name.surname}/{_given(name)}/{born:%Y%m%d}/{address(data.postcode, data.huisnummer)}"


_MAKERS: Final[dict[str, Callable[[PersonData], str]]] = {
    NAME_BIRTH: _name_birth,
    NAME_DAY_MONTH: _name_day_month,
    NAME_POSTCODE: _name_postcode,
    NAME_BIRTH_POSTCODE: _name_birth_postcode,
}
