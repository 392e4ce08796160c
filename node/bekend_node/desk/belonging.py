"""Is this still an own client, and not shielded? Asked when something is decided, and at each collect until told.

The registers as they are now count, not those of a filter: a shielding holds here at once (FG-36).
"""

from datetime import datetime

from bekend_proto.clock import month_of

from bekend_node import pseudonym_file
from bekend_node.config import SHIELDED
from bekend_node.pseudonym_file import month_number
from bekend_node.rules import Rules
from bekend_node.store_registers import Registers


def belongs(pseudonym: bytes, purpose: str, epoch: str, *, rules: Rules, registers: Registers, now: datetime) -> bool:
    """Whether P is in a register that counts for the purpose, unended, and not in `afgeschermd`. Blocks on files.

    Every file is looked into, whatever is found. An epoch of which nothing is left counts as departed. Raises
    StorageError.
    """
    source = rules.answered().get(purpose)
    named = source.registers if source else ()
    present = month_number(month_of(now))
    months = [
        (generation.register, _end_month(registers, generation.id, pseudonym))
        for generation in registers.generations()
        if (generation.purpose, generation.epoch) == (purpose, epoch) and generation.register in (*named, SHIELDED)
    ]
    found = [(register, month) for register, month in months if month is not None]
    is_shielded = any(register == SHIELDED for register, _ in found)
    return any(month >= present for register, month in found if register != SHIELDED) and not is_shielded


def _end_month(registers: Registers, generation: int, pseudonym: bytes) -> int | None:
    """The month in which this pseudonym's registration ends; None when it is not in the file."""
    path = registers.file(generation)
    at = pseudonym_file.find(path, pseudonym)
    record = next(pseudonym_file.read(path, at, at + 1), b"")
    return int.from_bytes(record[32:], "big") if record[:32] == pseudonym else None
