"""What is kept about one person of one question, sealed under the desk key: always one length, whatever it is.

named --compared--> open --colleague--> released --collected--> known
  |                  |  ^                |
  |                  |  +----undo--------+--(refused likewise, until the next collect)
  +--> nothing <-----+--term over, withdrawn, refused and collected, shielded or departed
  +--> misnamed      keyed for one person, naming another: for the privacy officer
  +--> failed        could not be compared: a fault, and never the end of a term
"""

import base64
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from bekend_proto.errors import InternalError, KeysError
from bekend_proto.octets import lp
from bekend_proto.v1 import signed_pb2
from bekend_proto.v1.signed_pb2 import ReleaseState
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

_PADDED: Final = 6144
SEALED_LENGTH: Final = _PADDED + SecretBox.NONCE_SIZE + SecretBox.MACBYTES
"""Octets of a sealed matter."""


class Stage(StrEnum):
    """How far it is."""

    NAMED = "named"
    NOTHING = "nothing"
    OPEN = "open"
    RELEASED = "released"
    REFUSED = "refused"
    KNOWN = "known"
    MISNAMED = "misnamed"
    FAILED = "failed"


@dataclass(frozen=True)
class Matter:
    """`message` is D before it was compared; afterwards what it named, sealed by itself: opening a matter shows nobody.

    `pseudonym` is P of an own client, `handed_to` the user of a colleague.
    """

    stage: Stage
    message: bytes = field(default=b"", repr=False)
    pseudonym: bytes = field(default=b"", repr=False)
    handed_to: str = ""

    @property
    def is_item(self) -> bool:
        """Whether there is something to decide, or a decision to undo: what it named was not erased."""
        return self.stage in {Stage.OPEN, Stage.RELEASED, Stage.REFUSED} and bool(self.message)

    def seal(self, box: SecretBox) -> bytes:
        """SEALED_LENGTH octets."""
        text = json.dumps(
            {
                "stage": self.stage,
                "message": base64.b64encode(self.message).decode(),
                "pseudonym": self.pseudonym.hex(),
                "handed_to": self.handed_to,
            }
        ).encode()
        if len(text) > _PADDED - 2:
            raise InternalError("what is kept of a person does not fit")
        return bytes(box.encrypt(lp(text).ljust(_PADDED, b"\x00")))

    def erased(self, stage: Stage = Stage.NOTHING) -> "Matter":
        """At this stage, without anything about the person."""
        return Matter(stage)

    def ended(self) -> "Matter":
        """After the term: no item is left. A release that was not collected yet still counts for its pseudonym."""
        if self.stage is Stage.RELEASED:
            return replace(self, message=b"", handed_to="")
        if self.stage is Stage.NAMED:
            return self.erased(Stage.FAILED)
        return self.erased() if self.stage in {Stage.OPEN, Stage.REFUSED} else self

    def collected(self, *, is_over: bool, belongs: bool) -> "tuple[ReleaseState.ValueType, Matter]":
        """What a collect is told, and what is kept after it. `belongs`: still a client, and not shielded."""
        matter = self.ended() if is_over else self
        if matter.stage is Stage.REFUSED or (matter.stage is Stage.RELEASED and not belongs):
            matter = matter.erased()
        elif matter.stage is Stage.RELEASED:
            matter = matter.erased(Stage.KNOWN)
        if matter.stage is Stage.KNOWN:
            return signed_pb2.RELEASE_STATE_KNOWN, matter
        # A fault is never the authenticated end of a term: the requester then has no answer.
        is_closed = is_over and matter.stage is not Stage.FAILED
        return (signed_pb2.RELEASE_STATE_CLOSED if is_closed else signed_pb2.RELEASE_STATE_WAITING), matter


def open_matter(box: SecretBox, sealed: bytes) -> Matter:
    """What was sealed. Raises KeysError when the desk key is not the one that sealed it."""
    try:
        padded = box.decrypt(sealed)
    except CryptoError as fault:
        raise KeysError("desk.db does not open with keys/desk.key: restore the key") from fault
    found = json.loads(padded[2 : 2 + int.from_bytes(padded[:2], "big")])
    return Matter(
        Stage(found["stage"]),
        base64.b64decode(found["message"]),
        bytes.fromhex(found["pseudonym"]),
        found["handed_to"],
    )
