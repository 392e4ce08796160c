"""What the auditor signs of an audit, and how far it lets things go."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from bekend_policy.audited import Audited, audited_until, open_audited, parse_audited
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_proto.errors import KeysError, MalformedError, SignatureError
from bekend_proto.note import sign_note
from hypothesis import given
from hypothesis import strategies as st

from tests.support.auditors import AUDITOR, AUDITOR_OIN, with_auditor
from tests.support.covenants import OM, POLITIE, example, key_of, signed

WEEK = Audited(OM, date(2026, 11, 16), date(2026, 11, 22), bytes(32), (), 2501, 130, 121, 9, 0, 0)
NEXT = replace(WEEK, first=date(2026, 11, 23), last=date(2026, 11, 29))


@pytest.fixture(scope="module")
def covenant(tmp_path_factory: pytest.TempPathFactory) -> Covenant:
    return signed(tmp_path_factory.mktemp("c") / "convenant", with_auditor)


counts = st.integers(0, 10**11)


@given(st.tuples(counts, counts, counts, counts), counts, st.binary(min_size=32, max_size=32), st.booleans())
def test_a_result_reads_as_it_was_written(told: tuple[int, ...], more: int, draw: bytes, absent: bool) -> None:
    one = replace(
        WEEK, draw=draw, absent=(POLITIE,) if absent else (), questions=sum(told) + more, drawn=sum(told),
        tested=told[0], unanswered=told[1], untested=told[2], breaches=told[3],
    )  # fmt: skip
    assert parse_audited(one.text()) == one
    assert one.is_good == (told[2] == told[3] == 0)


@pytest.mark.parametrize(
    "text",
    [
        "soort: bekend/1 iets\n" + WEEK.text().split("\n", 1)[1],
        WEEK.text().replace("getoetst: 121", "getoetst: 120"),
        WEEK.text().replace("vragen: 2501", "vragen: 12"),
        WEEK.text().replace("tot_en_met: 2026-11-22", "tot_en_met: 2026-11-15"),
        WEEK.text() + "nog_iets: ja\n",
    ],
)
def test_a_result_that_breaks_a_rule_is_refused(text: str) -> None:
    with pytest.raises(KeysError):
        parse_audited(text)


def test_only_the_auditor_of_the_covenant_signs(covenant: Covenant, tmp_path: Path) -> None:
    name = f"bekend/{AUDITOR_OIN}/auditor"
    note = sign_note(WEEK.text(), name, bytes(AUDITOR.signing))
    assert open_audited(note, covenant) == WEEK
    with pytest.raises(SignatureError):
        open_audited(sign_note(WEEK.text(), name, key_of(OM).seed), covenant)
    with pytest.raises(MalformedError):
        open_audited(b"x", covenant)
    with pytest.raises(KeysError, match="auditor_ondertekent"):
        open_audited(note, load_covenant(example(tmp_path / "zonder")))


def test_fg_31_results_count_as_far_as_they_join() -> None:
    assert audited_until([NEXT, WEEK], OM, None) == NEXT.last
    assert audited_until([NEXT], OM, WEEK.last) == NEXT.last
    assert audited_until([WEEK], OM, date(2026, 12, 31)) == date(2026, 12, 31)
    for found, before in (
        ([NEXT], date(2026, 11, 21)),
        ([WEEK, replace(NEXT, first=date(2026, 11, 24))], None),
        ([replace(WEEK, by=POLITIE)], None),
        ([replace(WEEK, tested=120, breaches=1)], None),
        ([replace(WEEK, tested=120, untested=1)], None),
        ([], None),
    ):
        with pytest.raises(KeysError):
            audited_until(found, OM, before)
