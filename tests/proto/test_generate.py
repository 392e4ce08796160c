"""The committed stubs are those of the .proto files, and these are as buf wants them."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str) -> subprocess.CompletedProcess[str]:
    # protoc looks for its plugins on PATH.
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    return subprocess.run(command, cwd=ROOT / "proto", env=environment, capture_output=True, text=True, check=False)


# CI has stages of its own for both, which fail where a tool is missing.
needs_generator = pytest.mark.skipif(
    find_spec("grpc_tools") is None or not (BIN / "protoc-gen-mypy").exists(),
    reason="grpcio-tools or mypy-protobuf is not installed (extra `check`)",
)
BUF = shutil.which("buf", path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")


@needs_generator
def test_stubs_are_up_to_date() -> None:
    result = run(sys.executable, "generate.py", "--check")
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(BUF is None, reason="buf-bin is not installed (extra `check`)")
def test_protos_pass_buf_lint() -> None:
    assert BUF is not None
    result = run(BUF, "lint")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_proto_has_its_stubs() -> None:
    folder = ROOT / "proto" / "bekend_proto" / "v1"
    names = {path.name for path in folder.glob("*_pb2*")}
    for proto in folder.glob("*.proto"):
        assert {f"{proto.stem}_pb2.py", f"{proto.stem}_pb2.pyi"} <= names
        if "\nservice " in proto.read_text():
            assert {f"{proto.stem}_pb2_grpc.py", f"{proto.stem}_pb2_grpc.pyi"} <= names
