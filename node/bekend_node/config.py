"""The node's configuration: one strict YAML file, every key commented in node.example.yaml.

Strict means: unknown keys, duplicates, anchors and values that YAML would turn into a number are faults,
all reported at once with file and line. Paths are relative to the configuration file.
"""

import os
import re
from collections.abc import Callable, Sequence
from datetime import time, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from bekend_policy.manifest import is_one_line
from bekend_policy.scalars import Oin, TrueFalse, Whole, rule_fault
from bekend_policy.strict_yaml import StrictModel, load_yaml
from bekend_proto.checkpoint import NODE_LOG
from bekend_proto.clock import Clock
from bekend_proto.credentials import credential
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier
from bekend_proto.identity import TlsFiles
from bekend_proto.revocation import RevocationLists
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

Address = Annotated[str, StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$")]
"""host:port"""
RegisterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]
"""Name of a register, as the covenant names it."""


def _one_line(value: str) -> str:
    if is_one_line(value):
        return value
    raise rule_fault(
        "desk and opening_hours are one line of text",
        "Write at most 200 characters, without quotation marks or backslashes.",
    )


OneLine = Annotated[str, AfterValidator(_one_line)]
"""Text that stands in the manifest."""
PurposeId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,60}/[a-z0-9_-]{1,60}$")]
"""A purpose's id: covenant/doel."""

LogName = Annotated[str, StringConstraints(pattern=r"^node(-[a-z0-9_-]{1,35})?$")]
"""Name of a node's log, as its signed manifest names it."""

SHIELDED = "afgeschermd"
"""The register of persons for whom this node never answers `bekend`; every node has it (protocol section 5)."""


def _canary(text: str) -> str:
    kind, _, value = text.partition(":")
    try:
        parse_identifier(kind, value)
    except InvalidIdentifier:
        raise rule_fault(
            "'canary' is no reserved test number",
            "Write kind:value, for example bsn:999990019; `bekend node init` draws one.",
        ) from None
    return text


class BrokerAddress(StrictModel):
    """One replica of the broker; a node dials every replica."""

    address: Address
    server_name: str | None = None


class Tls(StrictModel):
    """Certificate, key and the authorities that the broker's certificate must come from: PEM files.

    `crl`: their lists of revoked certificates, `crl_max_age` how old one may be, in hours. `pinned`: certificates (or
    public keys) besides the own one whose keys the next manifest names: the one that comes next.
    """

    certificate: Path
    key: Path
    authorities: Path
    crl: Path | None = None
    crl_max_age: Annotated[Whole, Field(ge=1, le=720)] = 72
    pinned: tuple[Path, ...] = ()


class Proxy(StrictModel):
    """The HTTP proxy through which this node reaches brokers (CONNECT), and the hosts that it reaches without.

    `credentials`: a file, mode 0600, of one line `user:password`. `no_proxy`: host names, each with all names under it,
    and addresses.
    """

    address: Address
    credentials: Path | None = None
    no_proxy: tuple[Annotated[str, StringConstraints(pattern=r"^[^\s/:]+$|^[0-9a-fA-F:]+$")], ...] = ()


MAIL_ADDRESS = r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"
MailAddress = Annotated[str, StringConstraints(pattern=MAIL_ADDRESS, max_length=254)]


