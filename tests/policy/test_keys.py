"""A signing key: wrapped, private to its owner, made once."""

import errno
import stat
from pathlib import Path
from unittest.mock import patch

import nacl.pwhash.argon2id as argon2id
import pytest
from bekend_policy.keys import SigningKey, create_signing_key, open_signing_key
from bekend_proto.errors import KeysError, MalformedError
from bekend_proto.note import parse_note, sign_note, verify_note

NAME = "bekend/00000099000000001000/ondertekenaar"
PASSPHRASE = "paard batterij nietje juist"


def make(path: Path, name: str = NAME, passphrase: str = PASSPHRASE) -> SigningKey:
    """With the least work that libsodium calls safe: the default takes most of a second."""
    cheap = {"operations": argon2id.OPSLIMIT_INTERACTIVE, "memory": argon2id.MEMLIMIT_INTERACTIVE}
    return create_signing_key(path, name, passphrase, **cheap)


def test_a_key_opens_with_its_passphrase_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "om.key"
    made, opened = make(path), open_signing_key(path, PASSPHRASE)
    assert opened == made
    assert verify_note(parse_note(sign_note("tekst\n", opened.name, opened.seed)), made.vkey)


def test_only_the_owner_can_read_it_and_the_seed_is_not_in_it(tmp_path: Path) -> None:
    path = tmp_path / "om.key"
    key = make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.seed not in path.read_bytes()
    assert key.seed.hex() not in path.read_text()
    assert key.seed.hex() not in repr(key)
    assert str(key.seed) not in repr(key)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "om.key"
    make(path)
    before = path.read_bytes()
    with pytest.raises(KeysError, match="bestaat al"):
        make(path)
    assert path.read_bytes() == before


def test_a_wrong_or_short_passphrase_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "om.key"
    make(path)
    with pytest.raises(KeysError, match="het wachtwoord past niet"):
        open_signing_key(path, PASSPHRASE + "!")
    with pytest.raises(KeysError, match="korter dan 12"):
        make(tmp_path / "kort.key", passphrase="kort")
    assert not (tmp_path / "kort.key").exists()


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "om.key"
    make(path)
    path.chmod(0o640)
    with pytest.raises(KeysError, match="chmod 600"):
        open_signing_key(path, PASSPHRASE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: bekend/1 signing-key", "kind: iets anders"),
        ("operations: 2", "operations: 1"),
        ("memory: 67108864", "memory: 99999999999"),
        ('name: "bekend/00000099000000001000', 'name: "bekend/00000099000000002000'),
        ('salt: "', 'salt: "AAAA'),
        ('wrapped: "', 'wrapped: "AAAA'),
        ('wrapped: "', 'wrapped: "*'),
    ],
)
def test_a_changed_file_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "om.key"
    make(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(KeysError):
        open_signing_key(path, PASSPHRASE)


def test_a_name_that_a_note_cannot_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError):
        make(tmp_path / "x.key", name="met spatie")
    assert not (tmp_path / "x.key").exists()


def test_a_full_disk_leaves_no_half_key(tmp_path: Path) -> None:
    path = tmp_path / "om.key"
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch("os.fsync", side_effect=full), pytest.raises(KeysError, match="No space left"):
        make(path)
    assert not path.exists()
    assert make(path).name == NAME
