"""Which column of a register's CSV is what: a small YAML text, approved by two people (protocol section 5).

Whoever decides what is read decides about whom the node answers. So the mapping is the text of a signed note with
the signatures of two different approvers whose keys stand in node.yaml; an import under any other mapping stops.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

from bekend_policy.scalars import Slug, Whole, rule_fault
from bekend_policy.strict_yaml import StrictModel, load_yaml
from bekend_proto.errors import BekendError, SignatureError
from bekend_proto.identifiers import CERTAIN_KINDS, POSSIBLE_KINDS
from bekend_proto.note import parse_note, verify_note
from pydantic import AfterValidator, Field, StringConstraints, model_validator

KIND = "bekend/1 mapping"
APPROVALS = 2
UNKNOWN_LABEL = "?"
"""What a source system says and the mapping does not name; no label of a covenant reads so."""
Header = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Keyword = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_ -]{0,60}$")]


def _one_of(kinds: Collection[str], what: str) -> Callable[[str], str]:
    def check(kind: str) -> str:
        if kind not in kinds:
            raise ValueError(f"no such {what}: choose from {', '.join(sorted(kinds))}")
        return kind

    return check


NumberKind = Annotated[str, AfterValidator(_one_of(CERTAIN_KINDS, "kind of identifier"))]
Combination = Annotated[str, AfterValidator(_one_of(POSSIBLE_KINDS, "combination"))]


class Columns(StrictModel):
    """Names of columns as the list's first line has them.

    `identifier` is the one number of a mapping that names its kind. `end` is the date on which the registration ends,
    `last_involved` the date of the last involvement (the end then follows from the registration age), `change` holds +
    or - in a list of changes. `secret` marks who is shielded by default, such as the BRP's indication of secrecy or a
    shelter's clients: anything but empty, 0, n, nee leaves a row out of the register, and takes it out in a list of
    changes. `label` says on what ground a person is registered, where the covenant asks for that (FG-39).
    """

    identifier: Header | None = None
    end: Header | None = None
    last_involved: Header | None = None
    change: Header | None = None
    secret: Header | None = None
    label: Header | None = None


class NameColumns(StrictModel):
    """Columns of the data that combinations are made of, by the elements of the BRP: a date as YYYYMMDD with zeros for
    what is unknown, 2026-11-21 or 21-11-2026; `name_use` is E, P, V or N.
    """

    surname: Header
    prefix: Header | None = None
    given_names: Header | None = None
    born: Header
    postcode: Header | None = None
    house_number: Header | None = None
    partner_surname: Header | None = None
    partner_prefix: Header | None = None
    name_use: Header | None = None


def _one_select(text: str) -> str:
    if re.match(r"(?is)\s*(select|with|values)\b", text) and not re.search(r";\s*\S", text):
        return text.strip().rstrip(";")
    raise rule_fault("a query is one SELECT", "Write what reads the register, and nothing else: `select bsn from ...`.")


Query = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_one_select)]
"""What gives the rows. In one of changes, `:since` is the day before that of the list in service."""


class Queries(StrictModel):
    """`query` gives the whole register, `changes` what changed, with + and - in the mapping's `change` column."""

    query: Query
    changes: Query | None = None


class PostgresqlSource(Queries):
    """A PostgreSQL database. `host`: its name, which its certificate must show, or the folder of a local socket."""

    kind: Literal["postgresql"]
    host: Annotated[str, StringConstraints(pattern=r"^(/\S{1,100}|[A-Za-z0-9.:-]{1,253})$")]
    port: Annotated[Whole, Field(ge=1, le=65535)] = 5432
    name: Header
    user: Header


class OdbcSource(Queries):
    """Any database with an ODBC driver. `connection`: the driver's own words, without user and password."""

    kind: Literal["odbc"]
    connection: Annotated[dict[Keyword, Header], Field(min_length=1)]
    user: Header | None = None

    @model_validator(mode="after")
    def _protected(self) -> "OdbcSource":
        words = {key.lower(): value.lower() for key, value in self.connection.items()}
        if words.keys() & {"uid", "user", "username", "pwd", "password"}:
            raise rule_fault(
                "`connection` names no user or password", "Give `user`, and the password's file in node.yaml."
            )
        if not (_is_here(words) or _has_tls(words)):
            raise rule_fault(
                "the line to this database has no TLS that is verified",
                "Encrypt=yes without TrustServerCertificate, SSLmode=verify-full or SSLMODE=VERIFY_IDENTITY, as its "
                "driver calls it; a database on this machine needs none.",
            )
        return self


LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SERVERS: Final = ("server", "servername", "host", "hostname", "address", "dsn", "dbq", "filedsn", "service")


def _is_here(words: dict[str, str]) -> bool:
    """Whether an ODBC connection stays on this machine: a server on loopback, or a file."""
    named = [words[key] for key in _SERVERS if key in words]
    return all(one in LOCAL for one in named) if named else words.get("database", "").startswith("/")


