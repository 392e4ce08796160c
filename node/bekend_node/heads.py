"""What this node holds of the broker's log while it asks and answers: in memory, without a wait.

Kept up to date by witness.py. A lookup reads `checkpoint`, stops at `check`, and hands in what peers carried.
"""

from dataclasses import dataclass, field
from typing import Final

from bekend_proto.checkpoint import NO_CHECKPOINT
from bekend_proto.errors import LogError

WAITING: Final = 256
"""Checkpoints of peers that wait to be compared; a peer that sends more waits for its turn."""
OF_ONE: Final = 16
"""Of these from one peer: what it makes up keeps nobody else's out."""
AGREED: Final = 4096
"""Checkpoints that are known to agree; then the oldest half is forgotten."""


@dataclass
class Heads:
    """The last checkpoint seen, what peers saw, and whether the broker's log contradicts itself."""

    checkpoint: bytes = NO_CHECKPOINT
    """72 octets, for Questions and Answers."""
    stopped: str = ""
    """Why nothing is asked or answered; empty when nothing is wrong."""
    unpromised: int = 0
    """Lookups with an Answer to which the broker gave no promise, since the last look."""
    heard: dict[bytes, str] = field(default_factory=dict, repr=False)
    """Checkpoints that were not compared yet, and the OIN of who carried it first."""
    _agreed: dict[bytes, None] = field(default_factory=dict, repr=False)

    def check(self) -> None:
        """Raises LogError when the broker's log contradicts itself."""
        if self.stopped:
            raise LogError(self.stopped)

    def hear(self, octets: bytes, peer: str) -> None:
        """A checkpoint that a peer signed in a Question or Answer."""
        if octets == NO_CHECKPOINT or octets in self._agreed or len(self.heard) >= WAITING:
            return
        if sum(one == peer for one in self.heard.values()) < OF_ONE:
            self.heard.setdefault(octets, peer)

    def agree(self, octets: bytes) -> None:
        """This checkpoint was proved to be of the one log."""
        self.heard.pop(octets, None)
        if len(self._agreed) >= AGREED:
            for old in list(self._agreed)[: AGREED // 2]:
                del self._agreed[old]
        self._agreed[octets] = None
