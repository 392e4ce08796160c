"""Each fault has one code, one status and a way back; nothing else crosses the wire."""

import grpc
import pytest
from bekend_proto import errors
from bekend_proto.errors import BekendError, code_name, error_of, from_rpc_error, status_of
from bekend_proto.v1 import errors_pb2
from grpc.aio import AioRpcError, Metadata

CLASSES = BekendError.__subclasses__()
CODES = [code for code in errors_pb2.ErrorCode.values() if code != errors_pb2.ERROR_CODE_UNSPECIFIED]


def make(cls: type[BekendError]) -> BekendError:
    return cls("D1", "Dat mag niet.") if cls is errors.RefusedError else cls("why")


def rpc_error(status: grpc.StatusCode, *trailer: tuple[str, str]) -> AioRpcError:
    return AioRpcError(status, Metadata(), Metadata(*trailer), details="details")


def test_every_code_of_the_wire_has_one_class_and_every_class_a_code() -> None:
    assert sorted(cls.code for cls in CLASSES) == sorted(CODES)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_comes_back_as_what_it_was(cls: type[BekendError]) -> None:
    error = make(cls)
    status = status_of(error)
    assert status is not grpc.StatusCode.OK
    name = errors_pb2.ErrorCode.Name(error.code)
    back = from_rpc_error(rpc_error(status, (errors.TRAILER, name)))
    assert type(back) is cls
    assert "why" not in str(back)
    assert code_name(error.code) == name.removeprefix("ERROR_CODE_").lower()


def test_a_subclass_travels_as_its_parent() -> None:
    class Special(errors.InternalError):
        """Of one room."""

    assert status_of(Special("x")) is grpc.StatusCode.INTERNAL
    assert type(error_of(Special.code, "x")) is errors.InternalError


@pytest.mark.parametrize("trailer", [(), (("other", "x"),), ((errors.TRAILER, "ERROR_CODE_OF_TOMORROW"),)])
def test_without_a_known_code_the_status_decides(trailer: tuple[tuple[str, str], ...]) -> None:
    late = from_rpc_error(rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, *trailer))
    assert isinstance(late, errors.DeadlineError)
    gone = from_rpc_error(rpc_error(grpc.StatusCode.UNAVAILABLE, *trailer))
    assert isinstance(gone, errors.UnreachableError)
    assert "check the address, the certificates" in gone.detail


def test_a_bare_rpc_error_is_unreachable() -> None:
    assert isinstance(from_rpc_error(grpc.RpcError()), errors.UnreachableError)


@pytest.mark.parametrize("code", [errors_pb2.ERROR_CODE_UNSPECIFIED, 999])
def test_an_unknown_code_is_a_fault_and_never_silence(code: errors_pb2.ErrorCode.ValueType) -> None:
    assert isinstance(error_of(code, "x"), errors.InternalError)


def test_a_refusal_keeps_rule_and_reason() -> None:
    error = errors.RefusedError("D3", "Deze vraag mag niet.")
    assert (error.rule, error.reason, error.detail) == ("D3", "Deze vraag mag niet.", "D3: Deze vraag mag niet.")
