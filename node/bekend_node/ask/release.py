"""Naming the persons to a source where a colleague decides: the message D, and the source's first reply (section 9).

    (10)  the Answer is verified and unblinded: W per person      answers.py
    (R1)  D per person, keyed by its W; the row is durable        here, pending.py
          Release ---> broker ---> source
          <--- `nothing yet`, authenticated: in behandeling, until the end of the term
    (R6), (R9)  collecting what was decided                       collector.py

By a combination D holds the person in full, as typed: a name and a date may be somebody else's, so a colleague there
compares before anything is released.

D leaves only to a source that could make W itself, and opens only there, only for its own client.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Final

from bekend_policy.model import Mode
from bekend_proto.channel import OpenChannel
from bekend_proto.clock import REPLAY_MEMORY, from_milliseconds, milliseconds
from bekend_proto.collecting import NAMES, open_collected, seal_release_box
from bekend_proto.errors import BekendError, MalformedError, RefusedError, StaleError, UnreachableError
from bekend_proto.records import record_context
from bekend_proto.release import PAYLOAD_LIMIT, pack_named, seal_release
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node import described
from bekend_node.ask.answers import OpenAnswer
from bekend_node.ask.asking import Asking
from bekend_node.ask.broker_line import BrokerLine
from bekend_node.ask.consent import Consent
from bekend_node.ask.messages import Pending
from bekend_node.ask.pending import PendingQuestion, Told, row_of, seal_pending
from bekend_node.ask.rules import Inquiry, Plan
from bekend_node.store_pending import Change

RELEASE_SECONDS: Final = 5.0
"""The reply deadline (protocol, parameters); the lookup's own may end it earlier."""
TOO_LONG: Final = (
    "De motivering is te lang voor een partner waar een collega beslist. Houd het bij "
    f"{PAYLOAD_LIMIT - PAYLOAD_LIMIT % 1000 - 1000} tekens."
)


@dataclass(frozen=True, slots=True)
class Naming:
    """What the persons of one lookup are named with, to whichever source."""

    asking: Asking
    inquiry: Inquiry
    plan: Plan
    begin_id: bytes


def check_texts(asking: Asking, inquiry: Inquiry, plan: Plan) -> None:
    """Before anything leaves: whatever a colleague would read fits in D. Raises RefusedError (rule, Dutch reason)."""
    sources, desk = asking.covenant.sources(plan.purpose.id), asking.manifest.contact
    by_hand = [oin for oin in plan.ask if sources[oin].mode_of(plan.kind_class) is not Mode.AUTOMATIC]
    # What differs between hundreds of sources is the consent alone.
    for consent, place in product({plan.consents.get(oin) for oin in by_hand}, range(len(inquiry.persons))):
        try:
            pack_named(_named(inquiry, place, bytes(32), desk, consent))
        except MalformedError:
            raise RefusedError("te-lang", TOO_LONG) from None


async def name_persons(
    naming: Naming, lines: Sequence[BrokerLine], pending: Pending, answer: OpenAnswer, unblinded: Sequence[bytes]
) -> PendingQuestion:
    """Name the persons to one source, over the replica of the lookup, or the next when that one is gone.

    Gives what is collected from now on.

    Raises BekendError: then nothing is collected, and the outcome is `geen antwoord`.
    """
    asking, now = naming.asking, naming.asking.clock.now()
    if milliseconds(now) - pending.asked > REPLAY_MEMORY // timedelta(milliseconds=1):
        raise StaleError("the question is too old: the source no longer takes names for it")
    # Anew: the Answer was waited for. A person is named to nobody who was suspended, or over a log with an alarm.
    asking.heads.check()
    asking.suspensions.check(
        asking.covenant,
        naming.inquiry.purpose,
        now,
        requester=asking.oin,
        source=pending.source.oin,
        principal=naming.inquiry.on_behalf_of,
    )
    one = _keep_of(naming, pending, answer.channel)
    box = seal_release_box(answer.channel, asking.key, NAMES, one.parties, _messages(naming, pending, unblinded))
    # (R1): the row is durable before a name leaves, so that what a colleague decides is collected after a restart too.
    replied = now + timedelta(seconds=RELEASE_SECONDS + 1)
    await asking.store.pending.add(row_of(asking.state, one, one.due_after(replied)))
    try:
        reply = await _send(lines, broker_pb2.ReleaseRequest(question_id=one.question_id, box=box))
        keys = pending.source.signing_keys
        states = open_collected(answer.channel, keys, NAMES + 1, one.parties, until=one.until, box=reply.box)
        if set(states) != {signed_pb2.RELEASE_STATE_WAITING}:
            raise MalformedError("the first reply of a source says that it waits, and nothing else")
        one, now = one.confirmed(), asking.clock.now()
        confirmed = Change(seal_pending(asking.state, one), due=one.due_after(now))
        await asking.store.pending.change(one.question_id, lambda _: confirmed, now)
    except BaseException:
        # Also when the lookup's deadline passed: who is told `geen antwoord` asks again, and this is forgotten.
        await asking.store.pending.drop(one.question_id)
        raise
    return one


