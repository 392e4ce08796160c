"""Make a wheelhouse: every file that an installation without a network needs, and the text that the publisher signs.

Run: python deploy/wheelhouse.py FOLDER [--platform manylinux_2_28_x86_64 --python-version 3.11]. Then, off line:

    bekend policy sign FOLDER/wheelhouse --sleutel uitgever.key

It takes the files that requirements.txt names from the index that pip is told to use, and none whose hash differs.
`verify_wheelhouse.py` checks the folder where it arrives.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATEMENT = "wheelhouse"


def pip(*words: str) -> None:
    """Run pip; what it says is shown only when it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"pip {words[0]} failed\n{done.stderr}")


def fill(folder: Path, target: list[str]) -> None:
    """The own wheel, every distribution beside it, and requirements that name both by hash."""
    folder.mkdir(parents=True)
    requirements = ROOT / "deploy" / "requirements.txt"
    chosen = ("--no-deps", "--only-binary", ":all:", "--dest", str(folder))
    pip("download", "--require-hashes", *chosen, *target, "--requirement", str(requirements))
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    own = next(folder.glob("bekend-*.whl"))
    if not own.name.endswith("-py3-none-any.whl"):
        sys.exit(f"{own.name} is no pure wheel")
    version = own.name.split("-")[1]
    with (folder / "requirements.txt").open("w", encoding="utf-8", newline="\n") as file:
        file.write(requirements.read_text(encoding="utf-8"))
        file.write(f"bekend=={version} \\\n    --hash=sha256:{digest(own)}\n")


def digest(path: Path) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def statement(folder: Path) -> str:
    """What is signed: every file by its hash."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    files = "".join(f"  {path.name}: {digest(path)}\n" for path in sorted(folder.iterdir()))
    return f"kind: bekend/1 wheelhouse\nversion: {version}\nfiles:\n{files}"


def main() -> None:
    """Fill the folder, and write what is signed."""
    parser = argparse.ArgumentParser(description="Make a wheelhouse.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--platform")
    parser.add_argument("--python-version")
    given = parser.parse_args()
    target = ["--platform", given.platform] if given.platform else []
    target += ["--python-version", given.python_version] if given.python_version else []
    try:
        fill(given.folder, target)
    except BaseException:
        shutil.rmtree(given.folder, ignore_errors=True)
        raise
    text = statement(given.folder)
    (given.folder / STATEMENT).write_text(text, encoding="utf-8", newline="\n")
    sys.stdout.write(f"{given.folder / STATEMENT}: sign it with `bekend policy sign`\n")


if __name__ == "__main__":
    main()
