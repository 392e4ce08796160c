"""Signing a text file other than a covenant: a key manifest, standing decision, suspension, mapping, or a release.

The first line says what it is. The result is FILE.note; a second signer adds a line to it.
"""

from collections.abc import Callable
from pathlib import Path

from bekend_proto.errors import MalformedError
from bekend_proto.note import add_signature, parse_note, sign_note

from bekend_policy import manifest, standing, suspension
from bekend_policy.faults import YamlFaults
from bekend_policy.keys import SigningKey
from bekend_policy.sign import write_atomic
from bekend_policy.strict_yaml import parse_yaml


def _well_formed(text: str) -> None:
    document = parse_yaml(text, language="nl", name="bestand")
    if document.faults:
        raise YamlFaults(document.faults)


WHEELHOUSE = "kind: bekend/1 wheelhouse"
"""Files of a release by their hashes (deploy/wheelhouse.py), signed by who releases."""

# First line -> what is checked before anyone signs. A mapping belongs to the node, which checks its fields.
KINDS: dict[str, Callable[[str], object]] = {
    f"kind: {manifest.KIND}": manifest.parse_manifest,
    f"soort: {standing.KIND}": standing.parse_standing,
    f"soort: {suspension.KIND}": suspension.parse_suspension,
    "kind: bekend/1 mapping": _well_formed,
    WHEELHOUSE: _well_formed,
}


def kind_of(text: str) -> str:
    """The first line, when it is a kind that may be signed. Raises MalformedError otherwise."""
    first = text.split("\n", 1)[0]
    if first not in KINDS:
        raise MalformedError(f"de eerste regel moet een van deze zijn: {'; '.join(KINDS)}")
    return first


def sign_text(path: Path, key: SigningKey) -> Path:
    """Sign a text file of a known kind: writes FILE.note, or adds a line to it. Returns the note's path.

    Raises MalformedError for another kind of text or when FILE.note holds another text, KeysError or YamlFaults when
    the text breaks its own rules: nobody signs what could not be used.
    """
    try:
        # An editor on Windows ends its lines in its own way; a note has one.
        text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedError(f"{path} is niet te lezen als tekst: controleer het pad") from error
    KINDS[kind_of(text)](text)
    target = path.with_name(f"{path.name}.note")
    if not target.exists():
        write_atomic(target, sign_note(text, key.name, key.seed))
        return target
    present = target.read_bytes()
    if parse_note(present).text != text:
        raise MalformedError(
            f"{target} hoort bij een andere tekst: bewaar het elders of verwijder het, en teken opnieuw"
        )
    write_atomic(target, add_signature(present, key.name, key.seed))
    return target


def describe(text: str) -> str:
    """One Dutch line about a signed text, for who verifies it. Raises like `sign_text`."""
    kind = kind_of(text)
    parsed = KINDS[kind](text)
    if isinstance(parsed, manifest.KeyManifest):
        return f"sleutelmanifest {parsed.number} van {parsed.oin}, geldig tot {parsed.valid_until:%Y-%m-%d}"
    if isinstance(parsed, standing.StandingDecision):
        return f"standaardbesluit van {parsed.source} voor {parsed.purpose}, tot en met {parsed.last_day}"
    if isinstance(parsed, suspension.Suspension):
        what = f"{parsed.what} {parsed.about}".strip()
        return f"{'intrekking van een stilzetting' if parsed.lifted else 'stilzetting'} {parsed.number}: {what}"
    return "bestanden van een uitgave" if kind == WHEELHOUSE else "kolomindeling van een register"
