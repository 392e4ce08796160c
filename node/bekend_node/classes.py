"""The two classes of identifier: a number names one person, a combination of name and date may name several.

    certain     answered as the source's mode says                              the m of section 4 for that mode
    possible    a colleague compares and decides, whatever the mode is          an m of its own, a header without tags

The two have nothing in common: no m, no filter, no list of clients, no outcome.
"""

from typing import Final, NamedTuple, TypeAlias

from bekend_proto import identifiers
from bekend_proto.identifiers import class_of
from bekend_proto.v1 import signed_pb2

KindClass: TypeAlias = "signed_pb2.KindClass.ValueType"

CERTAIN: Final = signed_pb2.KIND_CLASS_CERTAIN
POSSIBLE: Final = signed_pb2.KIND_CLASS_POSSIBLE
CLASSES: Final = (CERTAIN, POSSIBLE)

_NAMES: Final[dict[KindClass, str]] = {CERTAIN: "certain", POSSIBLE: "possible"}


class FilterId(NamedTuple):
    """Which filter of a node: one per purpose, and one more where the covenant lists combinations."""

    purpose: str
    kind_class: KindClass

    def __str__(self) -> str:
        return self.purpose if self.kind_class == CERTAIN else f"{self.purpose} ({name_of(self.kind_class)})"


def wire_class(kind: str) -> KindClass:
    """The class of a kind of identifier, as a Question names it. Raises InvalidIdentifier for an unknown kind."""
    return POSSIBLE if class_of(kind) is identifiers.KindClass.POSSIBLE else CERTAIN


def on_wire(kind_class: KindClass) -> KindClass:
    """A class as FetchOrder and FilterHeader write it: the certain one is left out (`class_of_filter`)."""
    return POSSIBLE if kind_class == POSSIBLE else signed_pb2.KIND_CLASS_UNSPECIFIED


def name_of(kind_class: KindClass) -> str:
    """A class as logs and metrics spell it."""
    return _NAMES.get(kind_class, "unknown")
