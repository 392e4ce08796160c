"""The error tree: one coarse code per class survives the wire, everything else stays in the own log.

    BekendError
    ├── UnknownPartnerError   the certificate names no organisation of the covenant
    ├── MalformedError        length, encoding, unknown field, group element
    ├── VersionError          no common protocol version
    ├── SignatureError        missing or wrong signature, or a key of no manifest
    ├── RefusedError          the covenant does not allow it (rule, Dutch reason)
    ├── CovenantError         covenant versions differ, or it cannot be read
    ├── KeysError             a manifest, epoch or month that is not served
    ├── StaleError            outside the freshness window, or a replay
    ├── BudgetError           a budget is used up
    ├── ProofError            a proof does not verify: DLEQ, or of a log
    ├── RecordError           a sealed record is missing or not the one that was named
    ├── RatioError            a Question is not about the persons of its Begin
    ├── UnreachableError      the partner is not attached, or went away
    ├── DeadlineError         no reply in time
    ├── NotReadyError         no filter in service for this purpose
    ├── StorageError          log or record could not be written
    │   └── DamagedError      a database is damaged
    ├── LogError              the broker's log does not agree with itself
    ├── SuspendedError        a signed note suspends the federation, the purpose or a node
    ├── FencedError           another machine took the caller's place
    └── InternalError         a fault of our own

A fault is never an answer: each of these becomes `geen antwoord` at the requester (protocol section 2),
but for RefusedError by its own covenant, which becomes `niet bevraagd`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from bekend_proto.v1 import errors_pb2

if TYPE_CHECKING:
    # Imported where it is used: processes that only multiply raise these errors too, and start in half the time.
    import grpc

Code: TypeAlias = "errors_pb2.ErrorCode.ValueType"
"""A value of the wire's ErrorCode enum."""

TRAILER = "bekend-code"
"""Name of the gRPC trailer that carries the code."""


class BekendError(Exception):
    """A refusal or fault with a coarse code for the peer and a detail for the own log.

    `detail` names the rule and the remedy. It never holds an identifier, key, blind or outcome.
    """

    code: ClassVar[Code] = errors_pb2.ERROR_CODE_INTERNAL

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnknownPartnerError(BekendError):
    """The certificate names no organisation, or none of the covenant."""

    code = errors_pb2.ERROR_CODE_UNKNOWN_PARTNER


class MalformedError(BekendError):
    """A message has a wrong length, encoding, field or group element (protocol section 12, item 1)."""

    code = errors_pb2.ERROR_CODE_MALFORMED


class VersionError(BekendError):
    """The two ends share no protocol version."""

    code = errors_pb2.ERROR_CODE_VERSION


class SignatureError(BekendError):
    """A signature is missing or wrong, or made with a key that stands in no manifest."""

    code = errors_pb2.ERROR_CODE_SIGNATURE


class RefusedError(BekendError):
    """The covenant does not allow this. `rule` is its id, `reason` is Dutch for the officer."""

    code = errors_pb2.ERROR_CODE_REFUSED

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


class CovenantError(BekendError):
    """The covenant versions differ, or no covenant is in force."""

    code = errors_pb2.ERROR_CODE_COVENANT


class KeysError(BekendError):
    """A manifest number, epoch or record month that is not served here."""

    code = errors_pb2.ERROR_CODE_KEYS


class StaleError(BekendError):
    """Outside the freshness window, or an id that was seen before."""

    code = errors_pb2.ERROR_CODE_STALE


class BudgetError(BekendError):
    """A budget of the covenant is used up."""

    code = errors_pb2.ERROR_CODE_BUDGET


class ProofError(BekendError):
    """A proof does not verify: DLEQ (RFC 9497 section 2.2.2), or of a log (RFC 9162 section 2.1)."""

    code = errors_pb2.ERROR_CODE_PROOF


class RecordError(BekendError):
    """A sealed record is missing, or has another length or hash than the Question names."""

    code = errors_pb2.ERROR_CODE_RECORD


class RatioError(BekendError):
    """The elements of a Question are not those of its Begin (protocol section 7)."""

    code = errors_pb2.ERROR_CODE_RATIO


class UnreachableError(BekendError):
    """The partner or the broker cannot be reached."""

    code = errors_pb2.ERROR_CODE_UNREACHABLE


class DeadlineError(BekendError):
    """No reply within the deadline."""

    code = errors_pb2.ERROR_CODE_DEADLINE


class NotReadyError(BekendError):
    """No filter is in service: register missing or too old, canary missed, no standing decision."""

    code = errors_pb2.ERROR_CODE_NOT_READY


class StorageError(BekendError):
    """The log or a record could not be written: so no answer."""

    code = errors_pb2.ERROR_CODE_STORAGE


