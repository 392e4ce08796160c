"""A PostgreSQL server of the tests' own: Debian's binaries, a temporary folder, a unix socket, nobody's rights.

PostgreSQL refuses to run as root, so that a test that runs as root starts it as `nobody`.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from bekend_broker.config import DatabaseServer
from bekend_broker.store_postgres import prepare
from bekend_deploy.partners import BROKER_OIN

OWNER, SERVICE = "bekend_owner", "bekend_broker"
_TEMPLATE = "prepared"
_SETTINGS = {
    "listen_addresses": "''",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "max_wal_size": "128MB",
    "autovacuum_naptime": "10s",
}


def binaries() -> Path | None:
    """Where initdb and postgres are; None when this machine has none."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@dataclass
class PostgresServer:
    """A running server, on which each test has a database of its own."""

    folder: Path
    bin: Path
    settings: dict[str, str] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    @contextlib.contextmanager
    def running(cls, bin_folder: Path, **settings: str) -> Iterator["PostgresServer"]:
        """Make a cluster, run it, and remove it."""
        with tempfile.TemporaryDirectory(prefix="bekend-pg-", dir="/tmp", ignore_cleanup_errors=True) as name:
            server = cls(Path(name), bin_folder, _SETTINGS | settings)
            if os.geteuid() == 0:
                os.chown(name, *_nobody())
            server._run("initdb", "-D", str(server.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
            server.start()
            try:
                server._make_template()
                yield server
            finally:
                server.stop()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it; it takes connections when this returns."""
        options = " ".join(f"-c {name}={value}" for name, value in self.settings.items())
        options += f" -c unix_socket_directories={self.folder}"
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` is what a crash leaves behind, `fast` an orderly end."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop", check=False)

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        pid = int((self.data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for one in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)

    def database(self) -> DatabaseServer:
        """A new database with the tables of this release, as its broker is configured to use it."""
        name = f"db{next(self._numbers)}"
        with self.admin() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}".encode())
        return self.server(name)

    def empty(self) -> DatabaseServer:
        """A new database without any tables, in which the owner may make them."""
        name = f"db{next(self._numbers)}"
        with self.admin() as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}".encode())
        return self.server(name)

    def server(self, name: str, user: str = SERVICE) -> DatabaseServer:
        return DatabaseServer(socket=self.folder, name=name, user=user)

    def admin(self, name: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """The server's administrator."""
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=name, autocommit=True)

    def rows(self, server: DatabaseServer, query: str) -> Sequence[tuple[object, ...]]:
        """What stands in a database, as its owner sees it."""
        with self.admin(server.name) as connection:
            connection.execute("SET search_path TO bekend")
            return connection.execute(query.encode()).fetchall()

    def _make_template(self) -> None:
        with self.admin() as connection:
            for role in (OWNER, SERVICE):
                connection.execute(f"CREATE ROLE {role} LOGIN".encode())
            connection.execute(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}".encode())
        prepare(self.server(_TEMPLATE, OWNER), SERVICE, BROKER_OIN, "main")

    def _run(self, program: str, *words: str, check: bool = True) -> None:
        user = _nobody() if os.geteuid() == 0 else None
        done = subprocess.run(
            [str(self.bin / program), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            user=user and user[0],
            group=user and user[1],
            extra_groups=[] if user else None,
            check=False,
            timeout=120,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stdout.decode(errors='replace')}")


def _nobody() -> tuple[int, int]:
    found = pwd.getpwnam("nobody")
    return found.pw_uid, found.pw_gid
