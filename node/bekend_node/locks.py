"""What processes of one node lock in its data folder, beside serving from it."""

SWITCH = "registers"
"""Held while pseudonym files and their rows change."""


def register_lock(register: str) -> str:
    """Held on a register for the whole of its import."""
    return f"enrol-{register}"
