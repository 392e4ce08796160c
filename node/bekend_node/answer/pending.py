"""A question that was answered by hand: what every later message about it needs, until an hour after its term.

Written with the answer, in the transaction of its log entry (step 8), sealed under the state key: the database alone
tells no more than that a question was answered, which stands there already.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import timedelta

from bekend_policy.model import Covenant
from bekend_proto.channel import OpenChannel
from bekend_proto.collecting import Parties
from bekend_proto.errors import InternalError, KeysError
from bekend_proto.v1 import signed_pb2
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from bekend_node.classes import CERTAIN, FilterId, KindClass
from bekend_node.serving import Serving
from bekend_node.store import Awaiting

KEPT_LONGER = timedelta(hours=1)
"""How long after its term a question may still be collected (protocol section 9)."""


@dataclass(frozen=True)
class Pending:
    """Times in milliseconds since 1970-01-01 UTC; elements, evaluations and channel in hex."""

    question_id: str
    question_hash: str
    requester: str
    source: str
    on_behalf_of: str
    purpose: str
    covenant: str
    epoch: str
    version: int
    """Of the filter under which it was answered."""
    kind_class: KindClass
    asked: int
    until: int
    interval: int
    """Seconds between two collects."""
    elements: list[str]
    received: list[str]
    channel: str = field(repr=False)

    @property
    def id(self) -> bytes:
        """The question's id."""
        return bytes.fromhex(self.question_id)

    @property
    def filter(self) -> FilterId:
        """The filter under a version of which it was answered."""
        return FilterId(self.purpose, self.kind_class)

    @property
    def parties(self) -> Parties:
        """What every message of the exchange repeats."""
        return Parties(bytes.fromhex(self.question_hash), self.requester, self.source, len(self.elements))

    def open_channel(self, first: int) -> OpenChannel:
        """The question's channel; it seals from message number `first` on."""
        return OpenChannel.restore(bytes.fromhex(self.channel), first)

    def seal(self, box: SecretBox) -> Awaiting:
        """As it is kept."""
        return Awaiting(self.id, self.until, bytes(box.encrypt(json.dumps(asdict(self)).encode())))


def pending_of(
    question: signed_pb2.Question,
    question_hash: bytes,
    received: tuple[bytes, ...],
    *,
    covenant: Covenant,
    serving: Serving,
    channel: OpenChannel,
) -> Pending:
    """What is kept of a question that is being answered under a filter without tags."""
    term = covenant.sources(question.purpose)[question.source].term_of(question.kind_class)
    if term is None:
        raise InternalError("a filter for answering by hand serves only where the covenant sets a term")
    return Pending(
        question_id=question.question_id.hex(),
        question_hash=question_hash.hex(),
        requester=question.requester,
        source=question.source,
        on_behalf_of=question.on_behalf_of,
        purpose=question.purpose,
        covenant=question.covenant_hash.hex(),
        epoch=question.epoch,
        version=serving.version,
        kind_class=question.kind_class,
        asked=question.time,
        until=question.time + int(term.total_seconds() * 1000),
        interval=int(covenant.collect_interval.total_seconds()),
        elements=[element.hex() for element in question.elements],
        received=[element.hex() for element in received],
        channel=channel.keep().hex(),
    )


def open_pending(box: SecretBox, kept: Awaiting) -> Pending:
    """What was kept. Raises KeysError when the state key is not the one that sealed it."""
    try:
        # Before there were two classes, there was the certain one.
        return Pending(**{"kind_class": CERTAIN, **json.loads(box.decrypt(kept.sealed))})
    except CryptoError as fault:
        raise KeysError("what is kept of this question does not open with the state key: restore the keys") from fault
