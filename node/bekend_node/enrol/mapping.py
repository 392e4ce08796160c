"""Which column of a register's CSV is what: a small YAML text, approved by two people (protocol section 5).

Whoever decides what is read decides about whom the node answers. So the mapping is the text of a signed note with
the signatures of two different approvers whose keys stand in node.yaml; an import under any other mapping stops.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from bekend_policy.scalars import rule_fault
from bekend_policy.strict_yaml import StrictModel, load_yaml
from bekend_proto.errors import BekendError, SignatureError
from bekend_proto.identifiers import KINDS
from bekend_proto.note import parse_note, verify_note
from pydantic import AfterValidator, Field, StringConstraints, model_validator

KIND = "bekend/1 mapping"
APPROVALS = 2
Header = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"no such kind of identifier: choose from {', '.join(sorted(KINDS))}")
    return kind


class Columns(StrictModel):
    """Names of columns as the list's first line has them.

    `identifier` is the one number of a mapping that names its kind. `end` is the date on which the registration ends,
    `last_involved` the date of the last involvement (the end then follows from the registration age), `change` holds +
    or - in a file of changes. `secret` marks who is shielded by default, such as the BRP's indication of secrecy or a
    shelter's clients: anything but empty, 0, n, nee leaves a row out of the register, and takes it out in a file of
    changes.
    """

    identifier: Header | None = None
    end: Header | None = None
    last_involved: Header | None = None
    change: Header | None = None
    secret: Header | None = None


class Mapping(StrictModel):
    """How one register's list is read. Delimiter and encoding are detected unless stated.

    One kind of identifier (`identifier_kind`, in `columns.identifier`), or `identifiers`: the column of each kind. A
    person is then enrolled by every kind of which the row holds a number.
    """

    kind: Literal["bekend/1 mapping"]
    register_name: Annotated[str, Field(alias="register")]
    identifier_kind: Annotated[str, AfterValidator(_known_kind)] | None = None
    identifiers: Annotated[dict[Annotated[str, AfterValidator(_known_kind)], Header], Field(min_length=1)] | None = None
    columns: Columns
    delimiter: Literal[";", ",", "tab"] | None = None
    encoding: Literal["utf-8", "cp1252"] | None = None

    @model_validator(mode="after")
    def _names_numbers(self) -> "Mapping":
        one = (self.identifier_kind is not None, self.columns.identifier is not None)
        if one != (self.identifiers is None,) * 2:
            raise rule_fault(
                "the mapping does not say in which column which number stands",
                "Give `identifier_kind` with `columns: identifier`, or `identifiers`: the column of each kind.",
            )
        return self

    @property
    def numbers(self) -> dict[str, str]:
        """Kind of identifier -> the column that holds it."""
        if self.identifiers is not None:
            return dict(self.identifiers)
        assert self.identifier_kind is not None
        assert self.columns.identifier is not None
        return {self.identifier_kind: self.columns.identifier}

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind of identifier by which persons of this register are enrolled."""
        return frozenset(self.numbers)


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
