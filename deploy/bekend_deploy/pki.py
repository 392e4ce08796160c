"""A throw-away certification authority, for demo, tests and bench.

It makes what PKIoverheid makes for a partner, in miniature: a certificate whose subject names the organisation by
its OIN in `serialNumber` (Digikoppeling PKI001), usable as client and as server, for this machine only. It also makes
the certificates that must be refused: expired, without OIN, of another authority.

Production never uses this: there, certificates come from PKIoverheid.
"""

import ipaddress
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFE = timedelta(days=30)
"""How long a throw-away certificate lives."""

_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class TlsPaths:
    """The three files that a process needs for mutual TLS, all PEM."""

    certificate: Path
    key: Path
    authorities: Path


def write_private(path: Path, data: bytes) -> None:
    """Create a file of mode 0600. Raises FileExistsError rather than overwrite a key."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


class Authority:
    """A certification authority that lives as long as this object; its own key is never written."""

    def __init__(self, folder: Path, now: datetime, name: str = "bekend demo CA") -> None:
        self.folder = folder
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([_attribute(NameOID.COUNTRY_NAME, "NL"), _attribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._self_signed()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _self_signed(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _SKEW - LIFE)
            .not_valid_after(self._now + LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self,
        stem: str,
        name: str,
        oin: str | None,
        *,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
        host: str = "localhost",
    ) -> TlsPaths:
        """Write `<stem>.pem` and `<stem>.key` for the organisation `name`, valid for `host` on this machine.

        `oin` None leaves out `serialNumber`; a `valid_until` in the past makes an expired certificate.
        Raises FileExistsError when the key is there already.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(
            key.public_key(),
            name,
            oin,
            valid_from or self._now - _SKEW,
            valid_until or self._now + LIFE,
            host=host,
        )
        paths = TlsPaths(self.folder / f"{stem}.pem", self.folder / f"{stem}.key", self.path)
        write_private(
            paths.key,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        paths.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return paths

    def write_revoked(self, made: datetime, until: datetime) -> Path:
        """Write `revoked.pem`: the list of revoked certificates, which names none, made and to be renewed then."""
        listed = x509.CertificateRevocationListBuilder(self._name, made, until).sign(self._key, hashes.SHA256())
        path = self.folder / "revoked.pem"
        part = path.with_suffix(".part")
        part.write_bytes(listed.public_bytes(serialization.Encoding.PEM))
        # In one step, as whatever fetches a list must do.
        part.replace(path)
        return path

    def _certificate(
        self,
        public: ec.EllipticCurvePublicKey,
        name: str,
        oin: str | None,
        start: datetime,
        end: datetime,
        *,
        host: str,
    ) -> x509.Certificate:
        subject = [
            _attribute(NameOID.COUNTRY_NAME, "NL"),
            _attribute(NameOID.ORGANIZATION_NAME, name),
            _attribute(NameOID.COMMON_NAME, host),
        ]
        if oin is not None:
            subject.append(_attribute(NameOID.SERIAL_NUMBER, oin))
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


def _attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(oid, value)
