"""The privacy officer's side: the own records behind what is drawn, opened in one go."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bekend_proto.errors import KeysError, MalformedError
from bekend_proto.ledger.sample import Selected
from nacl.public import PrivateKey, SealedBox

from bekend_node.ask.own_record import KIND_LOOKUP
from bekend_node.audit.basis import Basis
from bekend_node.audit.opening import LOOKUP_FIELDS, QUESTION_FIELDS, Opening
from bekend_node.records.own import content_of
from bekend_node.store_export import Export, Progress

PART: Final = 500
"""Own records between two reports of progress."""
_AROUND: Final = 3_600_000
"""Milliseconds. An own record is written within moments of the broker's entry; clocks may differ."""


@dataclass(frozen=True)
class Shown:
    """An opening, and what the officer is told of it. `missing`: drawn, without an own record (hashes in hex)."""

    opening: Opening
    drawn: int
    missing: tuple[str, ...]
    cases: tuple["Case", ...]


@dataclass(frozen=True, order=True)
class Case:
    """A Question whose case a human looks at. `time` is the Question's, ISO 8601."""

    time: str
    question: str
    source: str
    purpose: str
    case: str | None
    officer: str


def show(path: Path, keys: Sequence[PrivateKey], oin: str, basis: Basis, progress: Progress = lambda *_: None) -> Shown:
    """Open the own records of an export of the node that are drawn. `keys`: the officer's, the present one first.

    Raises MalformedError when the file is no export, KeysError when it is another organisation's.
    """
    selected = {one.hash.hex(): one for one in basis.of(oin)}
    with Export.open(path) as export:
        if export.meta("oin").decode("ascii", "replace") != oin:
            raise KeysError("de export is van een andere organisatie dan uw sleutel: neem die van uw eigen node")
        lookups = tuple(_lookups(export, keys, selected.keys(), basis.days.span, progress))
        opening = Opening(
            oin=oin,
            first=basis.days.first,
            last=basis.days.last,
            draw=basis.draw_hash,
            own_manifest=export.meta("manifest"),
            broker_manifest=export.meta("broker_manifest"),
            manifests=tuple(bytes.fromhex(one) for one in json.loads(export.meta("manifests"))),
            lookups=lookups,
        )
    shown = {one["question_hash"] for lookup in lookups for one in lookup["questions"]}
    missing = tuple(sorted(selected.keys() - shown))
    return Shown(opening, len(selected), missing, tuple(cases_of(lookups, selected)))


def cases_of(lookups: Sequence[dict[str, Any]], selected: dict[str, Selected]) -> list[Case]:
    """The Questions among these whose case a human looks at."""
    return sorted(
        Case(lookup["time"], one["question_hash"], one["source"], lookup["purpose"], lookup["case"], lookup["officer"])
        for lookup in lookups
        for one in lookup["questions"]
        if (it := selected.get(one["question_hash"])) is not None and it.ask_case
    )


def _lookups(
    export: Export, keys: Sequence[PrivateKey], wanted: Collection[str], span: tuple[int, int], progress: Progress
) -> Iterator[dict[str, Any]]:
    boxes = [SealedBox(key) for key in keys]
    total = export.own_records()
    for first in range(1, total + 1, PART):
        last = min(first + PART - 1, total)
        for record in export.read_own(KIND_LOOKUP, first, last):
            if not span[0] - _AROUND <= record.at < span[1] + _AROUND:
                continue
            try:
                content = content_of(record, boxes, KIND_LOOKUP)
                drawn = [one for one in content["questions"] if one["question_hash"] in wanted]
                questions = [{name: one[name] for name in QUESTION_FIELDS} for one in drawn]
            except (MalformedError, KeyError, TypeError):
                continue  # what it held is then missing, and said to be
            if questions:
                # A record of an earlier release names no second officer.
                shown = {"second": None, **content}
                yield {name: shown[name] for name in LOOKUP_FIELDS} | {"questions": questions}
        progress(last, total)
