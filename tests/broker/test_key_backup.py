"""The broker's roots in the hands of two persons: both are needed, nothing is overwritten, the broker serves again."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_broker import key_backup
from bekend_broker.cli import app
from bekend_broker.key_backup import Passphrases, back_up, open_backup, restore
from bekend_broker.keys import KeyRing, create_missing, evaluation_root
from bekend_deploy.partners import BROKER_OIN, ZSM_CONTEXT
from bekend_policy.passphrase import write_new
from bekend_proto.clock import epoch_of, epoch_start, next_epoch
from bekend_proto.errors import KeysError
from bekend_proto.secret_files import read_secret
from nacl.pwhash import argon2id
from typer.testing import CliRunner

from tests.support.federation import PEOPLE, Federation, Party

BOTH = Passphrases("paard batterij nietje", "lamp gordijn fiets regen")
CHEAP = {"operations": argon2id.OPSLIMIT_INTERACTIVE, "memory": argon2id.MEMLIMIT_INTERACTIVE}


@pytest.fixture
def backup(federation: Federation) -> Path:
    path = federation.folder / "keys.backup"
    back_up(federation.folder / "keys", path, BROKER_OIN, federation.clock.now(), BOTH, **CHEAP)
    return path


async def test_after_a_loss_two_persons_bring_the_same_broker_back(
    federation: Federation, backup: Path, om: Party, politie: Party
) -> None:
    """What was enrolled before goes on being found: nobody enrols again."""
    async with federation.broker():
        await politie.enrol(ZSM_CONTEXT, "politiegegevens-8-13", PEOPLE[:1])
    shutil.rmtree(federation.folder / "keys")
    done = restore(federation.folder / "keys", open_backup(backup, BROKER_OIN, BOTH))
    assert done.present == ()
    KeyRing.load(federation.folder / "keys", federation.broker_manifest, federation.clock.now())
    async with federation.broker(), politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
        assert await lookup.outcomes(politie.oin) == {politie.oin: [True]}


@pytest.mark.parametrize(
    "wrong",
    [
        Passphrases(BOTH.second, BOTH.first),
        Passphrases(BOTH.first, BOTH.first),
        Passphrases(BOTH.second, BOTH.second),
        Passphrases("iets heel anders", BOTH.second),
        Passphrases(BOTH.first, "iets heel anders"),
    ],
)
def test_neither_person_alone_opens_it(backup: Path, wrong: Passphrases) -> None:
    with pytest.raises(KeysError, match="passphrase does not open"):
        open_backup(backup, BROKER_OIN, wrong)


def test_no_key_stands_in_it_readable(federation: Federation, backup: Path) -> None:
    text = backup.read_text()
    assert backup.stat().st_mode & 0o777 == 0o600
    for path in (federation.folder / "keys").iterdir():
        assert path.read_text().strip() not in text
        assert path.name not in text


def test_roots_that_are_over_are_not_kept_alive(federation: Federation) -> None:
    keys = federation.folder / "keys"
    now = federation.clock.now()
    old = epoch_of(now - timedelta(days=130))
    create_missing(keys, epoch_start(old))
    path = federation.folder / "later.backup"
    names = back_up(keys, path, BROKER_OIN, now, BOTH, **CHEAP)
    assert evaluation_root(keys, old).exists()
    assert evaluation_root(keys, old).name not in names
    assert evaluation_root(keys, next_epoch(epoch_of(now))).name in names
    assert "signing.key" in names


def test_restoring_fills_gaps_and_touches_nothing(federation: Federation, backup: Path) -> None:
    keys = federation.folder / "keys"
    lost = evaluation_root(keys, epoch_of(federation.clock.now()))
    secret = read_secret(lost)
    lost.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in keys.iterdir()}
    done = restore(keys, open_backup(backup, BROKER_OIN, BOTH))
    assert done.written == (lost,)
    assert read_secret(lost) == secret
    assert {name: (keys / name).stat().st_mtime_ns for name in before} == before


def test_another_key_in_its_place_stops_everything(federation: Federation, backup: Path) -> None:
    keys = federation.folder / "keys"
    (keys / "signing.key").write_text("ab" * 32 + "\n")
    lost = evaluation_root(keys, epoch_of(federation.clock.now()))
    lost.unlink()
    with pytest.raises(KeysError, match=r"signing\.key"):
        restore(keys, open_backup(backup, BROKER_OIN, BOTH))
    assert not lost.exists()


def test_a_disk_that_fails_half_way_leaves_nothing(
    federation: Federation, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = federation.folder / "elders"
    written = write_new

    def fails_at_third(path: Path, data: bytes) -> None:
        if len(list(target.iterdir())) == 2:
            raise OSError(28, "No space left on device")
        written(path, data)

    monkeypatch.setattr(key_backup, "write_new", fails_at_third)
    with pytest.raises(KeysError, match="nothing was restored"):
        restore(target, open_backup(backup, BROKER_OIN, BOTH))
    assert list(target.iterdir()) == []


@pytest.mark.parametrize(
    ("pair", "says"),
    [(Passphrases("kort", BOTH.second), "12 characters"), (Passphrases(BOTH.first, BOTH.first), "the same")],
)
def test_passphrases_are_long_and_of_two_persons(federation: Federation, pair: Passphrases, says: str) -> None:
    with pytest.raises(KeysError, match=says):
        back_up(federation.folder / "keys", federation.folder / "x", BROKER_OIN, federation.clock.now(), pair, **CHEAP)
    assert not (federation.folder / "x").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("key-backup", "key-manifest"),
        lambda text: text.replace(BROKER_OIN, "00000099000000911000"),
        lambda text: text.replace('wrapped: "', 'wrapped: "AAAA'),
        lambda text: text + "more: 1\n",
        lambda _: "",
    ],
)
def test_a_file_that_is_no_backup_of_this_broker(backup: Path, change: "object") -> None:
    backup.write_text(change(backup.read_text()))  # type: ignore[operator]
    with pytest.raises(KeysError):
        open_backup(backup, BROKER_OIN, BOTH)


def test_both_commands(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = {**(back_up.__kwdefaults__ or {}), **CHEAP}
    monkeypatch.setattr(back_up, "__kwdefaults__", defaults)
    folder = federation.folder
    config = folder / "broker.yaml"
    config.write_text(
        f'oin: "{BROKER_OIN}"\ncovenant: convenant\nanchor: "{federation.operator_vkey}"\nmanifest: manifest.note\n'
        "listen: 127.0.0.1:1\ntls: {certificate: c, key: k, authorities: a}\n"
    )
    options = ["--config", str(config), "--json"]
    for name, passphrase in (("first", BOTH.first), ("second", BOTH.second)):
        (folder / name).write_text(passphrase + "\n")
        (folder / name).chmod(0o600)
        options += [f"--{name}-passphrase-file", str(folder / name)]
    made = CliRunner().invoke(app, ["backup-keys", str(folder / "b"), *options])
    assert made.exit_code == 0, made.output
    assert "signing.key" in json.loads(made.stdout)["keys"]
    assert CliRunner().invoke(app, ["backup-keys", str(folder / "b"), *options]).exit_code == 1
    shutil.rmtree(folder / "keys")
    done = CliRunner().invoke(app, ["restore-keys", str(folder / "b"), *options])
    assert done.exit_code == 0, done.output
    assert (folder / "keys" / "signing.key").exists()
    (folder / "second").chmod(0o644)
    assert "chmod 600" in CliRunner().invoke(app, ["restore-keys", str(folder / "b"), *options]).output
