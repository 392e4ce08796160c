"""Who a node is when it asks: what every step of the requester's side works with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_policy.suspension import Suspensions
from bekend_proto.clock import Clock
from nacl.secret import SecretBox
from nacl.signing import SigningKey

from bekend_node.heads import Heads
from bekend_node.store import Store


@dataclass(frozen=True, slots=True)
class Asking:
    """Who this node is when it asks, and what it needs for that."""

    oin: str
    key: SigningKey = field(repr=False)
    state: SecretBox = field(repr=False)
    """Seals what this node keeps on disk over a restart."""
    manifest: KeyManifest
    manifest_note: bytes = field(repr=False)
    covenant: Covenant
    manifest_of: Callable[[str], Awaitable[KeyManifest]]
    """The newest verified manifest of a party. Raises KeysError."""
    manifest_at_hand: Callable[[str], KeyManifest | None]
    """The same without asking the broker; None where it is not known, or has ended."""
    case_key: bytes = field(repr=False)
    """Under which case references are hashed for the record; this node's own."""
    store: Store
    clock: Clock
    suspensions: Suspensions = field(default_factory=Suspensions, repr=False)
    heads: Heads = field(default_factory=Heads, repr=False)
