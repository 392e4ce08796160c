"""What the loss of a privacy officer's key exposes, counted from an export without opening more than one record each.

With the key alone: nothing. With the key and a copy of the node's database: every own record (who was asked about, by
whom, with what outcome) lies open. The records of questions that this node answered stay closed: each takes `U`, which
costs a logged call to the broker, signed with a key that the next manifest takes out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from bekend_policy.officer_key import OfficerKey
from bekend_proto.clock import day_of, from_milliseconds
from nacl.exceptions import CryptoError
from nacl.public import SealedBox

from bekend_node.ask.own_record import KIND_LOOKUP
from bekend_node.records.opening import PART
from bekend_node.store_export import Export, ExportedRecord


@dataclass(frozen=True)
class Exposure:
    """How many own lookups were sealed to this key, and from which day to which; how many questions were answered."""

    lookups: int
    first: date | None
    last: date | None
    answered: int

    def lines(self) -> list[str]:
        """For the privacy officer."""
        found = f"{self.lookups} eigen bevragingen" + (
            f", van {self.first:%d-%m-%Y} tot en met {self.last:%d-%m-%Y}" if self.first and self.last else ""
        )
        return [
            f"Onder de oude sleutel verzegeld: {found}. Wie de sleutel én een kopie van de database van de node heeft, "
            "leest van elke bevraging over wie zij ging, wie vroeg en wat er terugkwam.",
            f"De {self.answered} vragen die uw node beantwoordde, blijven dicht: daarvoor is per persoon ook een "
            "verzoek aan de makelaar nodig, getekend met een sleutel die het nieuwe sleuteloverzicht vervangt.",
            "Laat daarom eerst het nieuwe sleuteloverzicht tekenen. Ga daarna na wie een kopie van de database kan "
            "hebben, en of u het lek moet melden (AVG artikel 33).",
        ]

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "own_lookups": self.lookups,
            "first_day": self.first.isoformat() if self.first else None,
            "last_day": self.last.isoformat() if self.last else None,
            "answered_questions": self.answered,
        }


def exposure_of(path: Path, key: OfficerKey) -> Exposure:
    """What this key opens of an export. Raises MalformedError when the file is none."""
    box = SealedBox(key.opening)
    with Export.open(path) as export:
        opened = [record.at for record in _lookups(export) if _opens(box, record.sealed)]
        days = [day_of(from_milliseconds(at)) for at in opened]
        return Exposure(len(opened), min(days, default=None), max(days, default=None), export.questions())


def _lookups(export: Export) -> Iterator[ExportedRecord]:
    total = export.own_records()
    for first in range(1, total + 1, PART):
        yield from export.read_own(KIND_LOOKUP, first, first + PART - 1)


def _opens(box: "SealedBox[Any]", sealed: bytes) -> bool:
    try:
        box.decrypt(sealed)
    except (CryptoError, ValueError):
        return False
    return True
