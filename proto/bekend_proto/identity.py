"""Mutual TLS, and which organisation a certificate names.

An organisation is its OIN: 20 characters in the `serialNumber` attribute (OID 2.5.4.5) of the
certificate's subject, as PKIoverheid issues them. The common name says nothing here. Both ends
demand a certificate and TLS 1.3.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from bekend_proto.clock import Clock, SystemClock
from bekend_proto.credentials import is_open_to_others, why_not
from bekend_proto.errors import UnknownPartnerError
from bekend_proto.logs import TLS_FILES_KEPT, log
from bekend_proto.revocation import DEFAULT_MAX_AGE, RevocationLists, chain_of

MAX_MESSAGE: Final = 1 << 20
"""Largest message in bytes: a chunk of an enrolment is 32 KiB, a piece of a filter 64 KiB."""

MAX_DIRECTORY: Final = 1 << 25
"""Largest reply to GetDirectory, the one exception: it holds the manifests of hundreds of partners and the broker's."""

KEEPALIVE_SECONDS: Final = 25
"""Between two pings of either end on a silent line: firewalls and proxies forget a line after 60 s of silence, and
so one lost ping cuts nothing.
"""

TLS_VERSION: Final = b"TLSv1.3"

_OIN = re.compile(r"[0-9A-Za-z]{20}")

_SERVICE: Final = "bekend_proto.v1.BrokerService"
_REPLIES: Final = {
    "methodConfig": [
        {"name": [{"service": _SERVICE}], "maxResponseMessageBytes": MAX_MESSAGE},
        {"name": [{"service": _SERVICE, "method": "GetDirectory"}], "maxResponseMessageBytes": MAX_DIRECTORY},
    ]
}
"""gRPC takes the smaller of this and what the channel says."""

CHANNEL_OPTIONS: Final[tuple[tuple[str, int | str], ...]] = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_DIRECTORY),
    ("grpc.service_config", json.dumps(_REPLIES)),
    # An attached source may be silent for hours.
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    # In gRPC this is the time that one attempt to connect may take: a TLS handshake over a slow line is no fault.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class TlsFilesError(UnknownPartnerError):
    """The own certificate, key or authorities cannot be used. The detail names the file and the remedy."""


class PeerContext(Protocol):
    """What is read of a call: a grpc.aio.ServicerContext."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What TLS established about the peer."""
        ...


@dataclass(frozen=True)
class TlsFiles:
    """The PEM files of one party."""

    certificate: Path
    """Own certificate, followed by its intermediates."""
    key: Path
    """Its private key, unencrypted, readable by its owner only."""
    authorities: Path
    """The certificates of the authorities whose partners are spoken to."""
    crl: Path | None = None
    """Their lists of revoked certificates; without it nobody's revocation is looked at."""
    crl_max_age: timedelta = DEFAULT_MAX_AGE
    """How old such a list may be, whatever it says of its successor."""

    def revocation(self, clock: Clock) -> RevocationLists | None:
        """What a peer's certificate is held against, if there is a list."""
        return None if self.crl is None else RevocationLists(self.crl, self.authorities, clock, self.crl_max_age)

    def state(self) -> tuple[object, ...]:
        """Differs when one of the files changed."""
        return tuple(map(_identity_of, (self.certificate, self.key, self.authorities)))


@dataclass(frozen=True)
class TlsMaterial:
    """The bytes of TlsFiles, checked, and the OIN that they stand for."""

    certificate: bytes
    key: bytes = field(repr=False)
    authorities: bytes
    oin: str


