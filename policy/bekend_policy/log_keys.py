"""Under which public keys the logs and cosignatures of a party are believed: from its key manifest alone."""

from collections.abc import Iterator

from bekend_proto.checkpoint import log_origin, witness_vkey
from bekend_proto.note import vkey_of

from bekend_policy.manifest import KeyManifest


def log_keys(manifest: KeyManifest, *, is_broker: bool) -> Iterator[str]:
    """Verification keys of each log of this party and, for a node, of its cosignatures."""
    for key in manifest.signing_keys:
        for name in (*manifest.log_names, *(one.log for one in manifest.closed_logs)):
            yield vkey_of(log_origin(manifest.oin, name), key)
        if not is_broker:
            yield witness_vkey(manifest.oin, key)
