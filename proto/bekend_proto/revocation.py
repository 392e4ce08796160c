"""Whether a certificate was revoked: lists in a file that the operator's machine refreshes (RFC 5280 section 5).

Python's gRPC looks at no list, so both ends do it here: a server at each call, a node before it dials. It fails closed:
a certificate whose issuer has no list here, or one that is past its time, counts as revoked (PKIoverheid, PKI003).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from bekend_proto.clock import FRESHNESS, Clock
from bekend_proto.errors import UnknownPartnerError

DEFAULT_MAX_AGE: Final = timedelta(hours=72)
"""How old a list may be, whatever it says of its successor."""

_BEGIN: Final = b"-----BEGIN X509 CRL-----"


class RevocationError(UnknownPartnerError):
    """A certificate was revoked, or cannot be shown not to be. The detail says which, and the remedy."""


@dataclass(frozen=True)
class _Good:
    """A chain that no list names, until the first of those lists is past its time."""

    until: datetime


class RevocationLists:
    """The lists in one file (PEM, several one after another, or one in DER), read again when the file changes.

    `authorities`: the file with the certificates that are trusted as they are. `max_age` counts from a list's own date.
    """

    def __init__(self, file: Path, authorities: Path, clock: Clock, max_age: timedelta = DEFAULT_MAX_AGE) -> None:
        self.file = file
        self._authorities = authorities
        self._clock = clock
        self._max_age = max_age
        self._seen: object = None
        self._lists: tuple[x509.CertificateRevocationList, ...] = ()
        self._trusted: tuple[x509.Certificate, ...] = ()
        self._good: dict[bytes, _Good] = {}

    def next_update(self) -> datetime | None:
        """The moment from which the first of the lists counts no more; None when there is none."""
        try:
            self._read()
        except RevocationError:
            return None
        return min(map(self._end, self._lists), default=None)

    def check(self, chain: Sequence[bytes]) -> None:
        """Whether no certificate of a peer is revoked: its own first, then its intermediates, as PEM.

        Raises RevocationError.
        """
        self._read()
        now = self._clock.now()
        name = b"\n".join(chain)
        held = self._good.get(name)
        if held is None:
            if len(self._good) >= 4096:
                self._good.clear()
            self._good[name] = held = _Good(self._look(chain, now))
        if now >= held.until:
            del self._good[name]
            raise RevocationError(f"{self.file}: a list of revoked certificates is too old: have it refreshed")

    def _look(self, chain: Sequence[bytes], now: datetime) -> datetime:
        certificates = [x509.load_pem_x509_certificate(pem) for pem in chain]
        until = datetime.max.replace(tzinfo=now.tzinfo)
        for certificate in certificates:
            if certificate in self._trusted:
                continue
            issuer = _issuer_of(certificate, (*certificates, *self._trusted))
            found = self._list_of(issuer)
            if found.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                raise RevocationError(
                    f"the certificate with serial number {certificate.serial_number:x} was revoked by its authority"
                )
            until = min(until, self._end(found))
        return until

    def _list_of(self, issuer: x509.Certificate) -> x509.CertificateRevocationList:
        """The newest list of an issuer, and no list of somebody else under its name."""
        now = self._clock.now()
        found = [
            one
            for one in self._lists
            if one.issuer == issuer.subject
            and one.last_update_utc <= now + FRESHNESS
            and _is_signed(one, issuer.public_key())
        ]
        if not found:
            raise RevocationError(
                f"{self.file} holds no list of {issuer.subject.rfc4514_string()}: add that authority's list"
            )
        return max(found, key=lambda one: one.last_update_utc)

    def _end(self, one: x509.CertificateRevocationList) -> datetime:
        oldest = one.last_update_utc + self._max_age
        return min(oldest, one.next_update_utc) if one.next_update_utc is not None else oldest

    def _read(self) -> None:
        try:
            now = tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in (self.file.stat(), self._authorities.stat()))
            if now == self._seen:
                return
            lists = tuple(_lists_in(self.file.read_bytes()))
            trusted = tuple(x509.load_pem_x509_certificates(self._authorities.read_bytes()))
        except OSError as error:
            raise RevocationError(
                f"{error.filename}: the list of revoked certificates cannot be checked ({error.strerror})"
            ) from None
        except ValueError:
            raise RevocationError(f"{self.file} holds no list of revoked certificates that can be used") from None
        self._lists, self._trusted, self._seen = lists, trusted, now
        self._good.clear()


def _lists_in(content: bytes) -> Iterable[x509.CertificateRevocationList]:
    """Raises ValueError for what is no list, or a kind that says only part: by delta, indirect, or some reasons."""
    if _BEGIN not in content:
        found = [x509.load_der_x509_crl(content)]
    else:
        found = [x509.load_pem_x509_crl(_BEGIN + part) for part in content.split(_BEGIN)[1:]]
    for one in found:
        for extension in one.extensions:
            value = extension.value
            if isinstance(value, x509.IssuingDistributionPoint):
                if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
                    raise ValueError("a list of a part")
            elif isinstance(value, x509.DeltaCRLIndicator) or extension.critical:
                raise ValueError("a list that is read in another way")
    return found


def _issuer_of(certificate: x509.Certificate, among: Sequence[x509.Certificate]) -> x509.Certificate:
    for candidate in among:
        try:
            certificate.verify_directly_issued_by(candidate)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return candidate
    raise RevocationError("the certificate's authority is not known here: its revocation cannot be checked")


def _is_signed(one: x509.CertificateRevocationList, key: object) -> bool:
    try:
        return one.is_signature_valid(key)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def chain_of(pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM text, each by itself. Raises ValueError."""
    return tuple(one.public_bytes(Encoding.PEM) for one in x509.load_pem_x509_certificates(pem))
