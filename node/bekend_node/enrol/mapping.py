"""Which column of a register's CSV is what: a small YAML text, approved by two people (protocol section 5).

Whoever decides what is read decides about whom the node answers. So the mapping is the text of a signed note with
the signatures of two different approvers whose keys stand in node.yaml; an import under any other mapping stops.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from bekend_policy.scalars import Slug, rule_fault
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
