"""Make the databases that an earlier commit leaves behind: what the tests of migrations begin with.

    .venv/bin/python -m tests.previous.make 8d9bd0a

unpacks that commit, lets its own code run a broker and two nodes for a moment (fill.py), and writes what is on disk
then to tests/previous/8d9bd0a: a dump of each database, and the throw-away keys that open what is sealed in it. Only
synthetic persons. The files are committed, so that no test needs the history; do this once per release.
"""

import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROOMS = ("proto", "policy", "node", "broker", "deploy", "bench")


def main(commit: str) -> None:
    target = HERE / commit
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        tree, out = Path(name) / "tree", Path(name) / "out"
        out.mkdir()
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True)
        tree.mkdir()
        subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
        # Before the installed packages of this tree.
        paths = os.pathsep.join([str(tree), *(str(tree / room) for room in ROOMS)])
        subprocess.run(
            [sys.executable, str(HERE / "fill.py"), str(out)],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": paths},
            check=True,
        )
        for path in sorted(out.iterdir()):
            if path.suffix == ".json":
                (target / path.name).write_bytes(path.read_bytes())
            else:
                # The same octets for the same content: no name and no moment in the header.
                (target / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