def _has_tls(words: dict[str, str]) -> bool:
    """Whether it says, in the words of the drivers that are known, that the server's certificate is verified."""
    trusting = words.get("trustservercertificate", "no") not in {"no", "false", "0"}
    by_microsoft = words.get("encrypt") in {"yes", "mandatory", "strict", "true"} and not trusting
    return by_microsoft or words.get("sslmode") in {"verify-full", "verify_identity"}


class Mapping(StrictModel):
    """How one register's list is read. Delimiter and encoding of a CSV are detected unless stated.

    One kind of number (`identifier_kind`, in `columns.identifier`), or `identifiers`: the column of each kind. With
    `combinations`, made of the columns under `names`. A person is enrolled by every kind that the row gives. `labels`
    tells what the source system calls a label of the covenant.
    """

    kind: Literal["bekend/1 mapping"]
    register_name: Annotated[str, Field(alias="register")]
    identifier_kind: NumberKind | None = None
    identifiers: Annotated[dict[NumberKind, Header], Field(min_length=1)] | None = None
    combinations: tuple[Combination, ...] = ()
    names: NameColumns | None = None
    columns: Columns = Columns()
    labels: dict[Header, Slug] | None = None
    delimiter: Literal[";", ",", "tab"] | None = None
    encoding: Literal["utf-8", "cp1252"] | None = None
    sheet: Header | None = None
    """Of a workbook; may be left out where it has one."""
    database: Annotated[PostgresqlSource | OdbcSource, Field(discriminator="kind")] | None = None
    """Where the list comes from, when it is in no file."""

    @model_validator(mode="after")
    def _names_persons(self) -> "Mapping":
        ways = [self.identifier_kind is not None, self.identifiers is not None]
        if sum(ways) > 1 or not (any(ways) or self.combinations) or ways[0] != (self.columns.identifier is not None):
            raise rule_fault(
                "the mapping does not say in which column which number stands",
                "Give `identifier_kind` with `columns: identifier`, or `identifiers`: the column of each kind.",
            )
        if bool(self.combinations) != (self.names is not None):
            raise rule_fault(
                "`combinations` and `names` belong together",
                "Say under `names` in which columns a person's data stand.",
            )
        if self.labels is not None and self.columns.label is None:
            raise rule_fault("`labels` needs a column", "Give `columns: label`.")
        return self

    @property
    def numbers(self) -> dict[str, str]:
        """Kind of number -> the column that holds it."""
        if self.identifier_kind is not None and self.columns.identifier is not None:
            return {self.identifier_kind: self.columns.identifier}
        return dict(self.identifiers or {})

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind of identifier by which persons of this register are enrolled."""
        return frozenset((*self.numbers, *self.combinations))

    def kind_in(self, column: str) -> str | None:
        """The kind of number that stands in a column."""
        return next((kind for kind, its in self.numbers.items() if its == column), None)

    @property
    def columns_named(self) -> frozenset[str]:
        """Every column that is read."""
        named = [*self.numbers.values(), *self.columns.model_dump().values()]
        named += self.names.model_dump().values() if self.names is not None else []
        return frozenset(filter(None, named))

    @property
    def first_column(self) -> str:
        """A column that must be there."""
        found = next(iter(self.numbers.values()), None)
        return found if found is not None else (self.names or NameColumns(surname="", born="")).surname

    def label_of(self, text: str) -> str:
        """The covenant's label for what the source system says; "" where it says nothing."""
        text = text.strip()
        if self.labels is None or not text:
            return text.lower()
        return self.labels.get(text, UNKNOWN_LABEL)


@dataclass(frozen=True)
class ApprovedMapping:
    """A mapping whose approvals were verified, and the SHA-256 of its text (hex): what a nightly timer pins."""

    mapping: Mapping
    digest: str


def load_mapping(path: Path, register: str, approvers: Sequence[str]) -> ApprovedMapping:
    """Read a mapping note. Raises YamlFaults for its text, SignatureError when two approvals are not there."""
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise SignatureError(f"{path} cannot be read ({fault.strerror}): check `mapping` in node.yaml") from fault
    try:
        note = parse_note(data)
        signed = {_public_part(key) for key in approvers if verify_note(note, key)}
    except BekendError as fault:
        raise SignatureError(f"{path} is not a signed note: have two approvers sign the mapping") from fault
    mapping: Mapping = load_yaml(note.text, Mapping, name=str(path))
    if len(signed) < APPROVALS:
        raise SignatureError(
            f"{path} has {len(signed)} of {APPROVALS} approvals: have it signed by two people "
            "whose keys stand under `approvers` in node.yaml"
        )
    if mapping.register_name != register:
        raise SignatureError(f"{path} is the mapping of {mapping.register_name}, not of {register}")
    return ApprovedMapping(mapping, sha256(note.text.encode()).hexdigest())


def _public_part(vkey: str) -> str:
    """The key in a vkey, so that one person under two names counts once."""
    return re.sub(r"^[^+]*\+[^+]*\+", "", vkey)
