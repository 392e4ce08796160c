"""The joined bulletin as text, CSV and a page that needs nothing else."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

from bekend_node.bulletin_cli import app
from bekend_policy.bulletin import Bulletin, Quarter, Topic, join, protect
from bekend_policy.bulletin_page import bulletin_csv, bulletin_page, bulletin_text, share
from bekend_policy.load import load_covenant
from typer.testing import CliRunner

from tests.support.covenants import CATALOGUE, OM, POLITIE

COVENANT = load_covenant(CATALOGUE)
ZSM, NAZORG = "kennemerland/zsm-context", "kennemerland/nazorg-ex-gedetineerden"
K2, K3 = Quarter(2026, 2), Quarter(2026, 3)


def a_partner(oin: str, quarter: Quarter, asked: int, late: int, yes: int, no: int) -> Bulletin:
    """A partner's file with every label that its node would give."""
    return protect(
        oin,
        COVENANT.id,
        quarter,
        {
            Topic.ASKED: {ZSM: asked, NAZORG: 4},
            Topic.REFUSED: {"zaaknummer": 12, "D4": 3},
            Topic.LATE: {POLITIE if oin == OM else OM: late},
            Topic.STALE: {POLITIE if oin == OM else OM: 0},
            Topic.CHANGED: {ZSM: yes, NAZORG: 0},
            Topic.UNCHANGED: {ZSM: no, NAZORG: 0},
        },
    )


FILES = [
    a_partner(OM, K2, 812, 14, 31, 72),
    a_partner(OM, K3, 1043, 22, 40, 61),
    a_partner(POLITIE, K3, 57, 3, 11, 19),
]
JOINT = join(FILES)
PAGE = bulletin_page(JOINT, COVENANT)
_VOID = {"meta", "br", "rect", "line"}


class Outline(HTMLParser):
    """What a page opens, and what stands in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.unnamed = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "svg":
            self.unnamed += not {"aria-label", "aria-labelledby"} & dict(attrs).keys()
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag


def test_the_page_is_well_formed_needs_nothing_and_names_every_plot() -> None:
    outline = Outline(PAGE)
    assert outline.open == []
    assert not {"script", "img", "link", "iframe", "form"} & outline.tags
    assert not re.search(r"https?://|@import|url\(", PAGE)
    assert "default-src 'none'" in PAGE
    assert "svg" in outline.tags
    assert outline.unnamed == 0


def test_text_csv_and_page_tell_the_same_figures() -> None:
    text = bulletin_text(JOINT, COVENANT)
    title = COVENANT.purposes[ZSM].title
    # 1.043 and 57, each rounded at its partner.
    assert f"  {title}: ongeveer 1.100\n" in text
    assert "ongeveer 1.100" in PAGE
    rows = {
        (row[0], row[1], row[2]): row[4:]
        for row in csv.reader(bulletin_csv(JOINT, COVENANT).splitlines(), delimiter=";")
    }
    assert rows["2026-K3", "bevragingen", ZSM] == ["1100", "0"]
    assert rows["2026-K3", "bevragingen", NAZORG] == ["", "2"]
    assert rows["2026-K2", "bevragingen", NAZORG] == ["", "1"]
    assert f"  {COVENANT.purposes[NAZORG].title}: weggelaten\n" in text
    assert "  Samen, van wat hier staat: ongeveer 1.100\n" in text
    assert "D4" not in text
    for exact in ("1043", "1.043", "812"):
        assert exact not in text + PAGE


def test_fg_50_the_share_is_of_what_was_told() -> None:
    assert share(JOINT, K3) == 40  # 50 of 130
    assert share(join([a_partner(OM, K2, 50, 0, 3, 80)]), K2) is None
    assert "In ongeveer 40 procent van de zaken" in bulletin_text(JOINT, COVENANT)


def test_the_command_joins_files_and_refuses_one_that_is_not_protected(tmp_path: Path) -> None:
    paths = []
    for number, one in enumerate(FILES):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(one.to_text(), "utf-8")

    def samen(name: str) -> tuple[int, str]:
        words = ["samen", *map(str, paths), "--convenant", str(CATALOGUE), "--uit", str(tmp_path / name)]
        done = CliRunner().invoke(app, words)
        return done.exit_code, done.output

    assert samen("bulletin")[0] == 0
    assert (tmp_path / "bulletin.html").read_text("utf-8") == PAGE
    assert (tmp_path / "bulletin.txt").read_text("utf-8") == bulletin_text(JOINT, COVENANT)
    assert (tmp_path / "bulletin.csv").exists()
    paths[1].write_text(paths[1].read_text("utf-8").replace("1045", "1043"), "utf-8")
    code, said = samen("weer")
    assert (code, (tmp_path / "weer.html").exists()) == (1, False)
    assert "1.json" in said
