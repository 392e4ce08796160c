"""One question, from the stream to its sealed answer or its Failure: the steps of protocol section 7 in their order."""

from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

from bekend_policy.model import Covenant
from bekend_policy.suspension import Suspensions
from bekend_proto import logs
from bekend_proto.channel import question_hash
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, InternalError, RefusedError, SuspendedError, code_name
from bekend_proto.logs import log
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node.answer import decisions
from bekend_node.answer.evaluate import Channel, answer
from bekend_node.answer.pending import pending_of
from bekend_node.answer.question import (
    Sender,
    check_admitted,
    check_keys,
    check_proof,
    check_records,
    open_question,
    question_sender,
)
from bekend_node.classes import FilterId
from bekend_node.directory import Directory
from bekend_node.filters import Filters
from bekend_node.heads import Heads
from bekend_node.keys import NodeKeys
from bekend_node.metrics import NodeMetrics
from bekend_node.rules import RulesInForce
from bekend_node.store import AnsweredQuestion, Spend, Store

CANARY_A_DAY = 24
"""Questions of a node to itself, per purpose: their sole budget (protocol section 7)."""


@dataclass(frozen=True)
class Answerer:
    """Answers questions for this node. Any number at once, on one event loop."""

    keys: NodeKeys
    rules: RulesInForce
    directory: Directory
    filters: Filters
    store: Store
    clock: Clock
    metrics: NodeMetrics
    suspensions: Suspensions = field(default_factory=Suspensions)
    heads: Heads = field(default_factory=Heads)

    async def answer(self, message: broker_pb2.EvaluatedQuestion) -> broker_pb2.SealedAnswer | broker_pb2.Failure:
        """The sealed answer, or why there is none; never raises but for cancellation."""
        sender = Sender("", 0, b"")
        try:
            sender = question_sender(message.question)
            return await self._answer(message, sender)
        except BekendError as fault:
            purpose = _purpose_of(message)
            log(
                logs.ANSWER_REFUSED,
                trace=sender.id.hex(),
                requester=sender.requester,
                purpose=purpose,
                code=code_name(fault.code),
                detail=fault.detail,
            )
            self.metrics.refused(fault)
            return broker_pb2.Failure(question_id=sender.id, code=fault.code)
        except Exception as fault:
            # The text of an unforeseen exception might quote what it was given: only its class and place are kept.
            log(logs.ANSWER_FAILED, exception=type(fault).__name__, place=logs.place_of(fault.__traceback__))
            self.metrics.refused(InternalError("unforeseen"))
            return broker_pb2.Failure(question_id=sender.id, code=InternalError.code)

    async def _answer(self, message: broker_pb2.EvaluatedQuestion, sender: Sender) -> broker_pb2.SealedAnswer:
        self.heads.check()
        start = perf_counter()
        now = self.clock.now()
        rules = self.rules.now
        sealed = tuple(message.sealed_records)
        # (7): signature first; then everything that costs little; the broker's proof last.
        question = await open_question(message.question, sender, self.directory)
        try:
            covenant, decision = check_admitted(question, rules, self.suspensions, now)
        except (RefusedError, SuspendedError) as fault:
            await self.store.keep_decision(
                decisions.refused(rules.under(question.covenant_hash), question, fault, now).row()
            )
            raise
        # One snapshot: a switch from here on changes nothing for this question.
        id_ = FilterId(question.purpose, question.kind_class)
        serving = self.filters.answering(id_, covenant, question.epoch)
        check_keys(question, serving, self.rules, now)
        check_records(question, sealed)
        broker = await self.directory.require(rules.covenant.broker_oin, question.broker_manifest)
        received = check_proof(message, question, broker)
        channel = Channel.to_requester(
            question.requester, question.source, question.question_id, question.x25519, question.mlkem
        )
        # (8): replay, budgets, log and E durable, in one transaction. No record, no answer.
        hashed = question_hash(message.question)
        awaiting = None
        if serving.by_hand:
            pending = pending_of(question, hashed, received, covenant=covenant, serving=serving, channel=channel.open)
            awaiting = pending.seal(self.keys.state_box)
        await self.store.admit_answer(
            AnsweredQuestion(
                question_id=question.question_id,
                question_hash=hashed,
                requester=question.requester,
                source=question.source,
                purpose=question.purpose,
                record_month=question.record_month,
                payload=message.question.payload,
                signature=message.question.signature,
                sealed=sealed,
                rule=decision.rule,
                awaiting=awaiting,
            ),
            budgets(question, covenant, now),
            now,
        )
        self._check_not_stopped(question, id_, covenant)
        # (9): evaluate, sign, then seal.
        reply = answer(
            question,
            hashed,
            received,
            serving=serving,
            channel=channel,
            signing=self.keys.signing,
            checkpoint=self.heads.checkpoint,
        )
        self.heads.hear(question.checkpoint, question.requester)
        log(
            logs.ANSWERED,
            trace=question.question_id.hex(),
            requester=question.requester,
            purpose=question.purpose,
            persons=len(received),
        )
        if question.requester != question.source:
            self.metrics.answered(question.purpose, perf_counter() - start)
        return reply

    def _check_not_stopped(self, question: signed_pb2.Question, id_: FilterId, covenant: Covenant) -> None:
        """Halted, suspended, or stopped by an alarm of the log while it was written: from that moment nothing is told.

        Raises NotReadyError, SuspendedError, LogError.
        """
        self.heads.check()
        self.filters.check_halt(id_)
        self.suspensions.check(
            covenant,
            question.purpose,
            self.clock.now(),
            requester=question.requester,
            source=question.source,
            principal=question.on_behalf_of or None,
        )


def budgets(question: signed_pb2.Question, covenant: Covenant, now: datetime) -> tuple[Spend, ...]:
    """What a question costs at this source: per requester and purpose, and per requester in all, a day in Amsterdam."""
    day, persons = day_of(now), len(question.elements)
    if question.requester == question.source:
        return (Spend("own-canary", question.requester, question.purpose, day, persons, CANARY_A_DAY),)
    per_purpose = covenant.purposes[question.purpose].limits.per_organisation
    in_all = covenant.totals.per_organisation
    return (
        Spend("source", question.requester, question.purpose, day, persons, per_purpose),
        Spend("source", question.requester, "", day, persons, in_all),
    )


def _purpose_of(message: broker_pb2.EvaluatedQuestion) -> str:
    """The purpose as the message has it, for the log: 100 characters at most, whatever was sent."""
    try:
        return signed_pb2.Question.FromString(message.question.payload).purpose[:100]
    except Exception:
        return ""
