"""What a source does with a question that a colleague answers: written from section 9, apart from the node's own code.

A test plays the colleague (`release`), and may lie (`Lies`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bekend_proto import collecting, group, oprf, release
from bekend_proto.channel import OpenChannel
from bekend_proto.errors import BekendError, StaleError
from bekend_proto.identifiers import Identifier
from bekend_proto.records import record_context
from bekend_proto.v1 import signed_pb2
from bekend_proto.v1.signed_pb2 import Named, Question
from nacl.signing import SigningKey

WAITING, KNOWN, CLOSED = (
    signed_pb2.RELEASE_STATE_WAITING,
    signed_pb2.RELEASE_STATE_KNOWN,
    signed_pb2.RELEASE_STATE_CLOSED,
)
State = Any


def _same(value: Any, *_: Any) -> Any:
    return value


@dataclass
class Lies:
    """Where a test lies or breaks the line. Each gets the honest thing and returns what is used in its place."""

    states: Callable[[list[State], "Exchange"], list[State]] = _same
    until: Callable[[int], int] = _same
    key: Callable[[SigningKey], SigningKey] = _same
    persons: Callable[[int], int] = _same
    box: Callable[[bytes, int], bytes] = _same
    before: Callable[[str, int], None] = lambda _kind, _number: None
    """Called with the message's kind and number before the source sees it; may raise a BekendError."""
    after: Callable[[str, int], None] = lambda _kind, _number: None
    """The same, before its reply leaves."""


@dataclass
class Exchange:
    """One Question that waits for a colleague, at its source."""

    question: Question
    question_hash: bytes
    evaluated: Sequence[bytes]
    channel: bytes
    until: int
    mk: bytes
    known: dict[bytes, Identifier]
    """W without the question's context, of each own client."""
    signing: SigningKey
    requester_keys: Sequence[bytes]
    named: dict[int, Named] = field(default_factory=dict)
    """By person, whom this source knows."""
    boxes: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    released: set[int] = field(default_factory=set)
    withdrawn: bool = False

    @property
    def parties(self) -> collecting.Parties:
        asked = self.question
        return collecting.Parties(self.question_hash, asked.requester, asked.source, len(asked.elements))

    def take(self, box: bytes, now: int, lies: Lies) -> bytes:
        """A Release: names, or withdraws."""
        channel = OpenChannel.restore(self.channel, 1)
        kind, messages = collecting.open_release_box(channel, self.requester_keys, self.parties, box)
        number = collecting.NAMES if kind == signed_pb2.RELEASE_KIND_NAMES else collecting.WITHDRAWS
        lies.before("release", number)
        assert not self.boxes or number or box == self.boxes[0], "a number seals one message"
        self.boxes.append(box)
        if number == collecting.WITHDRAWS:
            self.withdrawn = True
            self.named.clear()
            self.released.clear()
        else:
            self._compare(messages)
        reply = self._reply(channel, number, lies.states([WAITING] * len(messages), self), lies)
        lies.after("release", number)
        return reply

    def collect(self, number: int, box: bytes, now: int, lies: Lies) -> bytes:
        channel = OpenChannel.restore(self.channel, number)
        collecting.check_collect(channel, number, self.question_hash, box)
        lies.before("collect", number)
        if self.numbers and number <= self.numbers[-1]:
            raise StaleError("this number was answered before")
        self.numbers.append(number)
        over = now >= self.until
        states = [
            KNOWN if person in self.released else CLOSED if over else WAITING
            for person in range(len(self.question.elements))
        ]
        reply = self._reply(channel, number, lies.states(states, self), lies)
        lies.after("collect", number)
        return reply

    def release(self, person: int = 0) -> None:
        """A colleague decides: known."""
        assert person in self.named
        self.released.add(person)

    def _compare(self, messages: Sequence[bytes]) -> None:
        asked = self.question
        for person, sealed in enumerate(messages):
            context = record_context(asked.requester, asked.source, asked.purpose, asked.question_id, person)
            for w, client in self.known.items():
                if release.locator(w, context) == sealed[:32]:
                    payload = release.open_release(w, context, sealed)
                    found, named = release.check_named(payload, asked.elements[person], self.evaluated[person], w)
                    assert found == client
                    self.named[person] = named

    def _reply(self, channel: OpenChannel, number: int, states: list[State], lies: Lies) -> bytes:
        persons = lies.persons(len(states))
        sealed = collecting.seal_collected(
            channel,
            lies.key(self.signing),
            number + 1,
            self.parties,
            states=(states * persons)[:persons],
            until=lies.until(self.until),
        )
        return lies.box(sealed, number + 1)


def clients(known: Sequence[Identifier], mk: bytes, b: bytes) -> dict[bytes, Identifier]:
    """W of each own client of a source."""
    scalar = group.scalar_multiply(mk, b)
    return {group.multiply(scalar, oprf.hash_identifier(one)): one for one in known}


def failing(error: BekendError, kind: str = "collect") -> Callable[[str, int], None]:
    """Breaks the line for one kind of message."""

    def fail(what: str, _: int) -> None:
        if what == kind:
            raise error

    return fail
