"""A dry run: everything that an import would read is read; nothing is sent, and nothing is written.

It needs no key, no manifest and no broker: what counts for which purpose follows from the signed covenant and the
approved mapping alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bekend_policy.model import Covenant
from bekend_policy.versions import FOLDER, load_versions
from bekend_proto.clock import Clock

from bekend_node.classes import wire_class
from bekend_node.config import NodeConfig
from bekend_node.enrol.lists import Wanted, approved_mapping, open_list, row_rules
from bekend_node.enrol.plan import Report
from bekend_node.enrol.run import check_as_of, reading
from bekend_node.enrol.survey import (
    GuardError,
    Source,
    Survey,
    guard_empty,
    guard_refused,
    guard_shrinking,
    selections_of,
    survey,
)
from bekend_node.rules import check_own
from bekend_node.store_registers import Registers


@dataclass(frozen=True)
class DryRun:
    """What an import would do. `modes`: how each purpose is answered, per kind of identifier."""

    register: str
    found: Survey
    modes: Mapping[tuple[str, str], str]
    stopped: str = ""
    """What a guard would say; nothing when none stops it."""

    @property
    def reports(self) -> dict[str, Report]:
        """What counts, per purpose."""
        return {purpose: read.report for purpose, read in self.found.read.items()}


def dry_run(config: NodeConfig, wanted: Wanted, clock: Clock) -> DryRun:
    """Read the list, and count. Raises what an import raises before it sends anything."""
    approved = approved_mapping(config, wanted)
    now = clock.now()
    in_service = Registers.peek(config.data)
    answered = dict(_covenant(config, now).served_by(config.oin))
    with open_list(config, wanted, approved.mapping, in_service, now) as listing:
        rules = row_rules(config, wanted, approved.mapping, check_as_of(wanted.as_of or listing.made, now))
        source = Source(
            reading(listing, rules, now),
            b"",
            rules.changes,
            approved.mapping.kinds,
            labelled=approved.mapping.columns.label is not None,
        )
        found = survey(source, selections_of(wanted.register, source, answered), lambda _: None)
    modes = {(purpose, kind): str(answered[purpose].mode_of(wire_class(kind))) for purpose, kind in found.parts}
    try:
        guard_refused(found.whole, config.max_refused_percent)
        if not (wanted.changes or wanted.confirm_shrink):
            guard_shrinking(wanted.register, in_service, found.counts, answered)
            guard_empty(wanted.register, in_service, found.counts)
    except GuardError as fault:
        return DryRun(wanted.register, found, modes, fault.reason)
    return DryRun(wanted.register, found, modes)


def _covenant(config: NodeConfig, now: datetime) -> Covenant:
    """The newest version that holds, verified; without the memory of which was newest, which an import keeps to."""
    versions = load_versions(
        config.covenant,
        config.data / FOLDER,
        config.anchor,
        now,
        newest_seen=lambda _: 0,
        skipped=lambda *_: None,
    )
    check_own(config, versions[0])
    return versions[0].covenant
