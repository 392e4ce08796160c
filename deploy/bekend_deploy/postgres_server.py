"""A PostgreSQL server for tests and drills: the system's binaries, a temporary folder, a unix socket, nobody's rights.

PostgreSQL refuses to run as root; started by root it runs as `nobody`. It ends with the block that started it.
"""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from bekend_broker.config import DatabaseServer
from bekend_broker.store_postgres import prepare
from bekend_proto.identity import TlsFiles

from bekend_deploy.partners import BROKER_OIN

OWNER, SERVICE = "bekend_owner", "bekend_broker"
_TEMPLATE = "prepared"
_SETTINGS = {
    "listen_addresses": "",
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
    """A running server, on which each federation has a database of its own."""

    folder: Path
    bin: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 5432
    _process: "subprocess.Popen[bytes]" = field(init=False)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @classmethod
    @contextlib.contextmanager
    def running(cls, bin_folder: Path, tls: TlsFiles | None = None, **settings: str) -> Iterator["PostgresServer"]:
        """Make a cluster, run it, and remove it. With `tls` it is on the network too, behind TLS and a password."""
        with tempfile.TemporaryDirectory(prefix="bekend-pg-", dir="/tmp", ignore_cleanup_errors=True) as name:
            server = cls(Path(name), bin_folder, _SETTINGS | settings)
            if os.geteuid() == 0:
                os.chown(name, *_nobody())
            server._make()
            if tls is not None:
                server._go_on_line(tls)
            server.start()
            try:
                server._make_template()
                yield server
            finally:
                server.stop()

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.folder / "data"

    def start(self) -> None:
        """Start it; it takes connections when this returns."""
        settings = self.settings | {"unix_socket_directories": str(self.folder)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the system's own program
                _never_root(str(self.bin / "postgres"), "-D", str(self.data), *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_PLAIN,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.admin().close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text("utf-8", "replace")) from None
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it: SIGINT is an orderly end, SIGQUIT leaves behind what a crash does."""
        self._process.send_signal(how)
        self._process.wait(60)

    def processes(self) -> list[int]:
        """Every process of it, the first one first."""
        first = self._process.pid
        children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
        return [first, *map(int, children)]

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        # Stopped first, it makes no child that is not in the list; started again, it would meet the memory of one.
        self._process.send_signal(signal.SIGSTOP)
        every = self.processes()
        for one in every:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self._process.wait(60)
        deadline = time.monotonic() + 60
        while any(map(_runs, every)):
            if time.monotonic() > deadline:
                raise RuntimeError("a process of the server outlives its SIGKILL")
            time.sleep(0.01)

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
        """One of its databases, as a broker is configured to use it."""
        return DatabaseServer(socket=self.folder, socket_port=self.port, name=name, user=user)

    def dump(self, server: DatabaseServer, file: Path) -> None:
        """Back a database up with pg_dump, as its administrator does while brokers work on it."""
        self._run("pg_dump", "--format=custom", f"--file={file}", server.name)

    def put_back(self, server: DatabaseServer, file: Path) -> None:
        """Put a dump in the place of a database that is in use: whoever is connected is cut off."""
        with self.admin() as connection:
            connection.execute(f"DROP DATABASE {server.name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {server.name} OWNER {OWNER}".encode())
        self._run("pg_restore", "--exit-on-error", f"--dbname={server.name}", str(file))

    def _run(self, name: str, *words: str) -> None:
        """One of the system's programs, as the server's administrator. Raises RuntimeError when it fails."""
        line = (str(self.bin / name), "-h", str(self.folder), "-p", str(self.port), "-U", "postgres", *words)
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120, **_PLAIN)  # noqa: S603
        if done.returncode != 0:
            raise RuntimeError(done.stderr)

    def admin(self, name: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """The server's administrator."""
        return psycopg.connect(host=str(self.folder), port=self.port, user="postgres", dbname=name, autocommit=True)

    def rows(self, server: DatabaseServer, query: str) -> Sequence[tuple[object, ...]]:
        """What stands in a database, as its owner sees it."""
        with self.admin(server.name) as connection:
            connection.execute("SET search_path TO bekend")
            return connection.execute(query.encode()).fetchall()

    def _go_on_line(self, tls: TlsFiles) -> None:
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        for file in (tls.certificate, tls.key):
            own = self.data / file.name
            shutil.copy(file, own)
            own.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(own, *_nobody())
        self.settings |= {
            "listen_addresses": "localhost",
            "port": str(self.port),
            "ssl_cert_file": tls.certificate.name,
            "ssl_key_file": tls.key.name,
        }
        with (self.data / "postgresql.conf").open("a", encoding="ascii") as settings:
            settings.write("ssl = on\n")
        (self.data / "pg_hba.conf").write_text("local all all trust\nhostssl all all all scram-sha-256\n", "ascii")

    def _make_template(self) -> None:
        with self.admin() as connection:
            for role in (OWNER, SERVICE):
                connection.execute(f"CREATE ROLE {role} LOGIN".encode())
            connection.execute(f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}".encode())
        prepare(self.server(_TEMPLATE, OWNER), SERVICE, BROKER_OIN, "main")

    def _make(self) -> None:
        words = ("-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        done = subprocess.run(  # noqa: S603 - the system's own program
            _never_root(str(self.bin / "initdb"), *words),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **_PLAIN,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)


_PLAIN: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}
"""Nothing of the test's environment."""


def _runs(process: int) -> bool:
    """Whether a process is there, and no remains that nobody has collected yet."""
    try:
        state = (
            Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
        )
    except FileNotFoundError:
        return False
    return state not in {"Z", "X"}


def _never_root(*words: str) -> list[str]:
    """The command, as nobody where this is root; by a program, since gRPC does not survive the fork of Python."""
    if os.geteuid() != 0:
        return list(words)
    user, group = _nobody()
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--", *words]


def _nobody() -> tuple[int, int]:
    found = pwd.getpwnam("nobody")
    return found.pw_uid, found.pw_gid
