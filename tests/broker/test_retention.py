"""What the broker destroys: decisions, and month keys of which no record lives any more (FG-31)."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from bekend_broker.keys import KeyRing, create_missing, destroy_root, draft_manifest, record_root
from bekend_broker.retention import Retention, months_over
from bekend_broker.store import Store
from bekend_broker.store_retention import RetentionStore
from bekend_policy.decided import About, Decided, Judged
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.retention import Kept
from bekend_proto.clock import milliseconds
from bekend_proto.decision_table import append_decision
from bekend_proto.errors import KeysError
from bekend_proto.note import sign_note
from bekend_proto.v1.signed_pb2 import KIND_CLASS_CERTAIN

from tests.support.clocks import SteeredClock
from tests.support.covenants import EXAMPLE, NOW, OM, OPERATOR, POLITIE, ZSM, key_of

ALL = Kept(OPERATOR, 1, date(2031, 12, 31), None, "audits 2031")


@pytest.fixture
def covenant() -> Covenant:
    return load_covenant(EXAMPLE)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    create_missing(tmp_path / "keys", NOW)  # December 2026 and January 2027
    return tmp_path / "keys"


@pytest.mark.parametrize(
    ("now", "gone"),
    [
        # The last record of December is of its last moment, in UTC as months are; five years on in Amsterdam.
        (datetime(2031, 12, 31, 23, 59, 59, tzinfo=UTC), []),
        (datetime(2032, 1, 1, 0, 0, 0, tzinfo=UTC), ["2026-12"]),
        (datetime(2032, 1, 31, 23, 59, 59, tzinfo=UTC), ["2026-12"]),
        (datetime(2032, 2, 1, 0, 0, 0, tzinfo=UTC), ["2026-12", "2027-01"]),
    ],
)
def test_fg_31_a_months_key_goes_when_its_last_record_is_past_its_term(
    covenant: Covenant, keys: Path, now: datetime, gone: list[str]
) -> None:
    assert months_over(keys, (covenant,), ALL, now) == gone


def test_fg_31_no_key_goes_before_the_audits_cover_its_month(covenant: Covenant, keys: Path) -> None:
    late = datetime(2035, 1, 1, tzinfo=UTC)
    assert months_over(keys, (covenant,), None, late) == []
    assert months_over(keys, (covenant,), Kept(OPERATOR, 1, date(2026, 12, 30), None, "r"), late) == []
    # Months are UTC, days are Amsterdam: the 31st there ends an hour before December does.
    assert months_over(keys, (covenant,), Kept(OPERATOR, 1, date(2026, 12, 31), None, "r"), late) == []
    assert months_over(keys, (covenant,), Kept(OPERATOR, 1, date(2027, 1, 1), None, "r"), late) == ["2026-12"]
    claim = Kept(OPERATOR, 2, date(2031, 12, 31), date(2040, 1, 1), "procedure")
    assert months_over(keys, (covenant,), claim, late) == []


def test_a_key_that_was_destroyed_stops_no_replica_and_one_that_is_missed_does(covenant: Covenant, keys: Path) -> None:
    manifest = draft_manifest(keys, covenant, OPERATOR, 1, NOW)
    destroy_root(record_root(keys, "2026-12"))
    destroy_root(record_root(keys, "2026-12"))  # the other replica did it
    with pytest.raises(KeysError, match="2026-12"):
        KeyRing.load(keys, manifest, NOW + timedelta(days=3), 5)
    after = datetime(2032, 1, 2, tzinfo=UTC)
    assert sorted(KeyRing.load(keys, manifest, after, 5).record) == ["2027-01"]


async def test_fg_31_the_broker_tidies_by_its_clock(covenant: Covenant, keys: Path, tmp_path: Path) -> None:
    clock = SteeredClock(NOW)
    store = Store.open(tmp_path / "data")
    reloads = []

    async def reload() -> bool:
        reloads.append(clock.now())
        return True

    try:
        rows = RetentionStore(store.database)
        retention = Retention(rows, keys, lambda: (covenant,), clock, reload)
        decided = Decided(
            b"d" * 16, milliseconds(NOW), About.LOOKUP, OM, ZSM, None, 1, KIND_CLASS_CERTAIN, covenant.hash,
            (Judged(POLITIE, True, "regel", b"q" * 16),),
        )  # fmt: skip
        await store.write(lambda c: append_decision(c, decided.row()))
        content = record_root(keys, "2026-12").read_bytes()
        clock.set(datetime(2032, 3, 1, tzinfo=UTC))
        assert await retention.tidy() == 0  # no audit
        key = key_of(OPERATOR)
        assert rows.keep_note(1, sign_note(ALL.text(), key.name, key.seed), milliseconds(NOW))
        assert not rows.keep_note(1, b"another", milliseconds(NOW))
        size = store.log_entries()
        assert await retention.tidy() == 3
        assert reloads == [clock.now()]
        assert not record_root(keys, "2026-12").exists()
        left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for gone in (content.strip(), b"d" * 16, (b"q" * 16).hex().encode()):
            assert gone not in left
        assert store.log_entries() == size
        assert await retention.tidy() == 0
    finally:
        store.close()
