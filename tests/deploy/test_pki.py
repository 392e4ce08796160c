"""The throw-away PKI: what a partner's certificate looks like, and the ones that must be refused."""

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_deploy.pki import Authority, TlsPaths
from cryptography import x509
from cryptography.x509.oid import NameOID

OIN = "00000099000000002000"
NOW = datetime.now(UTC)


def load(paths: TlsPaths) -> x509.Certificate:
    return x509.load_pem_x509_certificate(paths.certificate.read_bytes())


def handshake(server: TlsPaths, client: TlsPaths) -> str | None:
    """TLS version that the two ends agree on. Raises what the client sees."""
    ours, theirs = socket.socketpair()
    accept = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accept.load_cert_chain(server.certificate, server.key)
    accept.load_verify_locations(server.authorities)
    accept.verify_mode = ssl.CERT_REQUIRED

    def serve() -> None:
        try:
            with accept.wrap_socket(theirs, server_side=True) as secure:
                secure.sendall(secure.recv(1))
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    dial = ssl.create_default_context(cafile=str(client.authorities))
    dial.load_cert_chain(client.certificate, client.key)
    try:
        with dial.wrap_socket(ours, server_hostname="localhost") as secure:
            secure.sendall(b"x")
            assert secure.recv(1) == b"x", "the server closed the connection"
            return secure.version()
    finally:
        ours.close()
        thread.join()


def test_certificate_names_the_organisation_by_its_oin(tmp_path: Path) -> None:
    subject = load(Authority(tmp_path, NOW).issue("node", "Gemeente Haarlem (demo)", OIN)).subject
    assert [a.value for a in subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)] == [OIN]


def test_private_key_is_for_the_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    authority = Authority(tmp_path, NOW)
    paths = authority.issue("node", "Demo", OIN)
    assert stat.S_IMODE(paths.key.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        authority.issue("node", "Demo", OIN)


def test_the_authority_key_is_never_written(tmp_path: Path) -> None:
    Authority(tmp_path, NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["ca.pem"]


def test_one_certificate_serves_and_dials(tmp_path: Path) -> None:
    authority = Authority(tmp_path, NOW)
    assert handshake(authority.issue("a", "A", OIN), authority.issue("b", "B", OIN)) == "TLSv1.3"


def test_expired_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path, NOW)
    expired = authority.issue(
        "old", "A", OIN, valid_from=NOW - timedelta(days=2), valid_until=NOW - timedelta(minutes=1)
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(expired, authority.issue("b", "B", OIN))


def test_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours", NOW), Authority(tmp_path / "other", NOW, "another CA")
    stranger = other.issue("stranger", "Stranger", OIN)
    client = TlsPaths(stranger.certificate, stranger.key, ours.path)
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        handshake(ours.issue("a", "A", OIN), client)


def test_certificate_without_serial_number_can_be_made(tmp_path: Path) -> None:
    subject = load(Authority(tmp_path, NOW).issue("bare", "Demo", None)).subject
    assert not subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
