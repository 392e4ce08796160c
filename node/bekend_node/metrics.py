"""What a node tells its operator: counts of work and moments. Never what was answered, never about whom."""

from collections.abc import Callable, Mapping

from bekend_proto.certificates import CertificateMetrics
from bekend_proto.errors import Code, code_name
from prometheus_client import CollectorRegistry, Counter, Gauge

from bekend_node.ask.signals import Kind


class NodeMetrics:
    """The node's metrics, on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answered = Counter(
            "bekend_node_answers_total", "Questions of partners that were answered.", ["purpose"], registry=registry
        )
        self._refused = Counter(
            "bekend_node_refusals_total", "Questions of partners that got no answer.", ["code"], registry=registry
        )
        self._exchanged = Counter(
            "bekend_node_exchanges_total", "Releases and collects that were replied to.", ["kind"], registry=registry
        )
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
            "Date of a register's list, per purpose.",
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

    def backups(self, last: Callable[[], float]) -> None:
        """`last`: when a backup last succeeded, in seconds; asked whenever somebody looks."""
        self._backup.set_function(last)

    def log_alarms(self, count: int) -> None:
        """How many alarms are open."""
        self._log_alarms.set(count)

    def checkpoint(self, broker: str, at: float) -> None:
        """A replica's log was looked at, and agrees; in seconds."""
        self._checkpoint.labels(broker).set(at)

    def answered(self, purpose: str) -> None:
        """One more question was answered."""
        self._answered.labels(purpose).inc()

    def refused(self, code: Code) -> None:
        """One more question got no answer."""
        self._refused.labels(code_name(code)).inc()

    def exchanged(self, kind: str) -> None:
        """One more release or collect was replied to."""
        self._exchanged.labels(kind).inc()

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