class Officer(StrictModel):
    """Who may ask at this node: a user of the operating system, with the name and role for the record.

    `mail`: where to say that something waits.
    """

    user: Annotated[str, StringConstraints(min_length=1)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    role: Annotated[str, StringConstraints(min_length=1)]
    mail: MailAddress | None = None


class MailTls(StrEnum):
    """How the line to the mail server is protected."""

    STARTTLS = "starttls"
    DIRECT = "direct"
    NONE = "none"


class Mail(StrictModel):
    """The organisation's mail server. `password` is a file: of mode 0600, or a systemd credential."""

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: Annotated[Whole, Field(ge=1, le=65535)]
    tls: MailTls = MailTls.STARTTLS
    sender: MailAddress = Field(alias="from")
    user: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    password: Path | None = None
    authorities: Path | None = None

    @model_validator(mode="after")
    def _protected(self) -> "Mail":
        if (self.user is None) is not (self.password is None):
            raise rule_fault("`user` and `password` of the mail server belong together", "Give both, or none.")
        if self.tls is MailTls.NONE and self.host not in {"127.0.0.1", "::1", "localhost"}:
            raise rule_fault(
                "mail would travel without TLS", "Use starttls or direct; none is for a server on this machine."
            )
        return self


class LogReader(StrictModel):
    """Who may read the log: a user of the operating system, with the name for the record (FG-30)."""

    user: Annotated[str, StringConstraints(min_length=1)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class DeskColleague(StrictModel):
    """Who may decide at the release desk: a user of the operating system, for these purposes. A deputy decides on what
    was handed over to it, or when it states that the first colleague is absent.
    """

    user: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    purposes: Annotated[tuple[PurposeId, ...], Field(min_length=1)]
    deputy: TrueFalse = False


def _hours(value: object) -> tuple[time, time]:
    found = re.fullmatch(r"([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d)", value) if isinstance(value, str) else None
    h1, m1, h2, m2 = map(int, found.groups()) if found else (24, 0, 0, 0)
    if max(h1, h2) > 23 or (h1, m1) >= (h2, m2):
        raise rule_fault("these are no hours of a day", "Write two, the earlier one first: 07:00-22:00.")
    return time(h1, m1), time(h2, m2)


class SignalTerms(StrictModel):
    """From where on a human looks (FG-19). A figure of 0 asks for no such signal.

    `usual_hours`: when people of this organisation work, in Amsterdam. `burst`: lookups of one officer in ten minutes.
    `repeats`: lookups of one officer for one case in a day. `neighbours`: lookups in a day about a number close to that
    of an earlier one. `unused_cases`: cases of one officer that were asked about once and not used in 28 days.
    """

    usual_hours: Annotated[tuple[time, time], BeforeValidator(_hours)] = (time(7), time(22))
    burst: Annotated[Whole, Field(le=10_000)] = 10
    repeats: Annotated[Whole, Field(le=10_000)] = 4
    neighbours: Annotated[Whole, Field(le=10_000)] = 2
    unused_cases: Annotated[Whole, Field(le=10_000)] = 5


class DatabaseAccess(StrictModel):
    """What this machine needs for the database that a mapping names: the file of the password (mode 0600, or a systemd
    credential), and the authorities that the server's certificate must come from.
    """

    password: Path | None = None
    authorities: Path | None = None


class Nightly(StrEnum):
    """What `bekend node inbox` imports from a register's database."""

    CHANGES = "changes"
    FULL = "full"


class Register(StrictModel):
    """A register of this partner: its approved mapping, and the size that the manifest states (persons).

    `database`: how this machine gets at the database that the mapping names, `nightly`: what is imported from it by
    `bekend node inbox`.
    """

    mapping: Path
    size: Annotated[Whole, Field(ge=1, le=20_000_000)]
    database: DatabaseAccess = Field(default_factory=DatabaseAccess)
    nightly: Nightly | None = None


Claim = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""Name of a claim in an ID token; one that lies deeper is written with dots."""


Issuer = Annotated[str, StringConstraints(pattern=r"^(https://|http://(127\.0\.0\.1|localhost)[:/])[^\s?#]+$")]
"""Address of an OpenID Connect provider."""


class Accounts(StrictModel):
    """People at the organisation's own provider: what its tokens say of them, and what that gives here.

    `roles` says which value at `roles_claim` gives which role here. At least one of `acr`, `amr` and `acrs` names the
    levels of authentication that count as more than one factor (FG-45).
    """

    issuer: Issuer
    authorities: Path | None = None
    user_claim: Claim = "sub"
    name_claim: Claim = "name"
    mail_claim: Claim | None = None
    roles_claim: Claim = "realm_access.roles"
    roles: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    acr: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    acrs: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _more_than_a_password(self) -> Self:
        if self.acr or self.amr or self.acrs:
            return self
        raise rule_fault(
            "sign-in asks for no second factor",
            "Name under acr, amr or acrs the values of your provider that stand for more than one factor (FG-45).",
        )

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Claim -> the values of which it must hold one; every claim in here is demanded."""
        named = {"acr": self.acr, "amr": self.amr, "acrs": self.acrs}
        return {claim: values for claim, values in named.items() if values}


class SignIn(Accounts):
    """Sign-in with the organisation's own provider: OpenID Connect, found by its issuer's address.

    This node proves itself with a key (private_key_jwt, NL GOV profile), never with a shared secret.
    """

    client_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    key: Path
    certificate: Path | None = None


class AccessTokens(Accounts):
    """Access tokens of officers, as a case system sends them along (RFC 9068).

    `audience` is what the provider calls this facade; `clients` are the case systems whose tokens are taken.
    """

    audience: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    clients: Annotated[tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...], Field(min_length=1)]


Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.:\[\]-]+$")]
"""https://host[:port], as others write it."""


