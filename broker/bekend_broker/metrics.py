"""The broker's metrics, each with its name, help and labels, in one place.

No metric says anything about an answer's content: the broker does not know it. Labels come from closed sets: purposes
of the covenant in service (`other` for anything else), the names of the error codes, and rules. Only two series name
a partner, and neither shows one question at one moment: whether it is attached, and which share of its last questions
it answered, told again when twenty more have ended.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bekend_policy.decide import RULES
from bekend_policy.decision_log import SUSPENDED
from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_proto.backup import last_success
from bekend_proto.certificates import CertificateMetrics
from bekend_proto.errors import BekendError, RefusedError, SuspendedError, code_name
from bekend_proto.telemetry import free_space, make_registry
from prometheus_client import Counter, Gauge, Histogram

ADMITTED: Final = "admitted"
ANSWERED: Final = "answered"
UNREACHABLE: Final = "unreachable"
REPLIES: Final = (ANSWERED, "failed", UNREACHABLE, "deadline")
"""How a question that was forwarded ended: with a sealed answer (of unknown content), or without one."""

RELEASE: Final = "release"
COLLECT: Final = "collect"
ENDS: Final = ("refused", *REPLIES)
"""How a release or collect ended: not passed on, or as a question that was forwarded."""

OTHER: Final = "other"
ALL: Final = "all"
"""Stands for all purposes together."""
BATCH: Final = 20
"""Questions to a partner after which the share that it answered is told again."""

_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """All series of one broker process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = make_registry()
        r = self.registry
        self.begins = Counter(
            "bekend_broker_begins", "Begins, by purpose and decision.", ("purpose", "decision"), registry=r
        )
        self.unasked = Counter(
            "bekend_broker_begins_without_questions", "Begins that no question followed.", ("purpose",), registry=r
        )
        self.questions = Counter(
            "bekend_broker_questions", "Questions, by purpose and decision.", ("purpose", "decision"), registry=r
        )
        self.replies = Counter(
            "bekend_broker_replies", "How forwarded questions ended; never what was answered.", ("end",), registry=r
        )
        self.unclaimed = Counter(
            "bekend_broker_replies_unclaimed", "Replies that nobody waited for: late, or not asked.", registry=r
        )
        self.enrolled = Counter(
            "bekend_broker_enrolled_elements", "Elements evaluated for enrolment, padding included.", registry=r
        )
        self.exchanges = Counter(
            "bekend_broker_exchanges",
            "How releases and collects ended; never what they said.",
            ("kind", "end"),
            registry=r,
        )
        self.open_questions = Gauge(
            "bekend_broker_open_questions", "Questions that a colleague may still decide about.", registry=r
        )
        self.accesses = Counter("bekend_broker_accesses", "Access requests that were evaluated.", registry=r)
        self.fetches = Counter("bekend_broker_fetches", "Filters passed on, by decision.", ("decision",), registry=r)
        self.storage_faults = Counter(
            "bekend_broker_storage_faults", "Writes that failed: nothing was answered.", registry=r
        )
        self.database_at = Gauge(
            "bekend_broker_database_timestamp_seconds", "When the database last answered.", registry=r
        )
        self.attached = Gauge("bekend_broker_attached_partners", "Partners attached to this replica.", registry=r)
        self.lookups = Gauge("bekend_broker_lookups_running", "Lookups in progress.", registry=r)
        self.duration = Histogram(
            "bekend_broker_lookup_seconds", "From Ask to the last reply.", ("purpose",), buckets=_SECONDS, registry=r
        )
        self.covenant = Gauge(
            "bekend_broker_covenant_info", "The covenant in service.", ("id", "version", "hash"), registry=r
        )
        self.covenant_until = Gauge(
            "bekend_broker_covenant_valid_until_timestamp_seconds", "End of the covenant in service.", registry=r
        )
        self.manifest_until = Gauge(
            "bekend_broker_manifest_valid_until_timestamp_seconds", "End of the broker's key manifest.", registry=r
        )
        self.certificates = CertificateMetrics(
            Gauge(
                "bekend_broker_certificate_not_after_timestamp_seconds",
                "When the certificate ends, by what it is for; of several in one file the first; 0 when unreadable.",
                ["usage"],
                registry=r,
            ),
            Gauge(
                "bekend_broker_crl_next_update_timestamp_seconds",
                "From when on the list of revoked certificates is too old and nobody is believed.",
                ["usage"],
                registry=r,
            ),
        )
        self.log_entries = Gauge("bekend_broker_log_entries", "Entries in the log, as last looked at.", registry=r)
        self.checkpoint_at = Gauge(
            "bekend_broker_checkpoint_timestamp_seconds", "When the log was last looked at and signed.", registry=r
        )
        self.cosignatures = Counter(
            "bekend_broker_cosignatures", "Cosignatures of witnesses that were kept.", registry=r
        )
        self.log_alarms = Gauge(
            "bekend_broker_log_alarms", "Open alarms: a node's log that does not go on from what it was.", registry=r
        )
        self.backup = Gauge(
            "bekend_broker_backup_last_success_timestamp_seconds",
            "When a backup of the data last succeeded; 0 when none did.",
            registry=r,
        )
        self._refusals = Counter(
            "bekend_broker_refusals_by_rule",
            "Begins and questions that a rule of the covenant or a suspension refused.",
            ("rule",),
            registry=r,
        )
        self._partner_attached = Gauge(
            "bekend_broker_partner_attached", "Whether a partner is attached to this replica.", ("partner",), registry=r
        )
        self._partner_answered = Gauge(
            "bekend_broker_partner_answered_ratio",
            "Share of twenty questions to a partner that ended with an answer, of whatever content.",
            ("partner",),
            registry=r,
        )
        self._quota = Gauge(
            "bekend_broker_quota_used_ratio",
            "The largest share of today's budget that a partner has used, rounded up to tenths.",
            ("purpose",),
            registry=r,
        )
        self._ended: dict[str, tuple[int, int]] = {}
        self._purposes: frozenset[str] = frozenset()
        self._partners: frozenset[str] = frozenset()

    def use(self, covenant: Covenant, manifest: KeyManifest) -> None:
        """Show what is in service, and take the covenant's purposes as labels, each with its series at zero."""
        self.covenant.clear()
        self.covenant.labels(covenant.id, str(covenant.version), covenant.hash.hex()).set(1)
        self.covenant_until.set(covenant.valid_until.timestamp())
        self.manifest_until.set(manifest.valid_until.timestamp())
        self._purposes = frozenset(covenant.purposes)
        self._partners = frozenset(covenant.participants)
        for gone in self._ended.keys() - self._partners:
            self._partner_answered.remove(gone)
            del self._ended[gone]
        for purpose in sorted(self._purposes):
            self.begins.labels(purpose, ADMITTED)
            self.questions.labels(purpose, ADMITTED)
            self.unasked.labels(purpose)
            self.duration.labels(purpose)
        for rule in (*RULES, SUSPENDED, OTHER):
            self._refusals.labels(rule)
        for end in REPLIES:
            self.replies.labels(end)
        for kind in (RELEASE, COLLECT):
            for end in ENDS:
                self.exchanges.labels(kind, end)

    def begin(self, purpose: str, fault: BekendError | None) -> None:
        """Count a Begin: admitted, or refused with this fault."""
        self.begins.labels(self._purpose(purpose), decision_of(fault, ADMITTED)).inc()
        self._rule(fault)

    def question(self, purpose: str, fault: BekendError | None) -> None:
        """Count a question: admitted, or refused with this fault."""
        self.questions.labels(self._purpose(purpose), decision_of(fault, ADMITTED)).inc()
        self._rule(fault)

    def unasked_begin(self, purpose: str) -> None:
        """Count a Begin that no question followed."""
        self.unasked.labels(self._purpose(purpose)).inc()

    def lookup(self, purpose: str, seconds: float) -> None:
        """A lookup came to its end."""
        self.duration.labels(self._purpose(purpose)).observe(seconds)

    def reply(self, partner: str, end: str) -> None:
        """How a forwarded question to a partner ended, one of REPLIES."""
        self.replies.labels(end).inc()
        answered, ended = self._ended.get(partner, (0, 0))
        answered, ended = answered + (end == ANSWERED), ended + 1
        if ended == BATCH and partner in self._partners:
            self._partner_answered.labels(partner).set(answered / ended)
            answered = ended = 0
        self._ended[partner] = answered, ended

    def attachments(self, attached: frozenset[str]) -> None:
        """Which partners are attached now."""
        self.attached.set(len(attached))
        self._partner_attached.clear()
        for partner in self._partners:
            self._partner_attached.labels(partner).set(partner in attached)

    def quotas(self, used: Mapping[str, float]) -> None:
        """Per purpose, or ALL, the largest share of today's budget that somebody has used."""
        for purpose, share in used.items():
            self._quota.labels(purpose).set(min(1.0, math.ceil(share * 10) / 10))

    def watch_disk(self, folder: Path) -> None:
        """Tell of the space left where the log is kept, and when that was last backed up."""
        self.backup.set_function(lambda: last_success(folder))
        free_space("bekend_broker_data_free_bytes", folder, self.registry)

    def _rule(self, fault: BekendError | None) -> None:
        if isinstance(fault, RefusedError):
            self._refusals.labels(fault.rule if fault.rule in RULES else OTHER).inc()
        elif isinstance(fault, SuspendedError):
            self._refusals.labels(SUSPENDED).inc()

    def _purpose(self, purpose: str) -> str:
        return purpose if purpose in self._purposes else OTHER


def decision_of(fault: BekendError | None, good: str) -> str:
    """The label of a decision: `good`, or the name of the fault's code."""
    return good if fault is None else code_name(fault.code)
