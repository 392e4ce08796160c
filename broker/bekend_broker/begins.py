"""Step 3 of a lookup (protocol section 7): a Begin is admitted, logged, and evaluated under the month's record key."""

from dataclasses import dataclass
from datetime import date, datetime

from bekend_policy.decide import Asked
from bekend_proto.clock import day_of, from_milliseconds, month_of
from bekend_proto.dleq import prove
from bekend_proto.errors import BekendError, BudgetError, KeysError, RefusedError, StaleError, SuspendedError
from bekend_proto.group import decode_element, multiply
from bekend_proto.oprf import KeyPair
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import Begun
from bekend_proto.v1.signed_pb2 import Begin, KindClass, Signed

from bekend_broker import log, quotas
from bekend_broker.admission import KIND_CLASSES, decided, open_from
from bekend_broker.directory import Directory
from bekend_broker.present import Present
from bekend_broker.store import first_time


@dataclass(frozen=True, slots=True)
class Opened:
    """A Begin that passed its checks: what its Questions are held against."""

    begin: Begin
    signed: Signed
    key: KeyPair
    day: date
    canary_only: bool
    """Whether it may be followed by a question to the requester itself only."""

    @property
    def asker(self) -> quotas.Asker:
        """Whose budgets it counts on."""
        return quotas.Asker(self.begin.requester, self.begin.purpose, self.day)

    @property
    def persons(self) -> int:
        """Number of persons, each counted as a question."""
        return len(self.begin.elements)


def check_begin(directory: Directory, caller: str, signed: Signed, now: datetime) -> Opened:
    """(3): certificate, signature, covenant, freshness, keys.

    Raises the BekendError of the first check that fails; nothing is counted yet.
    """
    begin = open_from(directory, caller, Begin, signed, now)
    present = directory.present
    directory.check_number(present.manifest.oin, begin.broker_manifest)
    if begin.record_month != month_of(from_milliseconds(begin.time)):
        raise KeysError("the record month is not that of the message's time")
    key = present.keys.for_records(begin.record_month)
    canary_only = _is_canary_only(present, begin, now)
    for element in begin.elements:
        decode_element(element)
    return Opened(begin, signed, key, day_of(now), canary_only)


def admit_begin(connection: Connection, present: Present, opened: Opened, now: datetime) -> bool:
    """(3): replay, budget and log, in one transaction; says whether only a canary may follow.

    Raises StaleError for an id that was seen, BudgetError when the budget is used up; nothing is kept then.
    """
    begin = opened.begin
    if not first_time(connection, b"b", begin.begin_id, now):
        raise StaleError("this Begin was seen before: every retry is a new lookup")
    canary_only = opened.canary_only or not _charge(connection, present, opened, now)
    if canary_only:
        quotas.charge_canary(connection, opened.asker, opened.persons)
    log.append(connection, log.BEGIN, opened.signed, now, requester=begin.requester)
    return canary_only


def evaluate_begin(opened: Opened) -> Begun:
    """(3): u * A0_j for each person, and one proof over them; only after the log entry is durable."""
    elements = list(opened.begin.elements)
    evaluated = [multiply(opened.key.secret, element) for element in elements]
    return Begun(evaluated=evaluated, proof=prove(opened.key.secret, opened.key.public, elements, evaluated))


def _is_canary_only(present: Present, begin: Begin, now: datetime) -> bool:
    """Whether the requester may ask nobody but itself.

    Raises RefusedError or SuspendedError when it may not even do that.
    """
    first: BekendError | None = None
    for source in present.under(begin.covenant_hash).sources(begin.purpose):
        if source == begin.requester:
            continue
        try:
            _decided_in_either(present, begin, source, now)
        except (RefusedError, SuspendedError) as fault:
            first = first or fault
        else:
            return False
    if _may_ask_itself(present, begin, now):
        return True
    raise first or RefusedError("onbekend-doel", "Dit doel staat niet in het convenant.")


def _charge(connection: Connection, present: Present, opened: Opened, now: datetime) -> bool:
    """Count the persons; False when the budget is used up but a canary may still be asked."""
    begin = opened.begin
    connection.execute("SAVEPOINT charge")
    try:
        quotas.charge_begin(connection, present.under(begin.covenant_hash), opened.asker, opened.persons)
    except BudgetError:
        connection.execute("ROLLBACK TO charge")
        if not _may_ask_itself(present, begin, now):
            raise
        return False
    finally:
        connection.execute("RELEASE charge")
    return True


def _may_ask_itself(present: Present, begin: Begin, now: datetime) -> bool:
    try:
        _decided_in_either(present, begin, begin.requester, now)
    except (RefusedError, SuspendedError):
        return False
    return True


def _decided_in_either(present: Present, begin: Begin, source: str, now: datetime) -> None:
    """Returns when this source may be asked by a number or by a combination: which, the Questions will say.

    Raises the RefusedError or SuspendedError of the certain class.
    """
    first: BekendError | None = None
    for kind_class in KIND_CLASSES:
        try:
            decided(present, asked_of(begin, source, kind_class), now)
        except (RefusedError, SuspendedError) as fault:
            first = first or fault
        else:
            return
    assert first is not None
    raise first


def asked_of(begin: Begin, source: str, kind_class: "KindClass.ValueType") -> Asked:
    """A question of this Begin as decide() sees it: what only the requester can know is attested by signing."""
    return Asked(
        requester=begin.requester,
        source=source,
        purpose=begin.purpose,
        on_behalf_of=begin.on_behalf_of or None,
        persons=len(begin.elements),
        kind_class=kind_class,
        covenant_hash=begin.covenant_hash,
    )
