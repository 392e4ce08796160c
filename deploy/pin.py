"""Make requirements.txt (every file by its hash) and sbom.cdx.json (CycloneDX) from uv.lock, or with --check compare.

Run: python deploy/pin.py [--check]. Exit code 1 with --check when one would change. Neither reaches an index.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "deploy" / "requirements.txt"
SBOM = ROOT / "deploy" / "sbom.cdx.json"
EXTRAS = ("--extra", "postgres", "--extra", "excel", "--extra", "odbc")


def exported(*words: str) -> str:
    """What `uv export` makes of the lock for who runs the software: no tests, no tools."""
    # Never resolved anew: --frozen reads the lock alone.
    command = [
        "uv",
        "export",
        "--frozen",
        "--no-dev",
        *EXTRAS,
        "--no-config",
        "--offline",
        "--quiet",
        *words,
    ]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603


def requirements() -> str:
    """Every distribution that is installed beside the own wheel, pinned, with the hashes of its files."""
    head = "# Made from uv.lock by deploy/pin.py: every distribution beside the own wheel, each file by its hash.\n"
    return head + exported("--no-emit-project", "--no-header", "--no-annotate", "--format", "requirements-txt")


def sbom() -> str:
    """The bill of materials, without what differs from run to run."""
    made: dict[str, Any] = json.loads(exported("--format", "cyclonedx1.5", "--preview-features", "sbom-export"))
    del made["serialNumber"]
    metadata = made["metadata"]
    del metadata["timestamp"], metadata["tools"]
    metadata["component"]["type"] = "application"
    metadata["component"]["licenses"] = [{"license": {"id": "EUPL-1.2"}}]
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write both, or compare."""
    made = {REQUIREMENTS: requirements(), SBOM: sbom()}
    if "--check" not in sys.argv[1:]:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
        return 0
    drift = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in drift:
        sys.stderr.write(f"drift: {path.relative_to(ROOT)}; run python deploy/pin.py\n")
    return 1 if drift else 0


if __name__ == "__main__":
    sys.exit(main())
