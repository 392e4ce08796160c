"""What the bench times on the officer's pages are real pages, and a wrong outcome is no figure."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bekend_bench.lookups import WrongOutcomeError
from bekend_bench.page import PER_SESSION, Browser
from bekend_node.web.shelf import MOST_KEPT
from bekend_proto.errors import UnreachableError

from tests.support.asking import PERSON, ZVH_CASE
from tests.support.covenants import HAARLEM, RECLASSERING, ZVH_WEIGHING
from tests.support.pages import StagedPages, staged

CONDITIONS = ("positieve-toets", "bgs-2-20")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path) as made:
        yield made


@pytest.fixture
def officer(site: StagedPages) -> Iterator[Browser]:
    made = Browser(site.port, ZVH_WEIGHING, ZVH_CASE, CONDITIONS, kind="bsn")
    yield made
    made.close()


def test_each_question_is_answered_on_its_page(site: StagedPages, officer: Browser) -> None:
    for _ in range(3):
        assert officer.ask(PERSON.value, [HAARLEM, RECLASSERING]) > 0
    assert len(site.stage.line.begins) == 3


def test_a_form_that_is_refused_is_no_figure(officer: Browser) -> None:
    with pytest.raises(WrongOutcomeError, match="422"):
        officer.ask(PERSON.value, [])


def test_no_answer_is_no_figure(site: StagedPages, officer: Browser) -> None:
    site.stage.line.fails_at["ask"] = UnreachableError("gone")
    with pytest.raises(WrongOutcomeError):
        officer.ask(PERSON.value, [HAARLEM])


def test_more_questions_than_a_session_holds_are_asked_all_the_same(
    site: StagedPages, officer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bekend_node.web.shelf.MOST_KEPT", 2)
    monkeypatch.setattr("bekend_bench.page.PER_SESSION", 2)
    for _ in range(5):
        assert officer.ask(PERSON.value, [HAARLEM]) > 0
    assert len(site.stage.line.begins) == 5
    assert PER_SESSION < MOST_KEPT


def test_a_session_that_is_full_is_no_figure(
    site: StagedPages, officer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bekend_node.web.shelf.MOST_KEPT", 1)
    officer.ask(PERSON.value, [HAARLEM])
    with pytest.raises(WrongOutcomeError, match="422"):
        officer.ask(PERSON.value, [HAARLEM])
