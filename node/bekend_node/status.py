"""How the node stands: for `bekend node status`, and the metrics. No count of hits, nothing about a person."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

from bekend_policy.model import Covenant
from bekend_policy.suspension import Suspensions
from bekend_proto import log_table
from bekend_proto.clock import AMSTERDAM, day_of, epoch_start, from_milliseconds
from bekend_proto.errors import NotReadyError

from bekend_node.attach import Attachment
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.filters import Filters
from bekend_node.metrics import ALL, NodeMetrics
from bekend_node.rules import Rules
from bekend_node.serving import Serving
from bekend_node.store import Store
from bekend_node.store_registers import Generation, Registers
from bekend_node.witness import Witness

Rows = Callable[[], Awaitable[Mapping[str, int]]]
"""Counts the rows of each table that grows with questions. What `status_of` tells is read from none of those."""


def status_of(
    rules: Rules,
    *,
    filters: Filters,
    registers: Registers,
    attachments: tuple[Attachment, ...],
    suspensions: Suspensions,
    witness: Witness,
    deferrals: Mapping[str, int],
    emergencies: Mapping[str, int],
    retention_waits: int = 0,
    canaries: Mapping[str, Any] | None = None,
    now: datetime,
) -> dict[str, Any]:
    """Per purpose: mode, whether a colleague decides now, standing decision's end, filter version, next switch, what is
    wrong; lists; replicas.

    And the versions of the covenant held, the standing decisions with their ends, what is suspended, and the logs.
    """
    generations = registers.generations()
    return {
        "oin": rules.oin,
        "covenant": {
            "id": rules.covenant.id,
            "version": rules.covenant.version,
            "hash": rules.covenant.hash.hex(),
            "until": _moment(rules.covenant.valid_until),
        },
        "covenants": [
            {
                "version": one.version,
                "hash": one.hash.hex(),
                "from": _moment(one.valid_from),
                "until": _moment(one.valid_until),
            }
            for one in rules.covenants
        ],
        "standing_decisions": [
            {
                "purpose": purpose,
                "from": _moment(decision.valid_from),
                "until": _moment(decision.valid_until),
                "in_force": decision.in_force(now),
            }
            for purpose, decision in sorted(rules.standing.items())
        ],
        "suspensions": [
            {
                "what": one.what.value,
                "about": one.about,
                "by": one.by,
                "number": one.number,
                "since": _moment(since) if since else None,
                "until": _moment(until) if until else None,
                "reason": one.reason,
            }
            for one in suspensions.in_force(rules.covenant, now)
            for since, until in [one.span]
        ],
        "manifest": {"number": rules.manifest.number, "until": _moment(rules.manifest.valid_until)},
        "brokers": {attachment.link.address: attachment.attached.is_set() for attachment in attachments},
        "purposes": {
            str(id_): _purpose(rules, filters, id_, str(source.mode_of(id_.kind_class)))
            for id_, source in rules.filters.items()
        },
        "registers": [
            {
                "register": g.register,
                "purpose": g.purpose,
                "kind": g.kind,
                "epoch": g.epoch,
                "as_of": g.as_of.isoformat(),
                "persons": g.persons,
            }
            for g in generations
        ],
        "log": {
            "seen": witness.seen(),
            "stopped": witness.heads.stopped or None,
            "alarms": [
                {
                    "number": one.id,
                    "at": _moment(from_milliseconds(one.at)),
                    "origin": one.origin,
                    "kind": one.kind,
                    "stops": one.stops,
                    "detail": one.detail,
                }
                for one in witness.alarms()
            ],
        },
        "canaries": dict(canaries or {}),
        "deferrals": dict(deferrals),
        "emergencies": dict(emergencies),
        "retention_waits": retention_waits,
        "now": _moment(now),
    }


def standing_of(rules: Rules, filters: Filters, attachments: tuple[Attachment, ...]) -> str:
    """How the node stands, in a line for systemd."""
    attached = sum(one.attached.is_set() for one in attachments)
    answered = [id_ for id_ in rules.filters if _reason(filters, id_) is None]
    return (
        f"attached to {attached} of {len(attachments)} brokers, "
        f"{len(answered)} of {len(rules.filters)} purposes answered"
    )


def measure(
    rules: Rules, filters: Filters, registers: Registers, *, store: Store, metrics: NodeMetrics, now: datetime
) -> None:
    """Bring the gauges up to date."""
    for id_ in rules.filters:
        ready = _reason(filters, id_) is None
        metrics.purpose(str(id_), ready=ready, switch=filters.next_switch(id_.purpose, kind_class=id_.kind_class))
        if ready:
            metrics.epoch(str(id_), epoch_start(_serving(filters, id_).header.epoch).timestamp())
    for (register, purpose), kinds in _by_register(registers.generations()).items():
        oldest = min(g.as_of for g in kinds)
        metrics.list_of(register, purpose, datetime.combine(oldest, time(0), AMSTERDAM).timestamp())
        metrics.register(
            register, purpose, imported_at=min(g.imported_at for g in kinds), persons=sum(g.persons for g in kinds)
        )
    metrics.covenant(rules.covenant)
    metrics.quotas(_shares(store.used_on(day_of(now), "officer"), rules.covenant))
    metrics.log_entries(store.read(log_table.log_size))
    metrics.ends(rules.manifest.valid_until.timestamp(), rules.covenant.valid_until.timestamp())


def _by_register(generations: Sequence[Generation]) -> dict[tuple[str, str], list[Generation]]:
    """Of each register and purpose the generations of the epoch that was imported last: one per kind of identifier."""
    epochs = {(g.register, g.purpose): g.epoch for g in generations}
    found: dict[tuple[str, str], list[Generation]] = {}
    for g in generations:
        if g.epoch == epochs[g.register, g.purpose]:
            found.setdefault((g.register, g.purpose), []).append(g)
    return found


def _shares(used: Mapping[tuple[str, str], int], covenant: Covenant) -> dict[str, float]:
    """Per purpose, and ALL, the largest share of a day's budget that an officer has used: whose stays here."""
    limits = {purpose: terms.limits.per_officer for purpose, terms in covenant.purposes.items()}
    limits[ALL] = covenant.totals.per_officer
    found = dict.fromkeys(limits, 0.0)
    for (_, purpose), count in used.items():
        name = purpose or ALL
        if limits.get(name):
            found[name] = max(found[name], count / limits[name])
    return found


