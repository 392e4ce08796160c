"""The previous release as its partners have it installed: a wheel of the commit in deploy/previous-release.

Whoever releases puts the commit of that release there. The history has to be there: a shallow clone has none of it.
"""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "previous-release"


def previous_commit() -> str:
    return FILE.read_text(encoding="ascii").strip()


def missing() -> str:
    """Why there is no previous release to try; empty when there is."""
    found = _git("cat-file", "-e", f"{previous_commit()}^{{commit}}")
    if found.returncode == 0:
        return ""
    return (
        f"the commit of the previous release, {previous_commit()[:12]}, is not in this clone: fetch the whole history "
        f"(git fetch --unshallow), or put the commit of the release that is out into {FILE.relative_to(ROOT)}"
    )


def previous_release(folder: Path) -> Path:
    """A folder to put in front of PYTHONPATH: the previous release's wheel, unpacked by pip.

    Skips where its history is missing, and fails there where REQUIRE_PREVIOUS says that it must be there.
    """
    if reason := missing():
        if os.environ.get("REQUIRE_PREVIOUS"):
            pytest.fail(reason)
        pytest.skip(reason)
    archive = _git("archive", "--format=tar", previous_commit())
    source, wheels, installed = folder / "source", folder / "wheels", folder / "installed"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(source, filter="data")
    _pip("wheel", "--no-deps", "--wheel-dir", str(wheels), str(source))
    (wheel,) = wheels.glob("*.whl")
    _pip("install", "--no-deps", "--target", str(installed), str(wheel))
    return installed


def _git(*words: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
