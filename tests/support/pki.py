"""Throw-away certificates: an authority that issues whatever a test needs."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from bekend_proto.identity import TlsFiles
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
_ADDRESSES = (x509.IPAddress(IPv4Address("127.0.0.1")), x509.IPAddress(IPv6Address("::1")))


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 400 * DAY)
            .not_valid_after(now + 400 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path = folder / f"{name.replace(' ', '-').lower()}.pem"
        self.path.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def subordinate(self, name: str) -> "Authority":
        """An authority whose certificate this one signed."""
        made = Authority(self.folder, name)
        made.certificate = (
            x509.CertificateBuilder()
            .subject_name(made.name)
            .issuer_name(self.name)
            .public_key(made.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(made.certificate.not_valid_before_utc)
            .not_valid_after(made.certificate.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        made.path.write_bytes(made.certificate.public_bytes(Encoding.PEM))
        return made

    def issue(
        self,
        oin: str | Sequence[str],
        *,
        name: str | None = None,
        starts: timedelta = -DAY,
        ends: timedelta = 30 * DAY,
        hosts: Sequence[str] = ("localhost",),
    ) -> TlsFiles:
        """Files of a party. `oin` may be several or no serialNumbers; `starts` and `ends` count from now."""
        numbers = [oin] if isinstance(oin, str) else list(oin)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]
        subject += [x509.NameAttribute(NameOID.SERIAL_NUMBER, number, _string_type(number)) for number in numbers]
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(
                x509.SubjectAlternativeName([*map(x509.DNSName, hosts), *_ADDRESSES]),
                critical=False,
            )
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        stem = name or (numbers[0] if numbers else "nobody")
        files = TlsFiles(self.folder / f"{stem}.pem", self.folder / f"{stem}.key", self.path)
        write_private(files.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        return files

    def revoke(
        self, *files: TlsFiles, since: timedelta = timedelta(), lasts: timedelta = DAY, key: object = None
    ) -> Path:
        """This authority's list, which names the certificates of these files; made `since` ago, for `lasts`."""
        now = datetime.now(UTC) - since
        builder = x509.CertificateRevocationListBuilder(self.name, now, now + lasts)
        for one in files:
            serial = x509.load_pem_x509_certificate(one.certificate.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder(serial, now).build()
            builder = builder.add_revoked_certificate(revoked)
        path = self.path.with_name(f"{self.path.stem}-revoked.pem")
        fresh = path.with_suffix(".new")
        signed = builder.sign(key or self.key, hashes.SHA256())  # type: ignore[arg-type]
        fresh.write_bytes(signed.public_bytes(Encoding.PEM))
        # In one step, as whatever fetches the list must do.
        fresh.replace(path)
        return path


def _string_type(number: str) -> _ASN1Type:
    # Evil numbers do not fit the PrintableString of the standard.
    return _ASN1Type.PrintableString if number.isascii() and number.isalnum() else _ASN1Type.UTF8String


def write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
