"""Generate the Python stubs from the .proto files, or with --check say whether they are up to date.

Run: python proto/generate.py [--check]. Exit code 1 with --check when a stub would change.
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
STUBS = ROOT / "bekend_proto" / "v1"


def generate(out: Path) -> None:
    """Write stubs for every .proto file below `out`."""
    protos = sorted(str(path.relative_to(ROOT)) for path in STUBS.glob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{ROOT}", f"-I{include}"]
    arguments += [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    if protoc.main(arguments + protos) != 0:
        sys.exit("protoc failed; is the folder of protoc-gen-mypy on PATH?")
    for path in out.rglob("*_pb2_grpc.py*"):
        # Files without a service still get an empty gRPC stub; nobody imports those.
        if path.stem.startswith(("signed", "errors")):
            path.unlink()


def main() -> int:
    """Generate in place, or compare."""
    if "--check" not in sys.argv[1:]:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {path.name: path.read_bytes() for path in Path(folder).rglob("*_pb2*")}
    committed = {path.name: path.read_bytes() for path in STUBS.glob("*_pb2*")}
    drift = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    for name in drift:
        sys.stderr.write(f"stub drift: {name}; run python proto/generate.py\n")
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
