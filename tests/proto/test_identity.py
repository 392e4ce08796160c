"""An organisation is the OIN in its certificate's serialNumber, and nothing else."""

from datetime import timedelta
from pathlib import Path

import pytest
from bekend_proto.clock import SystemClock
from bekend_proto.errors import UnknownPartnerError
from bekend_proto.identity import (
    TlsFilesError,
    caller_oin,
    channel_to,
    oin_of_certificate,
    read_tls,
    server_credentials,
)

from tests.support.pki import DAY, Authority

OIN = "00000099000000000001"


class Call:
    """A call from a peer with these certificates."""

    def __init__(self, *pems: bytes) -> None:
        self.pems = pems

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": list(self.pems), "x509_common_name": [b"00000099000000000009"]} if self.pems else {}


def test_the_oin_is_the_serial_number_of_the_subject(authority: Authority) -> None:
    assert oin_of_certificate(authority.issue(OIN).certificate.read_bytes()) == OIN
    letters = "0000000399ABCDEFghij"
    assert oin_of_certificate(authority.issue(letters).certificate.read_bytes()) == letters


@pytest.mark.parametrize(
    "numbers",
    [
        [],
        [OIN, OIN],
        [OIN, "00000099000000000002"],
        [OIN[:-1]],
        [OIN + "0"],
        ["0000009900000000000 "],
        ["0000009900000000000١"],
        [OIN[:-1] + "\n"],
    ],
)
def test_anything_but_one_oin_of_twenty_characters_is_refused(authority: Authority, numbers: list[str]) -> None:
    pem = authority.issue(numbers, name="odd").certificate.read_bytes()
    with pytest.raises(UnknownPartnerError, match="ask your certificate authority"):
        oin_of_certificate(pem)


def test_the_common_name_is_never_read(authority: Authority) -> None:
    with pytest.raises(UnknownPartnerError):
        caller_oin(Call(authority.issue([]).certificate.read_bytes()))


def test_a_caller_without_certificate_is_nobody(authority: Authority) -> None:
    with pytest.raises(UnknownPartnerError, match="no certificate"):
        caller_oin(Call())
    assert caller_oin(Call(authority.issue(OIN).certificate.read_bytes())) == OIN


def test_text_that_is_no_certificate_is_refused() -> None:
    with pytest.raises(UnknownPartnerError):
        oin_of_certificate(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(UnknownPartnerError):
        oin_of_certificate(b"")


def test_usable_files_are_read(authority: Authority) -> None:
    material = read_tls(authority.issue(OIN), SystemClock())
    assert material.oin == OIN


def test_must_12_the_private_key_is_not_shown(authority: Authority) -> None:
    material = read_tls(authority.issue(OIN), SystemClock())
    assert "PRIVATE KEY" in material.key.decode()
    assert "PRIVATE KEY" not in repr(material)


def test_a_certificate_without_serial_number_names_file_and_remedy(authority: Authority) -> None:
    files = authority.issue([])
    with pytest.raises(TlsFilesError, match=r"nobody\.pem: .* no serialNumber .* ask your certificate authority"):
        server_credentials(files)


def test_an_expired_certificate_names_file_date_and_remedy(authority: Authority) -> None:
    files = authority.issue(OIN, starts=-9 * DAY, ends=-DAY)
    with pytest.raises(TlsFilesError, match=rf"{OIN}\.pem expired on 20.* renewed"):
        read_tls(files, SystemClock())


def test_a_certificate_of_tomorrow_points_at_the_clock(authority: Authority) -> None:
    with pytest.raises(TlsFilesError, match="clock"):
        read_tls(authority.issue(OIN, starts=timedelta(hours=5)), SystemClock())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_key_that_others_may_read_is_refused(authority: Authority, mode: int) -> None:
    files = authority.issue(OIN)
    files.key.chmod(mode)
    with pytest.raises(TlsFilesError, match=rf"mode {mode:04o}.*chmod 600"):
        read_tls(files, SystemClock())


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    files, other = authority.issue(OIN), authority.issue("00000099000000000002")
    other.key.rename(files.key)
    with pytest.raises(TlsFilesError, match=r"is not the key of"):
        read_tls(files, SystemClock())


@pytest.mark.parametrize("which", ["certificate", "key", "authorities"])
def test_files_with_something_else_in_them_are_named(authority: Authority, which: str) -> None:
    files = authority.issue(OIN)
    path: Path = getattr(files, which)
    path.write_text("secret words")
    with pytest.raises(TlsFilesError, match=path.name) as caught:
        channel_to("localhost:1", files)
    assert "secret words" not in str(caught.value)
    path.unlink()
    with pytest.raises(TlsFilesError, match="check the path"):
        channel_to("localhost:1", files)
