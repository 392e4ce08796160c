"""The broker's configuration: one strict YAML file, every key commented in broker.example.yaml.

Strict means: unknown keys, duplicates, anchors and values that YAML would turn into a number are faults,
all reported at once with file and line. Paths are relative to the configuration file.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from bekend_policy.scalars import TrueFalse, rule_fault
from bekend_policy.strict_yaml import load_yaml
from bekend_proto.checkpoint import is_node_log
from bekend_proto.credentials import credential
from bekend_proto.identity import TlsFiles
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Oin = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}[0-9A-Z]{12}$")]
"""An organisation's number: 20 positions, leading zeros kept, never a number."""
Address = Annotated[str, StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$")]
"""host:port"""


def _not_a_nodes(name: str) -> str:
    if is_node_log(name):
        raise rule_fault("logs of that name are those of nodes", "Name it after the replica, for example main.")
    return name


LogName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$"), AfterValidator(_not_a_nodes)]
"""Name of a replica's log, as the signed manifest names it."""
Seconds = Annotated[float, Field(gt=0, le=600)]
"""A duration in seconds."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Section):
    """Certificate, key and the authorities that the partners' certificates must come from: PEM files.

    `crl`: their lists of revoked certificates, `crl_max_age` how old one may be, in hours. `pinned`: certificates (or
    public keys) besides the own one whose keys the next manifest names: the one that comes next, those of replicas.
    """

    certificate: Path
    key: Path
    authorities: Path
    crl: Path | None = None
    crl_max_age: Annotated[int, Field(ge=1, le=720)] = 72
    pinned: tuple[Path, ...] = ()


class DatabaseServer(_Section):
    """A PostgreSQL database that all replicas share, over TLS or a socket of this machine."""

    addresses: tuple[Address, ...] = ()
    socket: Path | None = None
    socket_port: Annotated[int, Field(ge=1, le=65535)] = 5432
    name: Annotated[str, StringConstraints(min_length=1)] = "bekend"
    user: Annotated[str, StringConstraints(min_length=1)] = "bekend_broker"
    password: Path | None = None
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.addresses) == (self.socket is not None):
            raise ValueError("give either `addresses` or `socket`")
        if self.addresses and self.authorities is None:
            raise ValueError("`addresses` need `authorities`: the server's certificate is always verified")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` come together")
        return self

    @property
    def shown(self) -> str:
        """As an operator knows it."""
        where = ", ".join(self.addresses) or str(self.socket)
        return f"{self.name} of {self.user} at {where}"


class Limits(_Section):
    """How long the broker waits, and how much it carries at once. The defaults are those of the protocol."""

    reply_seconds: Annotated[float, Field(gt=0, le=5)] = 5.0
    ask_seconds: Seconds = 30.0
    hello_seconds: Seconds = 10.0
    chunk_seconds: Seconds = 120.0
    piece_seconds: Seconds = 10.0
    fetches_per_requester: Annotated[int, Field(ge=1, le=1024)] = 64
    imports_per_node: Annotated[int, Field(ge=1, le=64)] = 8
    exchanges_per_requester: Annotated[int, Field(ge=1, le=4096)] = 256
    grace_seconds: Annotated[float, Field(ge=0, le=300)] = 10.0
    checkpoint_seconds: Annotated[float, Field(ge=0.1, le=120)] = 60.0


class BrokerConfig(_Section):
    """Everything that a broker is told. Keys of others are never configured but one: the covenant's anchor."""

    oin: Oin
    data: Path = Path("data")
    database: DatabaseServer | None = None
    keys: Path = Path("keys")
    covenant: Path
    anchor: Annotated[str, StringConstraints(min_length=1)]
    manifest: Path
    listen: Address
    metrics: Address | None = None
    tls: Tls
    log: LogName = "main"
    logs: tuple[LogName, ...] = ()
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    reflection: TrueFalse = False
    limits: Limits = Limits()

    @property
    def tls_files(self) -> TlsFiles:
        """The TLS files in the form that the transport takes."""
        tls = self.tls
        return TlsFiles(tls.certificate, tls.key, tls.authorities, tls.crl, timedelta(hours=tls.crl_max_age))

    @property
    def log_names(self) -> tuple[str, ...]:
        """Names of the logs of all replicas, this one's among them."""
        return tuple(sorted({self.log, *self.logs}))

    @property
    def worker_count(self) -> int:
        """Threads for enrolment: all cores unless configured."""
        return self.workers or os.cpu_count() or 1


def load_config(path: Path) -> BrokerConfig:
    """Read and check a configuration file; every path in the result is absolute.

    Raises the strict loader's fault list: file, line, remedy.
    """
    config: BrokerConfig = load_yaml(path, BrokerConfig)
    folder = path.resolve().parent

    def at(value: Path) -> Path:
        return credential(value) or folder / value.expanduser()

    found = config.tls
    tls = found.model_copy(
        update={
            "certificate": at(found.certificate),
            "key": at(found.key),
            "authorities": at(found.authorities),
            "crl": found.crl and at(found.crl),
            "pinned": tuple(map(at, found.pinned)),
        }
    )
    server = config.database
    if server is not None:
        names = ("socket", "password", "authorities", "certificate", "key")
        given = {name: at(path) for name in names if (path := getattr(server, name)) is not None}
        server = server.model_copy(update=given)
    paths = {name: at(getattr(config, name)) for name in ("data", "keys", "covenant", "manifest")}
    return config.model_copy(update={**paths, "tls": tls, "database": server})
