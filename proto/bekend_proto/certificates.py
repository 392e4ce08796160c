"""When certificates and lists of revoked ones end, for the operator's alerts; and whether their files changed."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from prometheus_client import Gauge

from bekend_proto.identity import ends_of
from bekend_proto.revocation import RevocationLists

USAGES: Final = ("tls", "authorities", "pages", "sign-in", "rest")
"""What a certificate is for: the calls between partners, whom is believed there, the pages, asking the provider."""


class CertificateMetrics:
    """Two series of one process: when certificates end, by usage, and from when on a list is too old."""

    def __init__(self, not_after: Gauge, next_update: Gauge) -> None:
        self._not_after = not_after
        self._next_update = next_update

    def ends(self, usage: str, moment: datetime | None) -> None:
        """When the certificate for this ends; none when the file cannot be read."""
        self._not_after.labels(usage).set(0 if moment is None else moment.timestamp())

    def next_update(self, moment: datetime | None) -> None:
        """From when on the lists count no more; none when they cannot be read."""
        self._next_update.labels("tls").set(0 if moment is None else moment.timestamp())


class Certificates:
    """The certificate files of one process, by usage, and the lists that it goes by."""

    def __init__(
        self, files: Mapping[str, Path], revocation: RevocationLists | None, metrics: CertificateMetrics
    ) -> None:
        self._files = files
        self._revocation = revocation
        self._metrics = metrics
        self._seen: dict[str, object] = {}

    def measure(self) -> bool:
        """Look at all of them, and show when they end; says whether a file changed since the last look."""
        changed = False
        for usage, path in self._files.items():
            try:
                status = path.stat()
                seen: object = (status.st_mtime_ns, status.st_size, status.st_ino)
            except OSError:
                seen = None
            if usage in self._seen and self._seen[usage] == seen:
                continue
            changed, self._seen[usage] = True, seen
            self._metrics.ends(usage, _end(path))
        if self._revocation is not None:
            self._metrics.next_update(self._revocation.next_update())
        return changed


def _end(path: Path) -> datetime | None:
    try:
        return ends_of(path.read_bytes())
    except (OSError, ValueError):
        return None
