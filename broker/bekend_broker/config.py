"""The broker's configuration: one strict YAML file, every key commented in broker.example.yaml.

Strict means: unknown keys, duplicates, anchors and values that YAML would turn into a number are faults,
all reported at once with file and line. Paths are relative to the configuration file.
"""

import os
from pathlib import Path
from typing import Annotated

from bekend_policy.strict_yaml import load_yaml
from bekend_proto.identity import TlsFiles
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Oin = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}[0-9A-Z]{12}$")]
"""An organisation's number: 20 positions, leading zeros kept, never a number."""
Address = Annotated[str, StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$")]
"""host:port"""
LogName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]
"""Name of a replica's log, as the signed manifest names it."""
Seconds = Annotated[float, Field(gt=0, le=600)]
"""A duration in seconds."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Section):
    """Certificate, key and the authorities that the partners' certificates must come from: PEM files."""

    certificate: Path
    key: Path
    authorities: Path


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
    limits: Limits = Limits()

    @property
    def tls_files(self) -> TlsFiles:
        """The TLS files in the form that the transport takes."""
        return TlsFiles(self.tls.certificate, self.tls.key, self.tls.authorities)

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
        return folder / value.expanduser()

    tls = Tls(certificate=at(config.tls.certificate), key=at(config.tls.key), authorities=at(config.tls.authorities))
    paths = {name: at(getattr(config, name)) for name in ("data", "keys", "covenant", "manifest")}
    return config.model_copy(update={**paths, "tls": tls})
