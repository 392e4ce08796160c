"""The node's keys: made once, for its owner alone, compared with the manifest, destroyed with their epoch."""

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_node.keys import NodeKeys, check_against, draft_manifest, root_file
from bekend_proto.epochs import enrolled_epochs, served_epochs
from bekend_proto.errors import KeysError
from bekend_proto.group import multiply_base

OIN = "00000099000000002000"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PURPOSES = ("demo/een", "demo/twee")


@pytest.fixture
def keys(tmp_path: Path) -> NodeKeys:
    return NodeKeys.create(tmp_path / "keys", OIN, NOW)


def test_keys_are_files_of_their_owner_alone(keys: NodeKeys) -> None:
    assert {path.name for path in keys.folder.iterdir()} == {"signing.key", "state.key", "desk.key", "root-2026Q4.key"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in keys.folder.iterdir())
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700


def test_keys_are_made_once_and_never_overwritten(keys: NodeKeys) -> None:
    before = {path.name: path.read_bytes() for path in keys.folder.iterdir()}
    with pytest.raises(KeysError, match="never overwritten"):
        NodeKeys.create(keys.folder, OIN, NOW)
    keys.ensure_epoch("2026Q4")
    assert {path.name: path.read_bytes() for path in keys.folder.iterdir()} == before


def test_a_key_that_others_may_read_or_that_is_damaged_is_refused(keys: NodeKeys) -> None:
    path = keys.folder / "state.key"
    path.chmod(0o640)
    with pytest.raises(KeysError, match="chmod 600"):
        NodeKeys.load(keys.folder, OIN)
    path.chmod(0o600)
    path.write_text("abc")
    with pytest.raises(KeysError, match="64 hex digits"):
        NodeKeys.load(keys.folder, OIN)
    path.unlink()
    with pytest.raises(KeysError, match="bekend node init"):
        NodeKeys.load(keys.folder, OIN)


def test_keys_show_nothing(keys: NodeKeys) -> None:
    shown = repr(keys)
    assert keys.state.hex() not in shown
    assert bytes(keys.signing).hex() not in shown


def test_each_purpose_and_epoch_has_a_key_of_its_own(keys: NodeKeys) -> None:
    keys.ensure_epoch("2027Q1")
    made = [keys.evaluation_key(purpose, epoch) for purpose in PURPOSES for epoch in ("2026Q4", "2027Q1")]
    assert len({pair.secret for pair in made}) == 4
    assert all(multiply_base(pair.secret) == pair.public for pair in made)
    assert NodeKeys.load(keys.folder, OIN).evaluation_key("demo/een", "2026Q4") == made[0]


def test_must_11_two_epochs_have_keys_of_their_own_even_from_one_root(keys: NodeKeys) -> None:
    """Whoever copies the file of an epoch to the next joins no two epochs by it."""
    copy = root_file(keys.folder, "2027Q1")
    copy.write_bytes(root_file(keys.folder, "2026Q4").read_bytes())
    copy.chmod(0o600)
    first, second = (keys.evaluation_key("demo/een", epoch) for epoch in ("2026Q4", "2027Q1"))
    assert first.secret != second.secret


def test_fg_21_a_destroyed_epoch_cannot_be_computed_again(keys: NodeKeys) -> None:
    keys.evaluation_key("demo/een", "2026Q4")
    with root_file(keys.folder, "2026Q4").open("rb") as still_open:
        keys.destroy_epoch("2026Q4")
        assert set(still_open.read().strip()) == {ord("0")}
    for holder in (keys, NodeKeys.load(keys.folder, OIN)):
        with pytest.raises(KeysError):
            holder.evaluation_key("demo/een", "2026Q4")
    assert keys.epochs() == ()


def test_a_manifest_holds_a_key_per_purpose_and_near_the_end_those_of_the_next_epoch(keys: NodeKeys) -> None:
    draft = draft_manifest(keys, PURPOSES, {"nazorg": 2000}, privacy_officer=b"\7" * 32, number=3, now=NOW)
    assert {epoch for _, _, epoch in draft.evaluation_keys} == {"2026Q4"}
    assert draft.register_sizes == {"afgeschermd": 1000, "nazorg": 2000}
    late = NOW.replace(month=12, day=20)
    draft = draft_manifest(keys, PURPOSES, {}, privacy_officer=None, number=4, now=late)
    assert sorted({epoch for _, _, epoch in draft.evaluation_keys}) == ["2026Q4", "2027Q1"]
    assert draft.text().startswith("kind: bekend/1 key-manifest\n")


def test_a_node_with_other_keys_than_it_announced_does_not_start(keys: NodeKeys, tmp_path: Path) -> None:
    draft = draft_manifest(keys, PURPOSES, {}, privacy_officer=None, number=1, now=NOW)
    check_against(keys, draft, PURPOSES, NOW)
    other = NodeKeys.create(tmp_path / "other", OIN, NOW)
    with pytest.raises(KeysError, match="signing key"):
        check_against(other, draft, PURPOSES, NOW)
    with pytest.raises(KeysError, match="differs from the signed manifest"):
        check_against(replace(other, signing=keys.signing), draft, PURPOSES, NOW)
    with pytest.raises(KeysError, match="no key for demo/drie"):
        check_against(keys, draft, [*PURPOSES, "demo/drie"], NOW)
    with pytest.raises(KeysError, match="2027Q1"):
        check_against(keys, draft, PURPOSES, NOW + timedelta(days=60))
    # In the week of overlap last quarter's manifest is enough to go on.
    check_against(keys, draft, PURPOSES, datetime(2027, 1, 3, tzinfo=UTC))
    with pytest.raises(KeysError, match="the manifest is of"):
        check_against(keys, replace(draft, oin="00000099000000003000"), PURPOSES, NOW)


def test_epochs_overlap_for_a_week_and_open_two_weeks_ahead() -> None:
    january = datetime(2027, 1, 1, tzinfo=UTC)
    assert served_epochs(january - timedelta(seconds=1)) == ("2026Q4",)
    assert served_epochs(january) == ("2027Q1", "2026Q4")
    assert served_epochs(january + timedelta(days=7)) == ("2027Q1",)
    assert enrolled_epochs(january - timedelta(days=14, seconds=1)) == ("2026Q4",)
    assert enrolled_epochs(january - timedelta(days=14)) == ("2026Q4", "2027Q1")
