"""The broker's keys: created once, private, and exactly those that the operator signed (protocol section 4)."""

import os
import secrets
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bekend_broker.keys import create_missing, destroy_over, draft_manifest, evaluation_root, record_root
from bekend_deploy.partners import BROKER_OIN, HAARLEM, POLITIE, ZSM_CONTEXT
from bekend_proto.clock import add_months, epoch_of, epoch_start, month_of, next_epoch
from bekend_proto.epochs import enrolled_epochs, served_epochs
from bekend_proto.errors import BekendError, CovenantError, KeysError, SignatureError
from bekend_proto.group import multiply_base
from bekend_proto.oprf import derive_key
from bekend_proto.secret_files import create_secret, read_secret

from tests.support.federation import Federation


async def starts(federation: Federation) -> bool:
    """Whether a broker starts; False when keys or manifest keep it from it."""
    try:
        async with federation.broker():
            return True
    except KeysError:
        return False


def test_keys_are_made_once_private_and_never_again(federation: Federation) -> None:
    folder = federation.folder / "keys"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert create_missing(folder, federation.clock.now()) == []
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with pytest.raises(KeysError):
        create_secret(next(iter(before)))


def test_roots_are_independent(federation: Federation) -> None:
    folder = federation.folder / "keys"
    assert len({path.read_bytes() for path in folder.iterdir()}) == len(list(folder.iterdir()))


def test_the_manifest_names_what_the_covenant_calls_for(federation: Federation) -> None:
    keys = federation.broker_manifest.evaluation_keys
    epoch = epoch_of(federation.clock.now())
    root = read_secret(evaluation_root(federation.folder / "keys", epoch))
    pair = derive_key(root, "broker-b", POLITIE.oin, ZSM_CONTEXT, epoch)
    assert keys[POLITIE.oin, ZSM_CONTEXT, epoch] == pair.public == multiply_base(pair.secret)
    # Who is never asked has no key.
    assert not any(source == HAARLEM.oin and purpose == ZSM_CONTEXT for source, purpose, _ in keys)
    assert {name[2] for name in keys} == {epoch, next_epoch(epoch)}
    month = month_of(federation.clock.now())
    assert set(federation.broker_manifest.record_keys) == {month, add_months(month, 1)}


async def test_a_replica_with_another_root_does_not_start(federation: Federation) -> None:
    now = federation.clock.now()
    for path in (
        evaluation_root(federation.folder / "keys", epoch_of(now)),
        record_root(federation.folder / "keys", month_of(now)),
        federation.folder / "keys" / "signing.key",
    ):
        good = path.read_text("ascii")
        assert await starts(federation)
        path.write_text(secrets.token_hex(32), "ascii")
        assert not await starts(federation)
        path.unlink()
        assert not await starts(federation)
        path.write_text(good, "ascii")
        path.chmod(0o600)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33])
def test_a_damaged_key_file_is_refused(federation: Federation, text: str) -> None:
    path = federation.folder / "keys" / "signing.key"
    path.write_text(text, "ascii")
    with pytest.raises(KeysError, match=r"64 hex digits"):
        read_secret(path)


def test_a_key_file_that_others_may_read_is_refused(federation: Federation) -> None:
    path = federation.folder / "keys" / "signing.key"
    os.chmod(path, 0o640)
    with pytest.raises(KeysError, match="chmod 600"):
        read_secret(path)


async def test_a_manifest_that_the_operator_did_not_sign_keeps_it_from_starting(federation: Federation) -> None:
    path = federation.folder / "manifest.note"
    path.write_bytes(path.read_bytes().replace(b"number: 1", b"number: 2"))
    with pytest.raises(SignatureError):
        async with federation.broker():
            pass


async def test_a_manifest_of_another_broker_keeps_it_from_starting(federation: Federation) -> None:
    federation.write_manifest(lambda manifest: replace(manifest, oin="00000099000000900001"))
    with pytest.raises(BekendError):
        async with federation.broker():
            pass


async def test_a_covenant_that_names_another_broker_keeps_it_from_starting(federation: Federation) -> None:
    config = federation.config().model_copy(update={"oin": "00000099000000900001"})
    from bekend_broker.app import start_broker  # noqa: PLC0415

    with pytest.raises(CovenantError):
        await start_broker(config, federation.clock)


async def test_a_root_whose_epoch_is_over_may_be_gone(federation: Federation) -> None:
    old = epoch_of(federation.clock.now())
    coming = next_epoch(old)
    federation.make_keys(epoch_start(coming))
    evaluation_root(federation.folder / "keys", old).unlink()
    federation.clock.set(epoch_start(coming) + timedelta(days=7) - timedelta(seconds=1))
    assert not await starts(federation)
    federation.clock.advance(timedelta(seconds=1))
    assert await starts(federation)


def test_a_root_is_destroyed_when_its_epoch_is_over_and_not_before(federation: Federation) -> None:
    folder = federation.folder / "keys"
    epoch = epoch_of(federation.clock.now())
    root = evaluation_root(folder, epoch)
    others = set(folder.iterdir()) - {root}
    end = epoch_start(next_epoch(epoch)) + timedelta(days=7)
    assert destroy_over(folder, end - timedelta(seconds=1)) == []
    assert root.exists()
    os.link(root, federation.folder / "the same bytes")
    assert destroy_over(folder, end) == [root]
    assert set(folder.iterdir()) == others
    # Overwritten, not only unlinked.
    assert (federation.folder / "the same bytes").read_bytes().startswith(b"0" * 64)


def test_a_month_or_epoch_long_past_is_not_named_again(federation: Federation) -> None:
    folder = federation.folder / "keys"
    create_secret(evaluation_root(folder, "2020Q1"))
    create_secret(record_root(folder, "2020-01"))
    create_secret(record_root(folder, add_months(month_of(federation.clock.now()), -60)))
    manifest = draft_manifest(folder, federation.covenant, BROKER_OIN, 2, federation.clock.now())
    assert "2020Q1" not in {name[2] for name in manifest.evaluation_keys}
    assert min(manifest.record_keys) == add_months(month_of(federation.clock.now()), -60)


def test_epochs_that_are_served_and_enrolled() -> None:
    start = datetime(2027, 1, 1, tzinfo=UTC)
    moment = timedelta(seconds=1)
    assert served_epochs(start - moment) == ("2026Q4",)
    assert served_epochs(start) == ("2027Q1", "2026Q4")
    assert served_epochs(start + timedelta(days=7)) == ("2027Q1",)
    assert enrolled_epochs(start - timedelta(days=14) - moment) == ("2026Q4",)
    assert enrolled_epochs(start - timedelta(days=14)) == ("2026Q4", "2027Q1")
    assert enrolled_epochs(start) == ("2027Q1",)