class Rest(StrictModel):
    """The facade for case systems: where it listens, what it is called, and whose tokens it takes.

    Without a certificate it listens on loopback alone, behind a proxy of the own organisation that has one.
    `client_authorities` sign the certificates that case systems show (RFC 8705), and `client_crl` holds their lists of
    revoked ones, `client_crl_max_age` hours old at most. `sandbox` names the test persons about whom alone is asked,
    under a demo covenant.
    """

    listen: Address
    origin: Origin
    certificate: Path | None = None
    key: Path | None = None
    client_authorities: Path | None = None
    client_crl: Path | None = None
    client_crl_max_age: Annotated[Whole, Field(ge=1, le=720)] = 72
    sandbox: Path | None = None
    tokens: AccessTokens

    def revocation(self, clock: Clock) -> RevocationLists | None:
        """What the certificates of case systems are held against, if there is a list."""
        if self.client_crl is None or self.client_authorities is None:
            return None
        longest = timedelta(hours=self.client_crl_max_age)
        return RevocationLists(self.client_crl, self.client_authorities, clock, longest)


class Web(StrictModel):
    """The pages: where they listen, what they are called, how people sign in, and whose colours they wear.

    Without a certificate they listen on loopback alone, behind a proxy of the own organisation that has one.
    """

    listen: Address
    origin: Origin
    certificate: Path | None = None
    key: Path | None = None
    theme_css: Path | None = None
    practice: Path | None = None
    sign_in: SignIn | None = None


class NodeConfig(StrictModel):
    """Everything that a node is told. Keys of others are never configured but one: the own anchor."""

    oin: Oin
    data: Path = Path("data")
    keys: Path = Path("keys")
    covenant: Path
    anchor: Annotated[str, StringConstraints(min_length=1)]
    manifest: Path
    desk: OneLine | None = None
    opening_hours: OneLine | None = None
    standing_decisions: Path | None = None
    privacy_officer: Path | None = None
    brokers: Annotated[tuple[BrokerAddress, ...], Field(min_length=1)]
    tls: Tls
    proxy: Proxy | None = None
    metrics: Address | None = None
    socket: Path = Path("node.sock")
    socket_group: Annotated[str, StringConstraints(min_length=1)] | None = None
    web: Web | None = None
    rest: Rest | None = None
    canary: Annotated[str, AfterValidator(_canary)]
    canaries: Annotated[tuple[Annotated[str, AfterValidator(_canary)], ...], Field(max_length=7)] = ()
    canary_hours: Annotated[Whole, Field(ge=1, le=24)] = 2
    officers: tuple[Officer, ...] = ()
    log_readers: tuple[LogReader, ...] = ()
    signals: SignalTerms = Field(default_factory=SignalTerms)
    desk_staff: tuple[DeskColleague, ...] = ()
    desk_hook: Path | None = None
    late_hook: Path | None = None
    mail: Mail | None = None
    registers: dict[RegisterName, Register] = Field(default_factory=dict)
    approvers: tuple[str, ...] = ()
    workers: Annotated[Whole, Field(ge=1, le=256)] | None = None
    log: LogName = NODE_LOG
    logs: tuple[LogName, ...] = ()
    checkpoint_seconds: Annotated[float, Field(ge=0.1, le=600)] = 60.0
    registration_months: Annotated[Whole, Field(ge=1, le=240)] = 24
    max_refused_percent: Annotated[float, Field(ge=0, le=100)] = 1.0

    @property
    def tls_files(self) -> TlsFiles:
        """The TLS files in the form that the transport takes."""
        tls = self.tls
        return TlsFiles(tls.certificate, tls.key, tls.authorities, tls.crl, timedelta(hours=tls.crl_max_age))

    @property
    def certificates(self) -> dict[str, Path]:
        """The certificate files that end some day, by what they are for."""
        found = {"tls": self.tls.certificate, "authorities": self.tls.authorities}
        if self.web is not None and self.web.certificate is not None:
            found["pages"] = self.web.certificate
        if self.web is not None and self.web.sign_in is not None and self.web.sign_in.certificate is not None:
            found["sign-in"] = self.web.sign_in.certificate
        if self.rest is not None and self.rest.certificate is not None:
            found["rest"] = self.rest.certificate
        return found

    @property
    def canary_identifier(self) -> Identifier:
        """The reserved test number that is enrolled with every import and asked about to find silent misses."""
        kind, _, value = self.canary.partition(":")
        return parse_identifier(kind, value)

    @property
    def log_names(self) -> tuple[str, ...]:
        """Names of the logs of this node and its standby."""
        return tuple(sorted({self.log, *self.logs}))

    @property
    def canary_identifiers(self) -> tuple[Identifier, ...]:
        """All of them, each once, the one of `canary` first."""
        named = dict.fromkeys((self.canary, *self.canaries))
        return tuple(parse_identifier(kind, value) for kind, _, value in (one.partition(":") for one in named))

    @property
    def worker_count(self) -> int:
        """Worker processes for bulk work: all cores unless configured."""
        return self.workers or os.cpu_count() or 1


