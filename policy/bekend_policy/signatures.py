"""Who signed a covenant, as its own folder says: for people to see.

Trust in these keys comes from `bekend policy verify` with a key that the reader already had (sign.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bekend_proto.errors import MalformedError
from bekend_proto.note import Note, verify_note

from bekend_policy.model import Covenant
from bekend_policy.terms import Participant


@dataclass(frozen=True)
class Signature:
    """Whose lines stand under this version. `state`: getekend, deels, or not at all."""

    participant: Participant
    state: str
    roles: tuple[tuple[str, bool], ...]


def signatures(covenant: Covenant) -> Iterator[Signature]:
    """Who signed exactly this text, by the keys in this very covenant."""
    for one in covenant.participants.values():
        note = covenant.notes.get(f"{one.oin}.note")
        signed = tuple(
            (role, _signed(covenant, note, vkey))
            for role, vkey in (("ondertekenaar", one.signer), ("jurist", one.lawyer))
            if vkey is not None
        )
        done = [is_signed for _, is_signed in signed]
        yield Signature(one, "getekend" if all(done) else "deels" if any(done) else "nog niet", signed)


def operator_signed(covenant: Covenant) -> bool:
    """Whether the operator signed exactly this text."""
    return _signed(covenant, covenant.notes.get(f"{covenant.broker_oin}.note"), covenant.operator_key)


def _signed(covenant: Covenant, note: Note | None, vkey: str) -> bool:
    try:
        return note is not None and note.text == covenant.manifest and verify_note(note, vkey)
    except MalformedError:
        return False
