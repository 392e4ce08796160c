"""`bekend policy report`: one page that needs nothing else and says what is not certain."""

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

from bekend_policy.load import load_covenant
from bekend_policy.report import matrix_page, report_page
from bekend_policy.signatures import signatures
from bekend_policy.tools_cli import app
from typer.testing import CliRunner

from tests.support.building import covenant, participant, purpose
from tests.support.covenants import CATALOGUE, HAARLEM, OM, OPERATOR, example, sign_all

DAY = date(2026, 12, 1)
COVENANT = load_covenant(CATALOGUE)
PAGE = report_page(COVENANT, DAY)
_VOID = {"meta", "br", "link", "img", "hr", "input"}


class Outline(HTMLParser):
    """Open tags, ids, links and headings of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_its_contents_lead_somewhere() -> None:
    outline = Outline(PAGE)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)


def test_the_page_asks_nothing_of_anybody() -> None:
    for page in (PAGE, matrix_page(COVENANT, DAY)):
        assert not {"script", "img", "link", "iframe", "form", "object"} & Outline(page).tags
        assert not re.search(r"https?://|@import|url\(", page)
        assert "default-src 'none'" in page


def test_every_purpose_ground_status_and_open_question_is_on_it() -> None:
    plain = re.sub(r"\s+", " ", PAGE.replace("&#39;", "'"))
    for one in COVENANT.purposes.values():
        assert one.title in plain
        assert (one.open_question or "") in plain
        for ground in one.grounds:
            assert str(ground) in plain
    assert PAGE.count("nog te toetsen") + PAGE.count("omstreden") >= sum(
        len(one.untested) for one in COVENANT.purposes.values()
    )
    assert COVENANT.hash.hex() in PAGE
    assert all(one.name in plain for one in COVENANT.participants.values())


def test_fg_46_register_and_dpia_are_annexes() -> None:
    assert "Bijlage A: register van verwerkingen" in PAGE
    assert PAGE.count('<th scope="row">Verwerkingsverantwoordelijken</th>') == len(COVENANT.purposes)
    assert "Bijlage B: DPIA" in PAGE


def test_a_covenant_cannot_write_html_into_the_page() -> None:
    evil = "<script>alert(1)</script>"
    one = purpose("doel", ["om"], {"rvdk": {}}, kader="strafvordering", titel=evil, omschrijving=evil, open_vraag=evil)
    page = report_page(covenant([participant(1, "om", naam=evil), participant(2, "rvdk")], [one]), DAY)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_signatures_are_those_on_this_very_text(tmp_path: Path) -> None:
    folder = sign_all(example(tmp_path / "c"), [OM, OPERATOR])
    states = {it.participant.oin: it.state for it in signatures(load_covenant(folder))}
    assert (states[OM], states[HAARLEM]) == ("getekend", "nog niet")
    with (folder / "doelen/zsm-context.yaml").open("a") as file:
        file.write("# een letter erbij\n")
    assert {it.state for it in signatures(load_covenant(folder))} == {"nog niet"}


def test_the_operators_signature_is_shown_like_the_others(tmp_path: Path) -> None:
    folder = example(tmp_path / "c")
    shown = re.compile(r"\(beheerder\)</th><td [^>]*><span [^>]*>([^<]*)<")
    assert shown.findall(report_page(load_covenant(folder), DAY)) == ["nog niet"]
    assert shown.findall(report_page(load_covenant(sign_all(folder, [OPERATOR])), DAY)) == ["getekend"]


def test_every_condition_stands_once_and_the_page_says_who_may_stop_what() -> None:
    conditions = sum(len(one.conditions) + one.justification + one.weighing for one in COVENANT.purposes.values())
    lists = re.findall(r"<h3>Voorwaarden</h3>\s*<ul>(.*?)</ul>", PAGE, re.DOTALL)
    assert sum(part.count("<li>") for part in lists) == conditions
    assert "Stilzetten" in PAGE


def test_the_command_writes_one_file(tmp_path: Path) -> None:
    file = tmp_path / "convenant.html"
    result = CliRunner().invoke(app, ["report", str(CATALOGUE), str(file), "--op", "2026-12-01"])
    assert result.exit_code == 0
    assert file.read_text("utf-8") == PAGE
    assert "grondslagen niet getoetst" in result.output
