"""What a node tells its operator: counts of work and moments. Never what was answered, never about whom."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from bekend_policy.decide import RULES
from bekend_policy.decision_log import SUSPENDED
from bekend_policy.model import Covenant
from bekend_proto.backup import last_success
from bekend_proto.certificates import CertificateMetrics
from bekend_proto.errors import BekendError, RefusedError, StorageError, SuspendedError, code_name
from bekend_proto.telemetry import free_space
from bekend_proto.v1.errors_pb2 import ErrorCode
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.ask.signals import Kind

ALL: Final = "all"
"""Stands for all purposes together."""
OTHER: Final = "other"
EXCHANGES: Final = ("release", "collect")
ENDS: Final = {
    OutcomeKind.KNOWN: "answered",
    OutcomeKind.POSSIBLE: "answered",
    OutcomeKind.INCONCLUSIVE: "answered",
    OutcomeKind.PENDING: "pending",
    OutcomeKind.NO_ANSWER: "none",
    OutcomeKind.NOT_ASKED: "not_asked",
}
"""How asking a partner ended. `bekend` and `geen uitsluitsel` are one and the same here."""
_SECONDS: Final = (0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)


class NodeMetrics:
    """The node's metrics, on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        answered = Counter(
            "bekend_node_answers_total", "Questions of partners that were answered.", ["purpose"], registry=registry
        )
        # Series are kept at hand: finding one by its labels takes a lock, hundreds of times in a lookup.
        self._answered = cache(answered.labels)
        self._refused = Counter(
            "bekend_node_refusals_total", "Questions of partners that got no answer.", ["code"], registry=registry
        )
        self._exchanged = Counter(
            "bekend_node_exchanges_total", "Releases and collects that were replied to.", ["kind"], registry=registry
        )
        for code in (code for code in ErrorCode.values() if code):
            self._refused.labels(code_name(code))
        for kind in EXCHANGES:
            self._exchanged.labels(kind)
        self._rules = Counter(
            "bekend_node_refusals_by_rule",
            "Questions of partners that a rule of the covenant or a suspension refused.",
            ["rule"],
            registry=registry,
        )
        for rule in (*RULES, SUSPENDED, OTHER):
            self._rules.labels(rule)
        answering = Histogram(
            "bekend_node_answer_seconds",
            "From a question of a partner to its sealed answer.",
            ["purpose"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._answering = cache(answering.labels)
        asked = Counter(
            "bekend_node_asked_total",
            "Partners asked, by how that ended: answered, pending, none, not_asked. Never what was answered.",
            ["purpose", "end"],
            registry=registry,
        )
        self._asked = cache(asked.labels)
        self._asking = Histogram(
            "bekend_node_lookup_seconds",
            "From an officer's question to the receipt, without what is still pending.",
            ["purpose"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._clock = Gauge(
            "bekend_node_clock_ahead_seconds",
            "How far the own clock is ahead of a replica's (negative: behind), as far as a call can tell.",
            ["broker"],
            registry=registry,
        )
        self._faults = Counter(
            "bekend_node_storage_faults_total", "Writes that failed: nothing was answered or asked.", registry=registry
        )
        self._log_entries = Gauge(
            "bekend_node_log_entries", "Entries in the own log, as last looked at.", registry=registry
        )
        self._imported = Gauge(
            "bekend_node_import_timestamp_seconds",
            "When a register was last imported, changes included.",
            ["register"],
            registry=registry,
        )
        self._enrolled = Gauge(
            "bekend_node_enrolled_pseudonyms",
            "Pseudonyms of a register per purpose, in two significant digits.",
            ["register", "purpose"],
            registry=registry,
        )
        self._epoch = Gauge(
            "bekend_node_epoch_start_timestamp_seconds",
            "Start of the key epoch that a purpose's filter is of.",
            ["purpose"],
            registry=registry,
        )
        self._quota = Gauge(
            "bekend_node_quota_used_ratio",
            "The largest share of today's budget that an officer has used, rounded up to tenths.",
            ["purpose"],
            registry=registry,
        )
        self._covenant_info = Gauge(
            "bekend_node_covenant_info", "The covenant in force.", ["id", "version", "hash"], registry=registry
        )
        self._registry = registry
        self._attached = Gauge(
            "bekend_node_attached", "Whether the node is attached to a replica.", ["broker"], registry=registry
        )
        self._ready = Gauge(
            "bekend_node_purpose_ready", "Whether a purpose can be answered now.", ["purpose"], registry=registry
        )
        self._switch = Gauge(
            "bekend_node_filter_switch_timestamp_seconds",
            "Moment of the next switch of a purpose's filter.",
            ["purpose"],
            registry=registry,
        )
        self._list = Gauge(
            "bekend_node_list_timestamp_seconds",
            "Begin of the day of a register's list, in the Netherlands, per purpose.",
            ["register", "purpose"],
            registry=registry,
        )
        self._deferrals = Gauge(
            "bekend_node_deferrals",
            "Deferrals of informing, by how they stand: pending, in_force, due. Due ones wait for a person.",
            ["state"],
            registry=registry,
        )
        self._retention = Gauge(
            "bekend_node_retention_waiting_rows",
            "Rows past their term that stay until an audit covers them, or a claim is over.",
            registry=registry,
        )
        self._emergencies = Gauge(
            "bekend_node_emergency_reviews",
            "Questions asked before a second officer looked that wait for a review: open, and overdue among them.",
            ["state"],
            registry=registry,
        )
        self._misuse = Counter(
            "bekend_node_misuse_signals_total",
            "Signals for the privacy officer, by kind; see `bekend node signals`.",
            ["kind"],
            registry=registry,
        )
        for kind in Kind:
            # From nought, so that the first one is an increase.
            self._misuse.labels(kind.value)
        self._canary_found = Gauge(
            "bekend_node_canary_found_timestamp_seconds",
            "When an own canary was last found under a purpose, all the way over the broker; 0 since the start.",
            ["purpose"],
            registry=registry,
        )
        self._canary_missed = Counter(
            "bekend_node_canary_missed_total",
            "Own canaries that were asked about and not found, per purpose.",
            ["purpose"],
            registry=registry,
        )
        self._canary_asked = Counter(
            "bekend_node_canary_asked_total",
            "Questions of others about a canary of this node, where a colleague decides.",
            registry=registry,
        )
        self.certificates = CertificateMetrics(
            Gauge(
                "bekend_node_certificate_not_after_timestamp_seconds",
                "When the certificate ends, by what it is for; of several in one file the first; 0 when unreadable.",
                ["usage"],
                registry=registry,
            ),
            Gauge(
                "bekend_node_crl_next_update_timestamp_seconds",
                "From when on the list of revoked certificates is too old and nobody is believed.",
                ["usage"],
                registry=registry,
            ),
        )
        self._manifest = Gauge(
            "bekend_node_manifest_end_timestamp_seconds", "End of the own key manifest.", registry=registry
        )
        self._covenant = Gauge(
            "bekend_node_covenant_end_timestamp_seconds", "End of the covenant in force.", registry=registry
        )

        self._log_alarms = Gauge(
            "bekend_node_log_alarms", "Open alarms about logs; see `bekend node alarm list`.", registry=registry
        )
        self._checkpoint = Gauge(
            "bekend_node_checkpoint_timestamp_seconds",
            "When a replica's log was last proved to go on from what it was.",
            ["broker"],
            registry=registry,
        )

        self._backup = Gauge(
            "bekend_node_backup_last_success_timestamp_seconds",
            "When a backup of the data last succeeded; 0 when none did.",
            registry=registry,
        )

    def log_alarms(self, count: int) -> None:
        """How many alarms are open."""
        self._log_alarms.set(count)

    def checkpoint(self, broker: str, at: float) -> None:
        """A replica's log was looked at, and agrees; in seconds."""
        self._checkpoint.labels(broker).set(at)

    def answered(self, purpose: str, seconds: float) -> None:
        """One more question was answered."""
        self._answered(purpose).inc()
        self._answering(purpose).observe(seconds)

    def canary_watched(self, purpose: str) -> None:
        """A purpose under which the canary is asked about: from nought, so that one that is never found shows."""
        self._canary_found.labels(purpose)
        self._canary_missed.labels(purpose)

    def canary_found(self, purpose: str, at: float) -> None:
        """An own canary was found, at this moment in seconds."""
        self._canary_found.labels(purpose).set(at)

    def canary_missed(self, purpose: str) -> None:
        """An own canary was not found."""
        self._canary_missed.labels(purpose).inc()

    def canary_asked(self) -> None:
        """Somebody else asked about a canary."""
        self._canary_asked.inc()

    def refused(self, fault: BekendError) -> None:
        """One more question got no answer."""
        self._refused.labels(code_name(fault.code)).inc()
        if isinstance(fault, RefusedError):
            self._rules.labels(fault.rule if fault.rule in RULES else OTHER).inc()
        elif isinstance(fault, SuspendedError):
            self._rules.labels(SUSPENDED).inc()
        elif isinstance(fault, StorageError):
            self.storage_fault()

    def storage_fault(self) -> None:
        """A write failed."""
        self._faults.inc()

    def asked(self, purpose: str, outcome: Outcome) -> None:
        """One more partner was asked, about one person."""
        self._asked(purpose, ENDS[outcome.outcome]).inc()

    def looked_up(self, purpose: str, seconds: float) -> None:
        """A lookup came to its receipt."""
        self._asking.labels(purpose).observe(seconds)

    def log_entries(self, count: int) -> None:
        """How many entries the own log has."""
        self._log_entries.set(count)

    def register(self, register: str, purpose: str, *, imported_at: float, persons: int) -> None:
        """How a register stands under a purpose. A count of more than two digits would show one person more or less."""
        self._imported.labels(register).set(imported_at)
        self._enrolled.labels(register, purpose).set(float(f"{persons:.1e}"))

    def epoch(self, purpose: str, start: float) -> None:
        """Start, in seconds, of the epoch of a purpose's filter."""
        self._epoch.labels(purpose).set(start)

    def quotas(self, used: Mapping[str, float]) -> None:
        """Per purpose, or ALL, the largest share of today's budget that an officer has used."""
        for purpose, share in used.items():
            self._quota.labels(purpose).set(min(1.0, math.ceil(share * 10) / 10))

    def covenant(self, covenant: Covenant) -> None:
        """The covenant in force, and every purpose of it with its series at zero."""
        self._covenant_info.clear()
        self._covenant_info.labels(covenant.id, str(covenant.version), covenant.hash.hex()).set(1)
        for purpose in covenant.purposes:
            self._answered(purpose)
            self._answering(purpose)
            self._asking.labels(purpose)
            for end in ENDS.values():
                self._asked(purpose, end)

    def watch_disk(self, folder: Path) -> None:
        """Tell of the space left where the node keeps its data, and when that was last backed up."""
        self._backup.set_function(lambda: last_success(folder))
        free_space("bekend_node_data_free_bytes", folder, self._registry)

    def exchanged(self, kind: str) -> None:
        """One more release or collect was replied to."""
        self._exchanged.labels(kind).inc()

    def clock(self, broker: str, ahead: float) -> None:
        """How far the own clock is ahead of a replica's, in seconds; negative: behind."""
        self._clock.labels(broker).set(ahead)

    def attached(self, broker: str, *, now: bool) -> None:
        """Attached to a replica, or not any more."""
        self._attached.labels(broker).set(now)

    def purpose(self, purpose: str, *, ready: bool, switch: int | None) -> None:
        """How one purpose stands."""
        self._ready.labels(purpose).set(ready)
        if switch is not None:
            self._switch.labels(purpose).set(switch)

    def list_of(self, register: str, purpose: str, as_of: float) -> None:
        """The date of a register's list, in seconds."""
        self._list.labels(register, purpose).set(as_of)

    def deferrals(self, tally: Mapping[str, int]) -> None:
        """How many deferrals stand how."""
        for state, number in tally.items():
            self._deferrals.labels(state).set(number)

    def emergencies(self, tally: Mapping[str, int]) -> None:
        """How many noodgrepen wait for their review."""
        for state, number in tally.items():
            self._emergencies.labels(state).set(number)

    def misuse(self, kind: str) -> None:
        """Something was noticed that the privacy officer should look at."""
        self._misuse.labels(kind).inc()

    def retention_waits(self, rows: int) -> None:
        """So many rows past their term wait for an audit, or for the end of a claim."""
        self._retention.set(rows)

    def ends(self, manifest: float, covenant: float) -> None:
        """When manifest and covenant end, in seconds."""
        self._manifest.set(manifest)
        self._covenant.set(covenant)