def oin_of_certificate(pem: bytes) -> str:
    """The OIN that a PEM certificate names.

    Raises UnknownPartnerError unless the subject holds exactly one serialNumber, of 20 characters
    0-9, A-Z, a-z.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        numbers = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    except ValueError:
        raise UnknownPartnerError("not a PEM certificate") from None
    values = [number.value for number in numbers]
    if len(values) != 1:
        raise UnknownPartnerError(
            f"the certificate's subject holds {len(values) or 'no'} serialNumber attributes, not one: ask your "
            "certificate authority for a certificate with the organisation's OIN as serialNumber in its subject"
        )
    if not isinstance(values[0], str) or _OIN.fullmatch(values[0]) is None:
        raise UnknownPartnerError(
            "the serialNumber in the certificate's subject is no OIN of 20 digits or letters: ask your "
            "certificate authority for a certificate with the organisation's OIN"
        )
    return values[0]


_cached_oin = lru_cache(maxsize=256)(oin_of_certificate)


def public_key_hash(pem: bytes) -> bytes:
    """SHA-256 of the public key (SubjectPublicKeyInfo) of a PEM certificate: the same after a renewal with one key.

    Raises UnknownPartnerError.
    """
    try:
        key = x509.load_pem_x509_certificate(pem).public_key()
    except ValueError:
        raise UnknownPartnerError("not a PEM certificate") from None
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def pinned_keys(files: Iterable[Path]) -> tuple[bytes, ...]:
    """The hashes of the public keys in PEM files, each a certificate or a public key, in the order of a manifest.

    Raises TlsFilesError, naming the file.
    """
    return tuple(sorted({_key_in(path) for path in files}))


def _key_in(path: Path) -> bytes:
    pem = read_pem(path, "the certificate whose key the manifest names")
    try:
        if b"BEGIN PUBLIC KEY" in pem:
            form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return hashlib.sha256(serialization.load_pem_public_key(pem).public_bytes(*form)).digest()
        return public_key_hash(pem)
    except (ValueError, UnknownPartnerError):
        raise TlsFilesError(f"{path} holds no PEM certificate or public key") from None


_cached_key = lru_cache(maxsize=256)(public_key_hash)


def caller_key(context: PeerContext) -> bytes:
    """The hash of the public key of the caller's certificate. Raises UnknownPartnerError."""
    return _cached_key(_certificate_of(context))


def caller_chain(context: PeerContext) -> tuple[bytes, ...]:
    """The caller's certificate and the intermediates that it sent, as PEM. Raises UnknownPartnerError."""
    sent = b"".join(context.auth_context().get("x509_pem_cert_chain", ()))
    return (_certificate_of(context), *(_cached_chain(sent) if sent else ()))


_cached_chain = lru_cache(maxsize=256)(chain_of)


def caller_oin(context: PeerContext) -> str:
    """The OIN of the organisation at the other end of a call.

    Raises UnknownPartnerError when the peer showed no certificate, or one that names no OIN.
    """
    return _cached_oin(_certificate_of(context))


def _certificate_of(context: PeerContext) -> bytes:
    pems = list(context.auth_context().get("x509_pem_cert", ()))
    if len(pems) != 1:
        raise UnknownPartnerError("the caller showed no certificate")
    return pems[0]


def require_tls13(context: PeerContext) -> None:
    """Raise UnknownPartnerError unless the call came over TLS 1.3."""
    if list(context.auth_context().get("ssl_tls_version", ())) != [TLS_VERSION]:
        raise UnknownPartnerError("the caller does not use TLS 1.3: update its TLS library")


def read_tls(files: TlsFiles, clock: Clock) -> TlsMaterial:
    """Read and check TLS files. Raises TlsFilesError, naming the file and the remedy, never a value."""
    certificate, key = read_pair(files.certificate, files.key, clock)
    authorities = read_pem(files.authorities, "the authorities' certificates")
    try:
        oin = oin_of_certificate(certificate)
    except UnknownPartnerError as error:
        raise TlsFilesError(f"{files.certificate}: {error.detail}") from None
    try:
        x509.load_pem_x509_certificates(authorities)
    except ValueError:
        raise TlsFilesError(f"{files.authorities} holds no PEM certificates of authorities") from None
    return TlsMaterial(certificate, key, authorities, oin)


def ends_of(pem: bytes) -> datetime:
    """When the first of the certificates in a PEM text ends. Raises ValueError when there is none."""
    return min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(pem))


