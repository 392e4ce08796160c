"""The public keys that whoever verifies trusts: nothing else is believed."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from bekend_proto.checkpoint import owner_of, parse_witness
from bekend_proto.errors import MalformedError
from bekend_proto.note import parse_vkey


@dataclass(frozen=True)
class Keys:
    """Ed25519 keys: of logs by their origin, of partners (cosignatures, and what they sign) by their OIN."""

    logs: dict[str, tuple[bytes, ...]]
    partners: dict[str, tuple[bytes, ...]]

    @classmethod
    def parse(cls, vkeys: Iterable[str]) -> Self:
        """Verification keys as `bekend log keys` prints them; empty lines and lines with # are left out.

        Raises MalformedError for a line that is no key of a log or a witness.
        """
        logs: dict[str, list[bytes]] = defaultdict(list)
        partners: dict[str, list[bytes]] = defaultdict(list)
        for line in vkeys:
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if "/witness+" in text:
                oin, public = parse_witness(text)
                partners[oin].append(public)
                continue
            key = parse_vkey(text)
            owner = owner_of(key.name)
            logs[key.name].append(key.public)
            partners[owner].append(key.public)
        return cls(
            {name: tuple(dict.fromkeys(found)) for name, found in logs.items()},
            {oin: tuple(dict.fromkeys(found)) for oin, found in partners.items()},
        )

    def of_log(self, origin: str) -> tuple[bytes, ...]:
        """The keys of a log. Raises MalformedError when none was given."""
        if origin not in self.logs:
            raise MalformedError(f"no key of {origin} was given: a file is believed under keys from elsewhere alone")
        return self.logs[origin]
