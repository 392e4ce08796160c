"""One version of one purpose's filter: what answering needs, how it is made, checked, and taken up after a restart."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

from bekend_policy.manifest import KeyManifest
from bekend_proto.channel import LABEL_FILTER, parse_strict, sign_message
from bekend_proto.errors import MalformedError, NotReadyError, StorageError
from bekend_proto.filter import ClosedFilter, class_of_filter, m_hash, tag
from bekend_proto.group import multiply, multiply_base, random_scalar, scalar_multiply
from bekend_proto.v1 import signed_pb2
from nacl.exceptions import CryptoError

from bekend_node import client_file
from bekend_node.classes import POSSIBLE, FilterId
from bekend_node.keys import NodeKeys
from bekend_node.store_filters import FilterRow


@dataclass(frozen=True)
class Serving:
    """A filter and the scalar m*k that belongs to it. Immutable: a question takes one and keeps to it."""

    header: signed_pb2.FilterHeader
    signed: signed_pb2.Signed
    tags: Path
    """File of the tags; of a filter for answering by hand, the clients' W (client_file.py)."""
    m: bytes = field(repr=False)
    scalar: bytes = field(repr=False)

    @property
    def purpose(self) -> str:
        """The purpose that it answers."""
        return self.header.purpose

    @cached_property
    def id(self) -> FilterId:
        """The purpose that it answers, and questions by which class of identifier."""
        return FilterId(self.purpose, class_of_filter(self.header))

    @property
    def by_hand(self) -> bool:
        """Whether a colleague decides: the header goes out alone, without tags."""
        return self.header.mode == signed_pb2.FILTER_MODE_MANUAL

    @property
    def compare_key(self) -> bytes:
        """Opens the clients' W of a filter for answering by hand."""
        return client_file.compare_key(self.m, self.header.source, self.purpose, self.version)

    @property
    def version(self) -> int:
        """Seconds since 1970-01-01 UTC of its switch."""
        return self.header.version

    @property
    def end(self) -> int:
        """Seconds since 1970-01-01 UTC of the next switch."""
        return self.header.end

    @cached_property
    def as_of(self) -> date:
        """Date of the oldest register behind it."""
        return date.fromisoformat(self.header.as_of)

    @property
    def m_public(self) -> bytes:
        """M = m * k * G."""
        return self.header.m

    @cached_property
    def m_hash(self) -> bytes:
        """BLAKE2b-256 of M, as the Answer names it."""
        return m_hash(self.header.m)

    def body(self) -> mmap.mmap:
        """The sorted tags, mapped: readable for as long as somebody holds them, also after a switch.

        Raises NotReadyError when the file is not there any more.
        """
        try:
            with self.tags.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as fault:
            raise NotReadyError(f"the filter for {self.purpose} cannot be read: it is built again") from fault

    def row(self, keys: NodeKeys) -> FilterRow:
        """What is kept over a restart: m only sealed."""
        return FilterRow(
            *self.id,
            self.header.epoch,
            self.version,
            self.end,
            self.signed.payload,
            self.signed.signature,
            bytes(keys.state_box.encrypt(self.m)),
        )


@dataclass(frozen=True)
class FreshKey:
    """A new m for one version, with m*k."""

    m: bytes = field(repr=False)
    scalar: bytes = field(repr=False)

    @classmethod
    def draw(cls, secret: bytes) -> "FreshKey":
        """m is random, never derived (protocol section 4). `secret` is k."""
        m = random_scalar()
        return cls(m, scalar_multiply(m, secret))


def make_serving(header: signed_pb2.FilterHeader, key: FreshKey, tags: Path, keys: NodeKeys) -> Serving:
    """Fill in M and sign the header."""
    header.m = multiply_base(key.scalar)
    return Serving(header, sign_message(keys.signing, LABEL_FILTER, header), tags, key.m, key.scalar)


def reopen(row: FilterRow, folder: Path, keys: NodeKeys) -> Serving:
    """The filter that served before a restart. Raises NotReadyError when what is kept does not belong together."""
    if row.payload is None or row.signature is None or row.m is None:
        raise NotReadyError("this filter was withdrawn")
    try:
        header = parse_strict(signed_pb2.FilterHeader, row.payload)
        if class_of_filter(header) != row.kind_class:
            raise MalformedError("the kept header is of another class of identifier than its row")
        m = keys.state_box.decrypt(row.m)
    except (CryptoError, MalformedError) as fault:
        raise NotReadyError("the kept filter cannot be opened with the keys at hand") from fault
    scalar = scalar_multiply(m, keys.evaluation_key(row.purpose, row.epoch).secret)
    signed = signed_pb2.Signed(payload=row.payload, signature=row.signature)
    by_hand = header.mode == signed_pb2.FILTER_MODE_MANUAL
    return Serving(header, signed, filter_file(folder, row.id, row.version, by_hand=by_hand), m, scalar)


def check(serving: Serving, manifest: KeyManifest, canary: bytes | None) -> None:
    """Must-list 14: M is m times the announced K, the body is the header's, and the canary is found in it.

    Raises NotReadyError; such a filter is never published. Reads the whole file: call it in a thread.
    """
    header = serving.header
    if serving.id.kind_class == POSSIBLE and not serving.by_hand:
        raise NotReadyError(f"combinations are answered by hand only: the filter for {serving.id} is built again")
    announced = manifest.evaluation_keys.get((header.source, header.purpose, header.epoch))
    # M was made from m*k, here it is made from m and K: a k that is not the announced one shows.
    if announced is None or multiply(serving.m, announced) != header.m or multiply_base(serving.scalar) != header.m:
        raise NotReadyError(f"M for {header.purpose} does not belong to the K of the signed manifest")
    if canary is None:
        raise NotReadyError(f"no canary is enrolled for {header.purpose}: import a register again")
    found = _finds_by_hand if serving.by_hand else _finds
    if not found(serving, [multiply(serving.m, canary[at : at + 32]) for at in range(0, len(canary), 32)]):
        raise NotReadyError(f"the canary is missed in the filter for {header.purpose}: it is not published")


def _finds(serving: Serving, wanted: Sequence[bytes]) -> bool:
    """Whether each W is found as a requester does it, in a body that is the header's."""
    header = serving.header
    try:
        closed = ClosedFilter(serving.body())
    except MalformedError as fault:
        raise NotReadyError(f"the filter for {header.purpose} is damaged: it is built again") from fault
    if closed.hash != header.body_hash or len(closed) != header.tags:
        raise NotReadyError(f"the filter for {header.purpose} is not the one of its header: it is built again")
    return all(closed.contains(tag(w, header.source, header.purpose, header.version)) for w in wanted)


def _finds_by_hand(serving: Serving, wanted: Sequence[bytes]) -> bool:
    """Whether each W is among the clients' as a D is compared, in a file that opens from first chunk to last."""
    try:
        # Every chunk is opened, wherever W is: a damaged one would miss persons in silence.
        missing = set(wanted)
        for chunk in client_file.read(serving.tags, serving.compare_key):
            missing -= set(chunk)
        return not missing
    except StorageError as fault:
        raise NotReadyError(fault.detail) from fault


def filter_file(folder: Path, id_: FilterId, version: int, *, by_hand: bool) -> Path:
    """Where the tags of a version are kept, or the clients' W when a colleague decides."""
    form = "possible" if id_.kind_class == POSSIBLE else "clients" if by_hand else "tags"
    return folder / f"{id_.purpose.replace('/', '~')}-{version}.{form}"
