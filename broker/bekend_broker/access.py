"""An access request at the broker: one blinded element under the record key of every month (protocol section 8).

    privacy officer, off line       node                    broker
      | signed, blinded request ----> | --- Access ----------> certificate, the officer's signature, age, replay,
      |                               |                        budget; log; then u[month] * element, with a proof each
      |<------------------------------| <--- a month at a time

The broker learns that the privacy officer of this partner asked, and when; the element is uniformly random. The request
comes from a machine without a network, so it may be a few days old: its id is remembered for longer than that.
A suspension stops questions, not what a citizen may ask about the past.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

from bekend_proto import logs
from bekend_proto.channel import LABEL_ACCESS, open_signed
from bekend_proto.clock import Clock, day_of, from_milliseconds
from bekend_proto.dleq import prove
from bekend_proto.errors import BudgetError, KeysError, StaleError, StorageError, UnknownPartnerError, VersionError
from bekend_proto.group import decode_element, multiply
from bekend_proto.oprf import KeyPair
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import AccessMonth, AccessResponse
from bekend_proto.v1.signed_pb2 import Signed, SubjectAccess

from bekend_broker import log
from bekend_broker.directory import Directory
from bekend_broker.editions import PROTOCOL_VERSIONS
from bekend_broker.metrics import Metrics
from bekend_broker.store import Store, first_time
from bekend_broker.store_budgets import Account, forget_days, spend

A_DAY: Final = 10
"""Access requests of one partner a day (Amsterdam): a citizen's right, and no way to try out numbers."""

OLDEST: Final = timedelta(days=7)
"""How old a request may be: it travels by hand from a machine without a network."""

AHEAD: Final = timedelta(hours=1)
"""How far that machine's clock may be ahead."""

_BUDGET: Final = "inzage"
"""Budget of a day; no purpose id reads so."""


class Accesses:
    """Serves access requests. One object per process."""

    def __init__(self, directory: Directory, database: Store, clock: Clock, metrics: Metrics) -> None:
        self._directory = directory
        self._store = database
        self._clock = clock
        self._metrics = metrics

    async def run(self, caller: str, signed: Signed) -> AccessResponse:
        """The element of this request under every month's key.

        Raises KeysError (the partner's manifest names no key that signs access requests), SignatureError,
        MalformedError, VersionError, UnknownPartnerError, StaleError (too old, or taken before), BudgetError,
        StorageError: then nothing was evaluated.
        """
        now = self._clock.now()
        request = self._open(caller, signed, now)
        keys = dict(sorted(self._directory.present.keys.record.items()))

        def admit(connection: Connection) -> None:
            if not first_time(connection, b"a", request.request_id, now, OLDEST + AHEAD):
                raise StaleError("this access request was taken before: the privacy officer makes a new one")
            forget_days(connection, day_of(now))
            if not spend(connection, Account(day_of(now), caller, _BUDGET), 1, A_DAY):
                raise BudgetError(f"{caller} has made its {A_DAY} access requests of {day_of(now)}: wait a day")
            log.append(connection, log.ACCESS, signed, now, requester=caller)

        try:
            await self._store.write(admit)
        except StorageError:
            self._metrics.storage_faults.inc()
            raise
        # As many multiplications as months: off the loop, so that no question waits.
        response = await asyncio.to_thread(_evaluate, keys, request.element)
        self._metrics.accesses.inc()
        logs.log(logs.ACCESS_EVALUATED, requester=caller, months=len(keys))
        return response

    def _open(self, caller: str, signed: Signed, now: datetime) -> SubjectAccess:
        officer = self._directory.manifest_of(caller).privacy_officer_signing
        if officer is None:
            raise KeysError(f"the manifest of {caller} names no key that signs access requests: make a new manifest")
        request = open_signed(SubjectAccess, signed, LABEL_ACCESS, [officer])
        if request.protocol_version not in PROTOCOL_VERSIONS:
            raise VersionError(f"protocol version {request.protocol_version} is not spoken here")
        if request.requester != caller:
            raise UnknownPartnerError(f"{caller} relays an access request of {request.requester}")
        check_age(request.time, now)
        decode_element(request.element)
        return request


def check_age(time: int, now: datetime) -> None:
    """Raises StaleError unless a request of this moment (milliseconds) is taken now."""
    try:
        made = from_milliseconds(time)
    except ValueError:
        made = None
    if made is None or not now - OLDEST <= made <= now + AHEAD:
        raise StaleError(f"the access request is older than {OLDEST.days} days, or dated ahead: make a new one")


def _evaluate(keys: dict[str, KeyPair], element: bytes) -> AccessResponse:
    months = []
    for month, key in keys.items():
        evaluated = multiply(key.secret, element)
        proof = prove(key.secret, key.public, [element], [evaluated])
        months.append(AccessMonth(month=month, evaluated=evaluated, proof=proof))
    return AccessResponse(months=months)