def read_pair(certificate: Path, key: Path, clock: Clock) -> tuple[bytes, bytes]:
    """A certificate that is valid now and its key, whatever the certificate names. Raises TlsFilesError."""
    chain = read_pem(certificate, "the certificate")
    private = read_pem(key, "the private key", private=True)
    leaf = _check_certificate(certificate, chain, clock)
    _check_key(certificate, key, private, leaf)
    return chain, private


def read_pem(path: Path, what: str, *, private: bool = False) -> bytes:
    """What is in a PEM file; a private one must be closed to others. Raises TlsFilesError, which names the remedy."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if private and is_open_to_others(path, mode):
                raise TlsFilesError(f"{path} may be read by others (mode {mode:04o}): chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise TlsFilesError(f"{path}: {what} cannot be read ({why_not(path, error)}): check the path") from None


def server_credentials(files: TlsFiles, clock: Clock | None = None) -> grpc.ServerCredentials:
    """Credentials that demand a client's certificate, and follow the files when they change.

    New files serve from the next handshake on. Files that cannot be used are logged and the last
    good ones kept. Raises TlsFilesError when they cannot be used at the start.
    """
    follower = _Follower(files, clock or SystemClock())
    first = follower.changed()
    assert first is not None
    return grpc.dynamic_ssl_server_credentials(
        _configuration(first),
        follower.next_configuration,  # type: ignore[arg-type] # gRPC documents None for "as before"
        require_client_authentication=True,
    )


def channel_to(
    address: str,
    files: TlsFiles,
    clock: Clock | None = None,
    options: Iterable[tuple[str, Any]] = (),
    *,
    trusted: bytes | None = None,
) -> grpc.aio.Channel:
    """A channel to `host:port` over mutual TLS. The certificate there must be valid for the host.

    `trusted`: the one certificate (PEM) that is believed there, in place of every one of the authorities. `options` of
    gRPC go over those of here. A proxy that the environment names (`https_proxy`, `no_proxy`) is used, unless they
    name one, or the address is of this machine. It reads the files once: after a change, make a new channel. Raises
    TlsFilesError.
    """
    material = read_tls(files, clock or SystemClock())
    credentials = grpc.ssl_channel_credentials(
        root_certificates=trusted or material.authorities,
        private_key=material.key,
        certificate_chain=material.certificate,
    )
    chosen: dict[str, Any] = dict(CHANNEL_OPTIONS) | dict(options)
    if is_loopback(address) and "grpc.http_proxy" not in chosen:
        # A proxy from the environment leads to nothing on this machine.
        chosen["grpc.enable_http_proxy"] = 0
    return grpc.aio.secure_channel(address, credentials, options=list(chosen.items()))


class _Follower:
    """Reads the files again when one of them changed."""

    def __init__(self, files: TlsFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._seen: object = None

    def changed(self) -> TlsMaterial | None:
        """The material when it differs from last time, else None. Raises TlsFilesError."""
        now = self._files.state()
        if now == self._seen:
            return None
        material = read_tls(self._files, self._clock)
        # Remembered only when usable: a certificate whose key still has to be written is tried again.
        self._seen = now
        return material

    def next_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks at each handshake."""
        try:
            material = self.changed()
        except TlsFilesError as error:
            log(TLS_FILES_KEPT, reason=error.detail)
            return None
        return None if material is None else _configuration(material)


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.authorities
    )


def _identity_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _check_certificate(path: Path, pem: bytes, clock: Clock) -> x509.Certificate:
    try:
        leaf = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise TlsFilesError(f"{path} holds no PEM certificate") from None
    now = clock.now()
    if now > leaf.not_valid_after_utc:
        raise TlsFilesError(
            f"{path} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: put the renewed certificate there"
        )
    if now < leaf.not_valid_before_utc:
        raise TlsFilesError(
            f"{path} is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only: check this machine's clock"
        )
    return leaf


def _check_key(certificate: Path, path: Path, pem: bytes, leaf: x509.Certificate) -> None:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise TlsFilesError(f"{path} holds no unencrypted PEM private key") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise TlsFilesError(f"{path} is not the key of {certificate}: put the pair there that belongs")


def is_loopback(address: str) -> bool:
    """Whether `host:port` is on this machine."""
    host = address.rsplit(":", 1)[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
