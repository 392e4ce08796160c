"""Shielding single persons: they go into `afgeschermd`, and this node never answers `bekend` about them.

The identifiers come from a prompt or from standard input, never from the command line, where others could read them.
They are enrolled as changes, padded to sixteen, and hold from the next fixed switch.
"""

import secrets
from collections.abc import Collection, Iterator, Sequence

from bekend_proto.identifiers import Identifier

from bekend_node.config import SHIELDED
from bekend_node.enrol import plan
from bekend_node.enrol.survey import Source
from bekend_node.pseudonym_file import NEVER_ENDS
from bekend_node.store_registers import Generation


def shield_source(persons: Sequence[Identifier], *, lift: bool) -> Source:
    """These persons, as additions to (or, with `lift`, removals from) `afgeschermd`."""
    window = {person.canonical: 0 if lift else NEVER_ENDS for person in persons}

    def read(report: plan.Report, selection: plan.Selection) -> Iterator[plan.Window]:
        chosen = {one: month for one, month in window.items() if plan.kind_of(one) in selection.kinds}
        report.rows, report.persons = len(persons), len(chosen)
        report.merged = len(persons) - len(window)
        report.numbers.update(map(plan.kind_of, chosen))
        yield chosen

    # A fresh fingerprint: an interrupted shielding is typed again, nothing of it is kept to go on with.
    return Source(read, secrets.token_bytes(32), changes=True, kinds=frozenset(person.kind for person in persons))


def still_found_by(in_service: Sequence[Generation], given: Collection[str]) -> list[str]:
    """Kinds of identifier by which persons are found here that were shielded by these kinds alone.

    By a kind that `afgeschermd` lacks nobody is asked about.
    """
    held = [{one.kind for one in in_service if (one.register == SHIELDED) is shielded} for shielded in (True, False)]
    return sorted(set.intersection(*held).difference(given))
