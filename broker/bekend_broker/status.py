"""`bekend broker status`: the running broker's own metrics, in a few lines."""

import http.client
import ssl
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from bekend_proto.errors import UnreachableError
from bekend_proto.identity import TlsFiles
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bekend_broker.config import BrokerConfig
from bekend_broker.metrics import ADMITTED
from bekend_broker.store import FILE

SECONDS = 5.0


@dataclass(frozen=True)
class Status:
    """What is in service, and what happened since the start."""

    covenant: str
    covenant_version: str
    covenant_hash: str
    covenant_until: str
    manifest_until: str
    attached: int
    lookups: int
    questions: int
    refused: int
    open_questions: int
    storage_faults: int
    database: str
    database_at: str
    log_entries: int
    log_alarms: int

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values."""
        return asdict(self)


def read_status(config: BrokerConfig) -> Status:
    """Ask the broker of this configuration. Raises UnreachableError when its metrics port does not answer."""
    assert config.metrics is not None
    text = _fetch(config.metrics, config.tls_files)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    covenant = next(one.labels for one in samples if one.name == "bekend_broker_covenant_info")
    questions = [one for one in samples if one.name == "bekend_broker_questions_total"]
    admitted = sum(one.value for one in questions if one.labels["decision"] == ADMITTED)
    return Status(
        covenant=covenant["id"],
        covenant_version=covenant["version"],
        covenant_hash=covenant["hash"],
        covenant_until=_day(samples, "bekend_broker_covenant_valid_until_timestamp_seconds"),
        manifest_until=_day(samples, "bekend_broker_manifest_valid_until_timestamp_seconds"),
        attached=int(_value(samples, "bekend_broker_attached_partners")),
        lookups=int(_value(samples, "bekend_broker_lookups_running")),
        questions=int(admitted),
        refused=int(sum(one.value for one in questions) - admitted),
        open_questions=int(_value(samples, "bekend_broker_open_questions")),
        storage_faults=int(_value(samples, "bekend_broker_storage_faults_total")),
        database=config.database.shown if config.database else str(config.data / FILE),
        database_at=_moment(samples, "bekend_broker_database_timestamp_seconds"),
        log_entries=int(_value(samples, "bekend_broker_log_entries")),
        log_alarms=int(_value(samples, "bekend_broker_log_alarms")),
    )


def _value(samples: list[Sample], name: str) -> float:
    return next(one.value for one in samples if one.name == name)


def _day(samples: list[Sample], name: str) -> str:
    return datetime.fromtimestamp(_value(samples, name), UTC).date().isoformat()


def _moment(samples: list[Sample], name: str) -> str:
    return datetime.fromtimestamp(_value(samples, name), UTC).isoformat(timespec="seconds")


def _fetch(address: str, tls: TlsFiles) -> str:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    connection = _connect(host, int(port), tls)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except OSError as fault:
        raise UnreachableError(
            f"no broker answers on its metrics address {address}: is it running? ({type(fault).__name__})"
        ) from None
    finally:
        connection.close()


def _connect(host: str, port: int, tls: TlsFiles) -> http.client.HTTPConnection:
    if host == "localhost" or ip_address(host).is_loopback:
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    context = ssl.create_default_context(cafile=str(tls.authorities))
    context.load_cert_chain(str(tls.certificate), str(tls.key))
    return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=context)