_HOOKS = ("desk_hook", "late_hook")
_PATHS = ("data", "keys", "covenant", "manifest", "standing_decisions", "privacy_officer", *_HOOKS, "socket")


def load_config(path: Path) -> NodeConfig:
    """Read and check a configuration file; every path in the result is absolute.

    Raises the strict loader's fault list (file, line, remedy).
    """
    config: NodeConfig = load_yaml(path, NodeConfig)
    folder = path.resolve().parent

    def at(value: Path) -> Path:
        return credential(value) or folder / value.expanduser()

    pinned = tuple(map(at, config.tls.pinned))
    tls = config.tls.model_copy(
        update={**_paths_at(config.tls, ("certificate", "key", "authorities", "crl"), at), "pinned": pinned}
    )
    web = config.web and _web_at(config.web, at)
    rest = config.rest and _rest_at(config.rest, at)
    proxy = config.proxy and config.proxy.model_copy(update=_paths_at(config.proxy, ("credentials",), at))
    mail = config.mail and config.mail.model_copy(update=_paths_at(config.mail, ("password", "authorities"), at))
    registers = {name: _register_at(register, at) for name, register in config.registers.items()}
    paths = {**_paths_at(config, _PATHS, at), "tls": tls, "proxy": proxy, "mail": mail, "web": web, "rest": rest}
    return config.model_copy(update={**paths, "registers": registers})


def _register_at(register: Register, at: Callable[[Path], Path]) -> Register:
    access = register.database
    database = access.model_copy(update=_paths_at(access, ("password", "authorities"), at))
    return register.model_copy(update={"mapping": at(register.mapping), "database": database})


def _web_at(web: Web, at: Callable[[Path], Path]) -> Web:
    found = _paths_at(web, ("certificate", "key", "theme_css", "practice"), at)
    if web.sign_in is not None:
        paths = _paths_at(web.sign_in, ("key", "certificate", "authorities"), at)
        found["sign_in"] = web.sign_in.model_copy(update=paths)
    return web.model_copy(update=found)


def _rest_at(rest: Rest, at: Callable[[Path], Path]) -> Rest:
    found = _paths_at(rest, ("certificate", "key", "client_authorities", "client_crl", "sandbox"), at)
    found["tokens"] = rest.tokens.model_copy(update=_paths_at(rest.tokens, ("authorities",), at))
    return rest.model_copy(update=found)


def _paths_at(model: StrictModel, names: Sequence[str], at: Callable[[Path], Path]) -> dict[str, Any]:
    """Those of the named paths that are configured, made absolute."""
    return {name: at(value) for name in names if (value := getattr(model, name)) is not None}
