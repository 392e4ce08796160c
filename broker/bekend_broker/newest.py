"""The highest number ever seen is remembered, of manifests and suspensions alike: an older one is refused, also after a
restart, so that a revoked key cannot come back.
"""

from bekend_policy.manifest import KeyManifest
from bekend_policy.suspension import Suspension
from bekend_proto.errors import StaleError
from bekend_proto.note import parse_note
from bekend_proto.sql import Connection

from bekend_broker import store_directory
from bekend_broker.present import Present


def remember_present(connection: Connection, present: Present) -> None:
    """What comes into service. Raises StaleError as `remember_manifest`."""
    remember_manifest(connection, present.manifest, present.note)
    store_directory.keep_covenant(connection, present.covenant.id, present.covenant.version)


def remember_suspension(connection: Connection, suspension: Suspension, note: bytes) -> bool:
    """Whether it is new. Raises StaleError for an older number, or another text under the same."""
    held = store_directory.newest_suspension(connection, suspension.key)
    if held is not None and suspension.number < held[0]:
        raise StaleError(f"stilzetting {suspension.number}: nummer {held[0]} is al gezien, geef een hoger nummer")
    if held is not None and suspension.number == held[0]:
        if parse_note(held[1]).text != parse_note(note).text:
            raise StaleError(f"onder nummer {suspension.number} is al een andere stilzetting gezien")
        return False
    store_directory.keep_suspension(connection, suspension.key, suspension.number, note)
    return True


def remember_manifest(connection: Connection, manifest: KeyManifest, note: bytes) -> None:
    """Raises StaleError for an older number, or another text under the same."""
    held = store_directory.newest_manifest(connection, manifest.oin)
    if held is not None and manifest.number < held[0]:
        raise StaleError(f"manifest {manifest.number} of {manifest.oin} is older than {held[0]}, which was seen before")
    if held is not None and manifest.number == held[0] and note != held[1]:
        raise StaleError(f"another manifest {manifest.number} of {manifest.oin} was seen before: give it a new number")
    store_directory.keep_manifest(connection, manifest.oin, manifest.number, note)