def _purpose(rules: Rules, filters: Filters, id_: FilterId, mode: str) -> dict[str, Any]:
    """One filter of a purpose: that of the numbers under the purpose's own name, that of combinations beside it."""
    decision = rules.standing.get(id_.purpose) if id_.kind_class == CERTAIN else None
    reason = _reason(filters, id_)
    serving = None if reason else _serving(filters, id_)
    switch = filters.next_switch(id_.purpose, kind_class=id_.kind_class)
    return {
        "mode": mode,
        "standing_decision_until": _moment(decision.valid_until) if decision else None,
        "halted": filters.is_halted(id_.purpose),
        "by_hand": serving.by_hand if serving else None,
        "kinds": list(serving.header.kinds) if serving else None,
        "ready": reason is None,
        "reason": reason,
        "filter_version": serving.version if serving else None,
        "epoch": serving.header.epoch if serving else None,
        "as_of": serving.as_of.isoformat() if serving else None,
        "next_switch": _moment(datetime.fromtimestamp(switch, UTC)) if switch else None,
    }


def _serving(filters: Filters, id_: FilterId) -> Serving:
    return filters.serving(id_.purpose, kind_class=id_.kind_class)


def _reason(filters: Filters, id_: FilterId) -> str | None:
    try:
        _serving(filters, id_)
    except NotReadyError as fault:
        return fault.detail
    return None


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
