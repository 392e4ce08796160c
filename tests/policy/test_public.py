"""`bekend policy openbaar`: the page for residents says what the covenant says, and nothing that it does not."""

import re
from datetime import date, timedelta
from html import unescape
from pathlib import Path

import pytest
from bekend_policy.cli import app
from bekend_policy.load import load_covenant
from bekend_policy.model import Mode
from bekend_policy.public import public_page, status
from typer.testing import CliRunner

from tests.policy.test_bulletin_page import FILES, JOINT, Outline
from tests.support.building import covenant, participant, purpose
from tests.support.covenants import CATALOGUE

COVENANT = load_covenant(CATALOGUE)
DAY = COVENANT.agreement.first_day
PAGE = public_page(COVENANT, DAY, JOINT)
PLAIN = re.sub(r"\s+", " ", unescape(PAGE))


def test_the_page_is_well_formed_and_needs_nothing() -> None:
    outline = Outline(PAGE)
    assert outline.open == []
    assert not {"script", "img", "link", "iframe", "form"} & outline.tags
    assert not re.search(r"https?://|@import|url\(", PAGE)
    assert outline.unnamed == 0


def test_fg_47_every_partner_purpose_ground_and_status_is_on_it() -> None:
    for one in COVENANT.participants.values():
        assert one.name in PLAIN
    for it in COVENANT.purposes.values():
        assert it.title in PLAIN
        assert status(COVENANT, it, DAY) in PLAIN
        assert all(str(ground) in PLAIN for ground in it.grounds)
    for word in ("Inzage vragen", "Bezwaar maken", "Autoriteit Persoonsgegevens", "bewijst niets"):
        assert word in PLAIN
    assert "ongeveer 1.100" in PLAIN


def test_without_bulletins_it_says_that_there_are_no_figures() -> None:
    assert "Er zijn nog geen cijfers" in public_page(COVENANT, DAY)


def test_how_a_purpose_stands() -> None:
    made = covenant(
        [participant(1, "om"), participant(2, "politie")],
        [
            purpose("aan", ["om"], {"politie": {"modus": Mode.AUTOMATIC.value}}),
            purpose("uit", ["om"], {"politie": {"modus": Mode.AUTOMATIC.value}}, in_dienst="nee"),
        ],
    )
    on, off = made.purposes["bouw/aan"], made.purposes["bouw/uit"]
    first, last = made.agreement.first_day, made.agreement.last_day
    assert status(made, off, first).startswith("buiten dienst")
    assert status(made, on, first).startswith("in gebruik")
    assert status(made, on, first - timedelta(days=1)).startswith("nog niet")
    assert status(made, on, last + timedelta(days=1)).startswith("gestopt")


def test_what_a_covenant_says_is_text_and_never_markup() -> None:
    made = covenant(
        [participant(1, "om"), participant(2, "politie")],
        [purpose("a", ["om"], {"politie": {"modus": "automatisch"}}, titel="<script>alert(1)</script>")],
    )
    assert "<script>" not in public_page(made, date(2026, 12, 1))


@pytest.mark.parametrize("covenant_id", ["kennemerland", "elders"])
def test_the_command(tmp_path: Path, covenant_id: str) -> None:
    bulletin = tmp_path / "om.json"
    bulletin.write_text(FILES[0].to_text().replace('"convenant": "kennemerland"', f'"convenant": "{covenant_id}"'))
    out = tmp_path / "openbaar.html"
    words = ["openbaar", str(CATALOGUE), "--uit", str(out), "--bulletin", str(bulletin)]
    done = CliRunner().invoke(app, words)
    if covenant_id == COVENANT.id:
        assert done.exit_code == 0, done.output
        assert "ongeveer 810" in out.read_text("utf-8")
    else:
        assert (done.exit_code, out.exists()) == (1, False)