class DamagedError(StorageError):
    """A database is damaged: nothing is served from it, and it is not repaired but replaced by a backup."""


class SuspendedError(BekendError):
    """A signed note suspends this. `reason` is Dutch for the officer."""

    code = errors_pb2.ERROR_CODE_SUSPENDED

    @property
    def reason(self) -> str:
        """Who suspended what, since when and why."""
        return self.detail


class LogError(BekendError):
    """Two checkpoints of the broker's log do not agree: no asking and no answering until the operator has looked."""

    code = errors_pb2.ERROR_CODE_LOG


class FencedError(BekendError):
    """Another machine took this node's place: this one stops, and does not come back by itself."""

    code = errors_pb2.ERROR_CODE_FENCED


class InternalError(BekendError):
    """A fault of our own."""

    code = errors_pb2.ERROR_CODE_INTERNAL


_STATUS: dict[Code, str] = {
    errors_pb2.ERROR_CODE_UNKNOWN_PARTNER: "UNAUTHENTICATED",
    errors_pb2.ERROR_CODE_MALFORMED: "INVALID_ARGUMENT",
    errors_pb2.ERROR_CODE_VERSION: "FAILED_PRECONDITION",
    errors_pb2.ERROR_CODE_SIGNATURE: "UNAUTHENTICATED",
    errors_pb2.ERROR_CODE_REFUSED: "PERMISSION_DENIED",
    errors_pb2.ERROR_CODE_COVENANT: "FAILED_PRECONDITION",
    errors_pb2.ERROR_CODE_KEYS: "FAILED_PRECONDITION",
    errors_pb2.ERROR_CODE_STALE: "FAILED_PRECONDITION",
    errors_pb2.ERROR_CODE_BUDGET: "RESOURCE_EXHAUSTED",
    errors_pb2.ERROR_CODE_PROOF: "INVALID_ARGUMENT",
    errors_pb2.ERROR_CODE_RECORD: "INVALID_ARGUMENT",
    errors_pb2.ERROR_CODE_RATIO: "INVALID_ARGUMENT",
    errors_pb2.ERROR_CODE_UNREACHABLE: "UNAVAILABLE",
    errors_pb2.ERROR_CODE_DEADLINE: "DEADLINE_EXCEEDED",
    errors_pb2.ERROR_CODE_NOT_READY: "FAILED_PRECONDITION",
    errors_pb2.ERROR_CODE_STORAGE: "INTERNAL",
    errors_pb2.ERROR_CODE_INTERNAL: "INTERNAL",
    errors_pb2.ERROR_CODE_SUSPENDED: "FAILED_PRECONDITION",
    errors_pb2.ERROR_CODE_LOG: "FAILED_PRECONDITION",
    errors_pb2.ERROR_CODE_FENCED: "FAILED_PRECONDITION",
}
"""Names of gRPC statuses."""

_CLASSES: dict[Code, type[BekendError]] = {cls.code: cls for cls in BekendError.__subclasses__()}


def status_of(error: BekendError) -> "grpc.StatusCode":
    """The gRPC status under which this error travels."""
    import grpc  # noqa: PLC0415

    return grpc.StatusCode[_STATUS[error.code]]


def code_name(code: Code) -> str:
    """The code in lower case without its prefix, as logs and metrics show it: `budget`."""
    return errors_pb2.ErrorCode.Name(code).removeprefix("ERROR_CODE_").lower()


def error_of(code: Code, detail: str) -> BekendError:
    """The error that a peer's code stands for. An unknown code is an InternalError, never silence."""
    if code == errors_pb2.ERROR_CODE_REFUSED:
        return RefusedError("partner", detail)
    return _CLASSES.get(code, InternalError)(detail)


def from_rpc_error(error: "grpc.RpcError") -> BekendError:
    """The BekendError behind a failed call: by its trailer where it has one, else by its status."""
    import grpc  # noqa: PLC0415

    code = code_of_trailer(error)
    if code is not None:
        return error_of(code, "refused by the peer")
    status = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError("no reply within the deadline")
    return UnreachableError(
        f"the call failed ({status.name}): check the address, the certificates, and whether the peer demands a client's"
    )


def code_of_trailer(error: "grpc.RpcError") -> "Code | None":
    """The code in the trailer of a failed call, or None when the peer sent none that is known."""
    metadata: Iterable[Any] = error.trailing_metadata() or () if hasattr(error, "trailing_metadata") else ()
    for key, value in metadata:
        if key == TRAILER and value in errors_pb2.ErrorCode.keys():  # noqa: SIM118 - the enum wrapper is no mapping
            return errors_pb2.ErrorCode.Value(str(value))
    return None
