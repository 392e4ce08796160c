"""The directory as it travels: whole, or what changed since an edition that the caller has.

Every node asks each minute and at each change. Sent whole, the manifests that all partners renew in the same days would
cost traffic by the cube of their number: that many changes, to that many nodes, each with that many notes.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from bekend_proto.v1.broker_pb2 import DirectoryEntry, GetDirectoryRequest, GetDirectoryResponse

PROTOCOL_VERSIONS: Final = frozenset({1})
"""Versions of the protocol that this broker speaks."""

REMEMBERED: Final = 64
"""Of so many editions it is remembered what stood in them. Whoever has an older one gets the whole."""


@dataclass(frozen=True)
class Content:
    """What is in the directory now."""

    broker: str
    """OIN of the broker."""
    notes: Mapping[str, bytes]
    """The key manifests by OIN, in the order in which they travel; the broker's own among them."""
    covenants: tuple[bytes, ...]
    """Hashes of the versions in service, newest first."""
    suspensions: tuple[bytes, ...]


class Editions:
    """What was told before, by its digest, and what a caller is told now."""

    def __init__(self) -> None:
        self._content: Content | None = None
        self._whole = GetDirectoryResponse()
        self._stood: dict[bytes, dict[str, bytes]] = {}
        """Hashes of the notes by OIN, per digest of the directory in which they stood; the newest last."""

    def reply(self, content: Content, attached: Collection[str], request: GetDirectoryRequest) -> GetDirectoryResponse:
        """What this caller lacks of `content`, and who is attached."""
        if content != self._content:
            self._renew(content)
        digest = self._whole.digest
        if request.have == digest:
            return GetDirectoryResponse(digest=digest, unchanged=True, attached=sorted(attached))
        if request.changes and request.have in self._stood:
            return self._since(request.have, attached)
        response = GetDirectoryResponse()
        response.CopyFrom(self._whole)
        for entry in response.entries:
            entry.attached = entry.oin in attached
        return response

    def _since(self, have: bytes, attached: Collection[str]) -> GetDirectoryResponse:
        assert self._content is not None
        whole, broker = self._whole, self._content.broker
        earlier, now = self._stood[have], self._stood[whole.digest]
        changed = {oin for oin, hash_ in now.items() if earlier.get(oin) != hash_}
        return GetDirectoryResponse(
            protocol_versions=whole.protocol_versions,
            broker_manifest=whole.broker_manifest if broker in changed else b"",
            entries=[entry for entry in whole.entries if entry.oin in changed],
            covenant_hashes=whole.covenant_hashes,
            suspensions=whole.suspensions,
            digest=whole.digest,
            attached=sorted(attached),
            since=have,
            gone=sorted(earlier.keys() - now.keys()),
        )

    def _renew(self, content: Content) -> None:
        whole = GetDirectoryResponse(
            protocol_versions=sorted(PROTOCOL_VERSIONS),
            broker_manifest=content.notes[content.broker],
            entries=[
                DirectoryEntry(oin=oin, manifest=note) for oin, note in content.notes.items() if oin != content.broker
            ],
            covenant_hashes=content.covenants,
            suspensions=content.suspensions,
        )
        whole.digest = hashlib.sha256(whole.SerializeToString(deterministic=True)).digest()
        self._content, self._whole = content, whole
        self._stood.pop(whole.digest, None)
        self._stood[whole.digest] = {oin: hashlib.sha256(note).digest() for oin, note in content.notes.items()}
        if len(self._stood) > REMEMBERED:
            del self._stood[next(iter(self._stood))]
