"""The privacy officer's key: wrapped for two, handed over, replaced."""

import stat
from pathlib import Path

import pytest
from bekend_policy.manifest import KeyManifest, parse_manifest
from bekend_policy.officer_key import DEPUTY, OFFICER, OfficerKey, hand_over, holder_of, open_officer_key
from bekend_policy.officer_key import write_officer_key as write_slowly
from bekend_proto.errors import KeysError
from nacl.public import SealedBox
from nacl.pwhash import argon2id

from tests.support.covenants import NOW

OIN = "00000099000000001000"
FIRST, SECOND, THIRD = "paard batterij nietje", "juist lamp gordijn", "tafel regen fiets"
CHEAP = {"operations": argon2id.OPSLIMIT_INTERACTIVE, "memory": argon2id.MEMLIMIT_INTERACTIVE}
"""The least work that libsodium calls safe: the default takes most of a second."""


def write(path: Path, key: OfficerKey, holder: str, passphrase: str) -> Path:
    write_slowly(path, key, holder, passphrase, **CHEAP)
    return path


@pytest.fixture
def two(tmp_path: Path) -> tuple[OfficerKey, Path, Path]:
    key = OfficerKey.generate(OIN)
    return key, write(tmp_path / "po.key", key, OFFICER, FIRST), write(tmp_path / "pv.key", key, DEPUTY, SECOND)


def test_each_of_two_opens_the_one_key_with_the_own_passphrase_alone(two: tuple[OfficerKey, Path, Path]) -> None:
    key, officer, deputy = two
    sealed = SealedBox(key.opening.public_key).encrypt(b"c" * 32)
    for path, passphrase in ((officer, FIRST), (deputy, SECOND)):
        opened = open_officer_key(path, passphrase)
        assert SealedBox(opened.opening).decrypt(sealed) == b"c" * 32
        assert opened.signing_public == key.signing_public
    for path, passphrase in ((officer, SECOND), (deputy, FIRST)):
        with pytest.raises(KeysError, match="wachtwoord past niet"):
            open_officer_key(path, passphrase)


def test_no_secret_stands_in_a_file_or_in_a_text(two: tuple[OfficerKey, Path, Path]) -> None:
    key, *paths = two
    for path in paths:
        text = path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for secret in (bytes(key.opening), bytes(key.signing)):
            assert secret.hex() not in text
            assert secret.hex() not in repr(key)


def test_a_file_is_never_overwritten_and_a_passphrase_is_long(tmp_path: Path) -> None:
    key = OfficerKey.generate(OIN)
    with pytest.raises(KeysError, match="korter dan 12"):
        write(tmp_path / "po.key", key, OFFICER, "kort")
    assert not (tmp_path / "po.key").exists()
    write(tmp_path / "po.key", key, OFFICER, FIRST)
    with pytest.raises(KeysError, match="bestaat al"):
        write(tmp_path / "po.key", key, OFFICER, FIRST)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("officer-key", "signing-key"), "geen sleutel van een privacyfunctionaris"),
        (lambda text: text.replace('wrapped: "', 'wrapped: "AAAA'), "wachtwoord past niet"),
        (lambda text: text.replace('opening: "', 'opening: "00')[:-1], "niet te gebruiken"),
        (lambda text: text + "extra: ja\n", "niet te gebruiken"),
    ],
)
def test_a_file_that_was_changed_opens_nothing(two: tuple[OfficerKey, Path, Path], change: "object", says: str) -> None:
    _, path, _ = two
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(KeysError, match=says):
        open_officer_key(path, FIRST)


def test_a_file_that_others_can_read_is_refused(two: tuple[OfficerKey, Path, Path]) -> None:
    _, path, _ = two
    path.chmod(0o640)
    with pytest.raises(KeysError, match="chmod 600"):
        open_officer_key(path, FIRST)


def test_another_public_half_is_found(two: tuple[OfficerKey, Path, Path]) -> None:
    key, path, _ = two
    other = OfficerKey.generate(OIN)
    path.write_text(path.read_text().replace(key.signing_public.hex(), other.signing_public.hex()))
    with pytest.raises(KeysError, match="beschadigd"):
        open_officer_key(path, FIRST)


def test_succession_keeps_the_key_and_destroys_the_file_of_who_goes(
    two: tuple[OfficerKey, Path, Path], tmp_path: Path
) -> None:
    key, officer, deputy = two
    opened = open_officer_key(deputy, SECOND)
    hand_over([officer], opened, tmp_path / "nieuw.key", OFFICER, THIRD, **CHEAP)
    assert not officer.exists()
    assert holder_of(tmp_path / "nieuw.key") == OFFICER
    assert bytes(open_officer_key(tmp_path / "nieuw.key", THIRD).opening) == bytes(key.opening)
    assert bytes(open_officer_key(deputy, SECOND).opening) == bytes(key.opening)


def test_succession_destroys_nothing_that_belongs_to_another_key(
    two: tuple[OfficerKey, Path, Path], tmp_path: Path
) -> None:
    key, officer, _ = two
    foreign = write(tmp_path / "vreemd.key", OfficerKey.generate(OIN), OFFICER, FIRST)
    with pytest.raises(KeysError, match="andere sleutel"):
        hand_over([officer, foreign], key, tmp_path / "nieuw.key", OFFICER, THIRD, **CHEAP)
    assert officer.exists()
    assert foreign.exists()
    assert not (tmp_path / "nieuw.key").exists()


def manifest(**changes: object) -> KeyManifest:
    key = OfficerKey.generate(OIN)
    facts: dict[str, object] = {
        "oin": OIN,
        "number": 1,
        "issued": NOW,
        "valid_until": NOW.replace(year=NOW.year + 1),
        "protocol_versions": (1,),
        "signing_keys": (OfficerKey.generate(OIN).signing_public,),
        "privacy_officer": key.opening_public,
        "privacy_officer_signing": key.signing_public,
    }
    return KeyManifest(**{**facts, **changes})  # type: ignore[arg-type]


def test_both_public_halves_stand_in_the_manifest() -> None:
    made = manifest()
    assert parse_manifest(made.text()) == made


@pytest.mark.parametrize("same", ["signing", "opening", "converted", "alone"])
def test_must_03_one_key_one_role(same: str) -> None:
    key = OfficerKey.generate(OIN)
    changes: dict[str, object] = {
        "signing": {"signing_keys": (key.signing_public,), "privacy_officer_signing": key.signing_public},
        "opening": {"privacy_officer": key.opening_public, "privacy_officer_signing": key.opening_public},
        "converted": {
            "privacy_officer": bytes(key.signing.verify_key.to_curve25519_public_key()),
            "privacy_officer_signing": key.signing_public,
        },
        "alone": {"privacy_officer": None},
    }[same]  # type: ignore[assignment]
    with pytest.raises(KeysError):
        manifest(**changes).text()