async def _send(lines: Sequence[BrokerLine], request: broker_pb2.ReleaseRequest) -> broker_pb2.ReleaseResponse:
    """The same octets to each replica in turn, until one can be reached: no number seals two messages.

    A source that has them already refuses them, and then nothing is collected.
    """
    last: BekendError = UnreachableError("no replica of the broker can be reached")
    for line in lines:
        try:
            return await line.release(request, RELEASE_SECONDS)
        except UnreachableError as error:
            last = error
    raise last


def _messages(naming: Naming, pending: Pending, unblinded: Sequence[bytes]) -> list[bytes]:
    """D per person, keyed by its W: only who could make W itself can find and open it."""
    asking, inquiry, source = naming.asking, naming.inquiry, pending.source.oin
    desk, consent = asking.manifest.contact, naming.plan.consents.get(source)
    return [
        seal_release(
            w,
            record_context(asking.oin, source, inquiry.purpose, pending.question_id, person),
            pack_named(_named(inquiry, person, blind, desk, consent)),
        )
        for person, (w, blind) in enumerate(zip(unblinded, pending.blinds, strict=True))
    ]


def _keep_of(naming: Naming, pending: Pending, channel: OpenChannel) -> PendingQuestion:
    asking, inquiry, purpose, source = naming.asking, naming.inquiry, naming.plan.purpose, pending.source.oin
    term = asking.covenant.sources(purpose.id)[source].term_of(naming.plan.kind_class)
    if term is None:
        raise MalformedError("the covenant sets no term for this source: it answers by machine only")
    consent = naming.plan.consents.get(source)
    return PendingQuestion(
        question_id=pending.question_id,
        question_hash=pending.question_hash,
        begin_id=naming.begin_id,
        requester=asking.oin,
        source=source,
        asked=pending.asked,
        until=milliseconds(from_milliseconds(pending.asked) + term),
        interval=int(asking.covenant.collect_interval.total_seconds()),
        purpose=purpose.id,
        kind_class=naming.plan.kind_class,
        on_behalf_of=inquiry.on_behalf_of,
        covenant_hash=asking.covenant.hash,
        lifetime=int(naming.plan.lifetime.total_seconds()),
        case=inquiry.case_reference or "",
        officer=inquiry.officer.user,
        consent=consent.id if consent is not None else None,
        deferred=False,
        kept=channel.keep(),
        told=((Told.NOTHING_YET, pending.asked),) * len(inquiry.persons),
    )


def _named(inquiry: Inquiry, place: int, blind: bytes, desk: str | None, consent: Consent | None) -> signed_pb2.Named:
    person = inquiry.persons[place]
    return signed_pb2.Named(
        kind=person.kind,
        value=person.value,
        blind=blind,
        desk=desk or "",
        justification=inquiry.why(place),
        consent=consent.statement() if consent is not None else None,
        person=described.on_wire(inquiry.described[place]) if inquiry.described else None,
    )
