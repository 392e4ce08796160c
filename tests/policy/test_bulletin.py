"""The usage bulletin: what a figure may tell, and what subtracting figures may not (FG-44)."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from bekend_policy.bulletin import STEP, THRESHOLD, Bulletin, Quarter, Topic, guarded, join, protect, read_bulletin
from bekend_policy.log_use import Days
from bekend_proto.errors import MalformedError, RefusedError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.covenants import OM, POLITIE

K3 = Quarter(2026, 3)
CASES = ("zsm", "nazorg", "zvh")
counts = st.integers(0, 60)


def bulletin(oin: str = OM, **tables: dict[str, int]) -> Bulletin:
    return made(oin, tables)


def made(oin: str, tables: dict[str, dict[str, int]]) -> Bulletin:
    empty: dict[Topic, dict[str, int]] = {topic: {} for topic in Topic}
    return protect(oin, "kennemerland", K3, empty | {Topic(name): row for name, row in tables.items()})


def cells(found: Bulletin) -> Iterator[int | None]:
    for row in found.tables.values():
        yield from row.values()


@given(st.dictionaries(st.sampled_from(CASES), counts), st.dictionaries(st.sampled_from(CASES), counts))
def test_fg_44_no_figure_is_under_ten_and_each_is_a_multiple_of_five(
    asked: dict[str, int], refused: dict[str, int]
) -> None:
    found = bulletin(bevragingen=asked, weigeringen=refused)
    for cell in cells(found):
        assert cell is None or (cell >= THRESHOLD and cell % STEP == 0)
    assert all(abs(cell - asked[one]) <= STEP // 2 for one, cell in found.tables["bevragingen"].items() if cell)
    # Which rules refused something is a count too: a rule under ten is not even named.
    assert set(found.tables["weigeringen"]) == {one for one, count in refused.items() if count >= THRESHOLD}


def consistent(published: Bulletin, totals: list[int]) -> list[tuple[int, ...]]:
    """By hand, without the code under test: every table of counts from 0 to 40 that fits what is published.

    What is published: figures, which are withheld, and the totals that a reader is shown.
    """
    row = [published.tables["bevragingen"][one] for one in CASES]
    reach = [range(41) if cell is None else range(max(cell - 2, 10), cell + 3) for cell in row]
    fits = []
    for table in itertools.product(*reach):
        # The rule is public: a count is withheld when it is under ten, and then alone.
        if all((count < 10) == (cell is None) for count, cell in zip(table, row, strict=True)):
            shown = sum(5 * ((count + 2) // 5) for count in table if count >= 10)
            if [shown] == totals:
                fits.append(table)
    return fits


@given(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)))
def test_fg_44_no_withheld_count_can_be_computed_from_what_is_published(table: tuple[int, ...]) -> None:
    found = bulletin(bevragingen=dict(zip(CASES, table, strict=True)))
    total = join([found]).total(K3, Topic.ASKED)
    fits = consistent(found, [total.count])
    assert table in fits
    for index, one in enumerate(CASES):
        if found.tables["bevragingen"][one] is None:
            assert {it[index] for it in fits} == set(range(THRESHOLD))


@given(counts, counts)
def test_fg_44_of_yes_and_no_stand_both_or_neither(yes: int, no: int) -> None:
    found = bulletin(gevolg_ja={"zsm": yes}, gevolg_nee={"zsm": no})
    cell, other = found.tables["gevolg_ja"]["zsm"], found.tables["gevolg_nee"]["zsm"]
    assert (cell is None) == (other is None) == (min(yes, no) < THRESHOLD)


@given(
    st.dictionaries(st.sampled_from([topic.value for topic in Topic]), st.dictionaries(st.sampled_from(CASES), counts)),
    st.sampled_from(CASES),
)
def test_fg_44_differencing_with_and_without_one_question_fixes_no_change(
    tables: dict[str, dict[str, int]], which: str
) -> None:
    """Who holds the bulletin with and without one question cannot say from them how many came."""
    # The labels follow from the covenant: every purpose has a line, also one that nobody used.
    asked = dict.fromkeys(CASES, 0) | tables.get("bevragingen", {})
    rest = {name: row for name, row in tables.items() if name not in {"bevragingen", "gevolg_ja", "gevolg_nee"}}
    before = made(OM, rest | {"bevragingen": asked})
    after = made(OM, rest | {"bevragingen": asked | {which: asked[which] + 1}})
    old, new = before.tables["bevragingen"], after.tables["bevragingen"]
    assert {name: row for name, row in before.tables.items() if name != "bevragingen"} == {
        name: row for name, row in after.tables.items() if name != "bevragingen"
    }
    assert all(old[one] == new[one] for one in CASES if one != which)
    changes = {b - a for a in behind(old[which]) for b in behind(new[which])}
    # From nothing at all up to more than half the threshold: no change under it is told apart from another.
    assert len([change for change in changes if abs(change) < THRESHOLD]) >= STEP


def behind(cell: int | None) -> range:
    """Every count that such a figure may stand for."""
    return range(THRESHOLD) if cell is None else range(max(cell - STEP // 2, THRESHOLD), cell + STEP // 2 + 1)


def test_fg_44_joining_tells_nothing_that_a_file_did_not() -> None:
    files = [bulletin(OM, bevragingen={"zsm": 23, "zvh": 9}), bulletin(POLITIE, bevragingen={"zsm": 4, "zvh": 13})]
    joint = join(files)
    assert (joint.cell(K3, Topic.ASKED, "zsm").count, joint.cell(K3, Topic.ASKED, "zsm").withheld) == (25, 1)
    # All but one file taken away leaves that one file's figure: rounded, or nought.
    alone = join(files[:1])
    left = joint.cell(K3, Topic.ASKED, "zsm").count - alone.cell(K3, Topic.ASKED, "zsm").count
    assert left == (files[1].tables["bevragingen"]["zsm"] or 0) == 0
    assert joint.total(K3, Topic.ASKED).count == 25 + 15


def test_a_quarter_is_one_of_the_calendar_and_over() -> None:
    assert [Quarter(2026, number).days for number in (1, 4)] == [
        Days(date(2026, 1, 1), date(2026, 3, 31)),
        Days(date(2026, 10, 1), date(2026, 12, 31)),
    ]
    for wrong in ("2026-3", "2026-K5", "2026-07", "1999-K1", ""):
        with pytest.raises(RefusedError):
            Quarter.parse(wrong)
    over = datetime(2026, 10, 2, 12, tzinfo=UTC)
    K3.check_over(over)
    for early in (over - timedelta(days=1), over - timedelta(days=20), over + timedelta(days=380)):
        with pytest.raises(RefusedError, match="kwartaal"):
            K3.check_over(early)


def test_a_file_holds_only_what_protection_makes() -> None:
    made = bulletin(
        bevragingen={"zsm": 41, "zvh": 3}, weigeringen={"D4": 12}, gevolg_ja={"zsm": 20}, gevolg_nee={"zsm": 11}
    )
    text = made.to_text()
    assert read_bulletin(text.encode(), "om.json") == made
    assert "41" not in text
    for change in (
        {"bevragingen": {"zsm": 41}},
        {"bevragingen": {"zsm": 5}},
        {"weigeringen": {"D4": None}},
        {"gevolg_ja": {"zsm": None}},
        {"gevolg_ja": {"zsm": 10, "zvh": 10}},
        {"wijken": {"centrum": 20}},
        {"bevragingen": {"=1+1": 20}},
    ):
        spoilt = json.loads(text)
        spoilt["tabellen"] |= change
        with pytest.raises(MalformedError):
            read_bulletin(json.dumps(spoilt).encode(), "om.json")
    for octets in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(MalformedError):
            read_bulletin(octets, "om.json")


def test_two_files_of_one_partner_or_two_covenants_are_not_joined() -> None:
    with pytest.raises(MalformedError, match="twee bulletins"):
        join([bulletin(), bulletin()])
    other = protect(POLITIE, "elders", K3, {topic: {} for topic in Topic})
    with pytest.raises(MalformedError, match="één convenant"):
        join([bulletin(), other])
    with pytest.raises(MalformedError):
        join([])


def test_a_count_is_rounded_to_the_nearest_five() -> None:
    assert [guarded(count) for count in (0, 9, 10, 12, 13, 17, 18, 10_002)] == [None, None, 10, 10, 15, 15, 20, 10_000]
