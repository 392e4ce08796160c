"""What holds for every signed message that the broker takes: sender, version, covenant, keys, time.

The organisation that TLS names is the one that the message names, and the message is signed with a key of that
organisation's newest manifest (protocol section 7, steps 3 and 6).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol, TypeVar

from bekend_policy.decide import Asked, Decision
from bekend_policy.model import Covenant
from bekend_proto.channel import LABEL_BEGIN, LABEL_ENROLMENT, LABEL_FETCH, LABEL_QUESTION, open_signed
from bekend_proto.clock import is_fresh
from bekend_proto.errors import CovenantError, KeysError, StaleError, UnknownPartnerError, VersionError
from bekend_proto.v1.signed_pb2 import (
    KIND_CLASS_CERTAIN,
    KIND_CLASS_POSSIBLE,
    Begin,
    Enrolment,
    FetchOrder,
    Question,
    Signed,
)
from google.protobuf.message import Message

from bekend_broker.directory import Directory
from bekend_broker.editions import PROTOCOL_VERSIONS
from bekend_broker.present import Present

KIND_CLASSES: Final = (KIND_CLASS_CERTAIN, KIND_CLASS_POSSIBLE)
"""The two classes of identifier; a Begin may be followed by Questions of either."""

M = TypeVar("M", Begin, Question, FetchOrder, Enrolment)


class _Common(Protocol):
    """Fields that every signed message of a node has."""

    @property
    def protocol_version(self) -> int: ...
    @property
    def covenant_hash(self) -> bytes: ...
    @property
    def time(self) -> int: ...


_LABELS: Mapping[type[Message], bytes] = {
    Begin: LABEL_BEGIN,
    Question: LABEL_QUESTION,
    FetchOrder: LABEL_FETCH,
    Enrolment: LABEL_ENROLMENT,
}


def open_from(directory: Directory, caller: str, cls: type[M], signed: Signed, now: datetime) -> M:
    """The message in `signed`, of the organisation that calls, under a version in service, sent just now.

    Raises SignatureError, MalformedError, VersionError, UnknownPartnerError (another's name in it), CovenantError,
    KeysError (another manifest number than the directory's), StaleError, and NotReadyError just after a restore.
    """
    manifest = directory.manifest_of(caller)
    message = open_signed(cls, signed, _LABELS[cls], manifest.signing_keys)
    directory.check_quiet(now)
    _check_common(directory.present, message, now)
    sender, number = _sender(message)
    if sender != caller:
        raise UnknownPartnerError(f"{caller} sends a message of {sender}")
    if number != manifest.number:
        raise KeysError(f"{caller} goes by its manifest {number}, the directory has {manifest.number}")
    return message


def decided(present: Present, asked: Asked, now: datetime) -> Decision:
    """The decision on a question to one source, of the covenant's version that it names.

    Raises RefusedError when it is refused; SuspendedError when a note suspends it.
    """
    return present.suspensions.decided(present.under(asked.covenant_hash), asked, now)


def check_not_suspended(present: Present, begin: Begin, now: datetime, source: str | None = None) -> None:
    """That nothing stops a lookup, or its question to this source, now: asked again once the log entry is durable.

    Raises SuspendedError; CovenantError when its version of the covenant went out of service.
    """
    covenant, principal = present.under(begin.covenant_hash), begin.on_behalf_of or None
    present.suspensions.check(
        covenant, begin.purpose, now, requester=begin.requester, source=source, principal=principal
    )


def check_in_force(covenant: Covenant, now: datetime) -> None:
    """Raises CovenantError when the covenant does not hold now."""
    if not covenant.valid_from <= now < covenant.valid_until:
        raise CovenantError("the covenant in service is not in force now: put its next version in its place")


def _check_common(present: Present, message: _Common, now: datetime) -> None:
    if message.protocol_version not in PROTOCOL_VERSIONS:
        raise VersionError(f"protocol version {message.protocol_version} is not spoken here")
    check_in_force(present.under(message.covenant_hash), now)
    if not is_fresh(message.time, now):
        raise StaleError("the message's time is more than 60 s from now: check the clocks")


def _sender(message: Begin | Question | FetchOrder | Enrolment) -> tuple[str, int]:
    if isinstance(message, Enrolment):
        return message.source, message.manifest
    return message.requester, message.requester_manifest
