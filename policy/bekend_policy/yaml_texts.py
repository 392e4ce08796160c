"""What a fault in a YAML file is called and what to do about it, in Dutch (covenant) and English (configuration)."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["nl", "en"]

# key: ((Dutch what, Dutch remedy), (English what, English remedy)). Keys of pydantic keep pydantic's names.
_TEXTS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "unreadable": (
        ("het bestand is niet te lezen ({problem})", "Controleer het pad en de rechten."),
        ("the file cannot be read ({problem})", "Check its path and permissions."),
    ),
    "absent": (
        ("het bestand is er niet", "Controleer het pad, of zet het bestand daar."),
        ("the file cannot be read (No such file or directory)", "Check its path and permissions."),
    ),
    "a_folder": (
        ("dit is een map, geen bestand", "Controleer het pad."),
        ("the file cannot be read (Is a directory)", "Check its path."),
    ),
    "too_big": (
        ("het bestand is groter dan {bytes} bytes", "Splits het, of verwijder wat er niet hoort."),
        ("the file is larger than {bytes} bytes", "This is not a configuration file."),
    ),
    "not_utf8": (
        ("de tekst is geen UTF-8", "Bewaar het bestand als UTF-8."),
        ("the text is not UTF-8", "Save the file as UTF-8."),
    ),
    "bom": (
        ("het bestand begint met een onzichtbaar teken (BOM)", "Bewaar het als UTF-8 zonder BOM."),
        ("the file starts with a byte order mark", "Save it as UTF-8 without BOM."),
    ),
    "tab": (
        ("hier staat een tab (teken {column})", "Gebruik spaties."),
        ("a tab (column {column})", "Use spaces."),
    ),
    "invisible": (
        ("hier staat een onzichtbaar teken", "Typ de regel opnieuw: wie tekent, moet zien wat er staat."),
        ("an invisible character", "Type this line again."),
    ),
    "not_nfc": (
        ("een letter met accent is hier uit losse delen opgebouwd", "Typ de letter opnieuw (Unicode NFC)."),
        ("text that is not in Unicode form NFC", "Type the accented letters again."),
    ),
    "syntax": (
        ("dit is geen geldige YAML (teken {column})", "Controleer inspringing, dubbele punten en aanhalingstekens."),
        ("not valid YAML ({problem}, column {column})", "Check indentation, colons and quotes."),
    ),
    "syntax_colon": (
        (
            "hier ontbreekt een dubbele punt, of een spatie achter een streepje (teken {column})",
            "Schrijf 'sleutel: waarde', of '- waarde'.",
        ),
        (
            "not valid YAML: a colon is missing here, or a space after a dash (column {column})",
            "Write 'key: value', or '- value'.",
        ),
    ),
    "syntax_stray_colon": (
        (
            "hier staat een dubbele punt die niet past (teken {column})",
            "Zet een tekst met een dubbele punt tussen aanhalingstekens. Kijk ook naar de regel erboven: achter de "
            "dubbele punt hoort een spatie, en sleutels bij elkaar springen even ver in.",
        ),
        (
            "not valid YAML: a colon that does not fit (column {column})",
            "Quote a text that holds a colon. Look at the line above too: a space after its colon, the same indent.",
        ),
    ),
    "syntax_misplaced": (
        (
            "deze regel past niet bij de regels erboven (teken {column})",
            "Laat wat bij elkaar hoort even ver inspringen, en zet een tekst met aanhalingstekens erin helemaal tussen "
            "enkele aanhalingstekens.",
        ),
        (
            "not valid YAML: this line does not fit those above (column {column})",
            "Indent what belongs together alike, and put a text with quotes in it between single quotes.",
        ),
    ),
    "syntax_list": (
        (
            "deze regel hoort niet bij de lijst erboven (teken {column})",
            "Begin elke regel van een lijst met een streepje.",
        ),
        (
            "not valid YAML: this line is not part of the list above (column {column})",
            "Begin each line of a list with a dash.",
        ),
    ),
    "syntax_quote": (
        (
            "het aanhalingsteken dat hier begint, wordt niet gesloten (teken {column})",
            "Zet hetzelfde aanhalingsteken aan het eind van de tekst.",
        ),
        (
            "not valid YAML: the quote that begins here is not closed (column {column})",
            "Put the same quote at the end of the text.",
        ),
    ),
    "syntax_bracket": (
        (
            "de lijst die hier begint met '[', is niet af (teken {column})",
            "Zet komma's tussen de waarden, en ']' aan het eind.",
        ),
        (
            "not valid YAML: the list that begins here with '[' has no end (column {column})",
            "Commas between the values, ']' at the end.",
        ),
    ),
    "syntax_brace": (
        ("wat hier begint met '{{', is niet af (teken {column})", "Zet komma's tussen de delen, en '}}' aan het eind."),
        (
            "not valid YAML: what begins here with '{{' has no end (column {column})",
            "Commas between the parts, '}}' at the end.",
        ),
    ),
    "syntax_start": (
        ("een waarde kan niet met dit teken beginnen (teken {column})", "Zet de waarde tussen aanhalingstekens."),
        ("not valid YAML: a value cannot begin with this character (column {column})", "Quote the value."),
    ),
    "syntax_escape": (
        (
            "een schuine streep achterover betekent hier iets anders (teken {column})",
            "Zet de tekst tussen enkele aanhalingstekens, of laat het teken weg.",
        ),
        (
            "not valid YAML: a backslash means something else here (column {column})",
            "Put the text between single quotes.",
        ),
    ),
    "syntax_dash": (
        (
            "hier kan geen streepje staan (teken {column})",
            "Begin een lijst op een nieuwe regel, of zet de waarde tussen aanhalingstekens.",
        ),
        (
            "not valid YAML: a dash cannot stand here (column {column})",
            "Begin a list on a new line, or quote the value.",
        ),
    ),
    "too_deep": (
        ("hier staat te veel in elkaar: meer dan {depth} niveaus", "Zo diep gaat geen bestand: haal haakjes weg."),
        ("more than {depth} levels within each other", "No file goes that deep: remove brackets."),
    ),
    "empty_file": (
        ("het bestand is leeg", "Vul het, of verwijder het."),
        ("the file is empty", "Fill it in, or remove it."),
    ),
    "second_document": (
        ("hier begint een tweede document ('---')", "Eén bestand bevat één document."),
        ("a second document ('---') starts here", "One file holds one document."),
    ),
    "directive": (
        ("YAML-instructies ('%') zijn niet toegestaan", "Verwijder de regel."),
        ("YAML directives ('%') are not allowed", "Remove the line."),
    ),
    "anchor": (
        ("verwijzingen ('&' en '*') zijn niet toegestaan", "Schrijf de waarde uit of zet aanhalingstekens."),
        ("anchors and aliases ('&', '*') are not allowed", "Write the value out, or quote it."),
    ),
    "tag": (
        ("tags ('!') zijn niet toegestaan", "Laat de tag weg."),
        ("tags ('!') are not allowed", "Leave the tag out."),
    ),
    "merge_key": (
        ("samenvoegen ('<<') is niet toegestaan", "Schrijf de sleutels uit."),
        ("merge keys ('<<') are not allowed", "Write the keys out."),
    ),
    "key_not_text": (
        ("een sleutel moet gewone tekst zijn", "Zet één woord voor de dubbele punt."),
        ("a key must be plain text", "Put one word before the colon."),
    ),
    "duplicate_key": (
        ("sleutel '{name}' staat er twee keer (ook op regel {first})", "Laat er één staan."),
        ("key '{name}' appears twice (also on line {first})", "Keep one."),
    ),
    "empty_value": (
        ("'{name}' heeft geen waarde", "Vul een waarde in, of laat de sleutel weg."),
        ("'{name}' has no value", "Give a value, or leave the key out."),
    ),
    "unknown_key": (
        ("onbekende sleutel '{name}'", "Toegestaan is hier: {known}."),
        ("unknown key '{name}'", "Allowed here: {known}."),
    ),
    "unknown_key_near": (
        ("onbekende sleutel '{name}'", "Bedoelt u '{near}'? Toegestaan is hier: {known}."),
        ("unknown key '{name}'", "Did you mean '{near}'? Allowed here: {known}."),
    ),
    "missing": (
        ("verplichte sleutel '{name}' ontbreekt", "Voeg '{name}:' toe."),
        ("required key '{name}' is missing", "Add '{name}:'."),
    ),
    "string_type": (
        ("'{name}' moet één tekst zijn", "Schrijf één waarde achter de dubbele punt."),
        ("'{name}' must be one text", "Write one value after the colon."),
    ),
    "tuple_type": (
        ("'{name}' moet een lijst zijn", "Schrijf [a, b] of regels met een streepje."),
        ("'{name}' must be a list", "Write [a, b], or lines that start with a dash."),
    ),
    "dict_type": (
        ("'{name}' moet uit sleutels met waarden bestaan", "Schrijf regels 'sleutel: waarde'."),
        ("'{name}' must consist of keys with values", "Write lines 'key: value'."),
    ),
    "enum": (
        ("'{name}' heeft een waarde die niet bestaat", "Kies uit {expected}."),
        ("'{name}' has a value that does not exist", "Choose from {expected}."),
    ),
    "too_short": (
        ("'{name}' bevat te weinig", "Geef er ten minste {min_length}."),
        ("'{name}' holds too few", "Give at least {min_length}."),
    ),
    "too_long": (
        ("'{name}' bevat te veel", "Geef er ten hoogste {max_length}."),
        ("'{name}' holds too many", "Give at most {max_length}."),
    ),
    "string_too_long": (
        ("'{name}' is te lang", "Gebruik ten hoogste {max_length} tekens."),
        ("'{name}' is too long", "Use at most {max_length} characters."),
    ),
    "greater_than_equal": (
        ("'{name}' is te klein", "Het laagste is {ge}."),
        ("'{name}' is too small", "The lowest is {ge}."),
    ),
    "less_than_equal": (
        ("'{name}' is te groot", "Het hoogste is {le}."),
        ("'{name}' is too large", "The highest is {le}."),
    ),
    "whole_number": (
        ("'{name}' moet een heel getal zijn", "Schrijf alleen cijfers, bijvoorbeeld 40."),
        ("'{name}' must be a whole number", "Write digits only, for example 40."),
    ),
    "ja_nee": (
        ("'{name}' moet 'ja' of 'nee' zijn", "Schrijf ja of nee."),
        ("'{name}' must be 'ja' or 'nee'", "Write ja or nee."),
    ),
    "true_false": (
        ("'{name}' moet 'true' of 'false' zijn", "Schrijf true of false."),
        ("'{name}' must be 'true' or 'false'", "Write true or false."),
    ),
    "duration": (
        ("'{name}' moet een duur zijn", "Schrijf ISO 8601, bijvoorbeeld PT15M, PT72H, P3D of P28D."),
        ("'{name}' must be a duration", "Write ISO 8601, for example PT15M, PT72H, P3D or P28D."),
    ),
    "years": (
        ("'{name}' moet een aantal jaren zijn", "Schrijf bijvoorbeeld P5Y."),
        ("'{name}' must be a number of years", "Write for example P5Y."),
    ),
    "oin": (
        ("'{name}' moet een OIN van 20 tekens zijn", "Neem het OIN over uit het certificaat, met alle nullen."),
        ("'{name}' must be an OIN of 20 characters", "Copy it from the certificate, zeros included."),
    ),
    "slug": (
        ("'{name}' mag alleen kleine letters, cijfers en streepjes bevatten", "Bijvoorbeeld: zsm-context."),
        ("'{name}' may hold lower case letters, digits and dashes only", "For example: zsm-context."),
    ),
    "day": (
        ("'{name}' moet een datum zijn", "Schrijf jjjj-mm-dd, bijvoorbeeld 2026-11-22."),
        ("'{name}' must be a date", "Write yyyy-mm-dd, for example 2026-11-22."),
    ),
    "moment": (
        ("'{name}' moet een tijdstip in UTC zijn", "Schrijf bijvoorbeeld 2026-11-22T10:00:00Z."),
        ("'{name}' must be a moment in UTC", "Write for example 2026-11-22T10:00:00Z."),
    ),
    "hex32": (
        ("'{name}' moet een sleutel van 64 hexadecimale tekens zijn", "Kopieer de sleutel opnieuw."),
        ("'{name}' must be a key of 64 lower-case hex digits", "Copy the key again."),
    ),
    "rule": (("{what}", "{remedy}"), ("{what}", "{remedy}")),
    "other": (
        ("'{name}' past niet ({message})", "Zie de handleiding van deze sleutel."),
        ("'{name}' does not fit ({message})", "See the comments in the sample file."),
    ),
}
_SAME = {"list_type": "tuple_type", "set_type": "tuple_type", "frozen_set_type": "tuple_type"} | {
    "model_type": "dict_type",
    "model_attributes_type": "dict_type",
    "literal_error": "enum",
}


def text_of(key: str, language: Language, values: Mapping[str, object]) -> tuple[str, str]:
    """What is wrong, and the remedy, in this language."""
    dutch, english = _TEXTS.get(_SAME.get(key, key), _TEXTS["other"])
    what, remedy = dutch if language == "nl" else english
    shown = {"message": "", **values}
    return what.format(**shown), remedy.format(**shown)
