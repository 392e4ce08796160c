"""`bekend policy diff`: sentences for what the files change, and every combination that comes out otherwise."""

import json
from datetime import date
from pathlib import Path

from bekend_policy.diff import compare, diff_lines, route_sentences
from bekend_policy.load import load_covenant
from bekend_policy.tools_cli import app
from typer.testing import CliRunner

from tests.support.covenants import EXAMPLE, OM, RECLASSERING, VEILIG_THUIS, ZSM, edit, example

DAY = date(2026, 12, 1)


def changed(folder: Path, file: str, pattern: str, replacement: str) -> tuple[list[str], list[str]]:
    """Sentences of the files and of the combinations after one edit."""
    edit(example(folder) / file, pattern, replacement)
    old, new = load_covenant(example(folder.with_name("oud"))), load_covenant(folder)
    found = compare(old, new, DAY)
    return [it.text for it in found.changes], list(route_sentences(old, new, found.routes))


def test_the_same_covenant_has_no_difference() -> None:
    one = load_covenant(EXAMPLE)
    found = compare(one, one, DAY)
    assert (found.changes, found.routes, found.questions_changed) == ((), (), 0)
    assert found.tried > 100
    assert "Geen verschil." in list(diff_lines(one, one, found))


def test_a_new_asker_is_named_with_everyone_that_it_may_ask_now(tmp_path: Path) -> None:
    file = "doelen/zsm-lokale-context.yaml"
    texts, routes = changed(tmp_path / "n", file, r"organisaties: \[om\]", "organisaties: [om, reclassering]")
    assert texts == ["Reclassering mag onder 'ZSM: lokale context' nu vragen."]
    asks = "mag voor doel 'ZSM: lokale context' nu ook gevraagd worden door Reclassering Noord-Holland"
    assert f"Gemeente Haarlem (college) {asks} (standaardbesluit)." in routes
    assert f"Gemeente Velsen (college) {asks} (standaardbesluit)." in routes


def test_a_text_that_ends_with_a_full_stop_gets_no_second_one(tmp_path: Path) -> None:
    file = "doelen/zsm-lokale-context.yaml"
    texts, _ = changed(tmp_path / "n", file, r"(?m)^vier_ogen", 'let_op: "Kijk eerst."\nvier_ogen')
    assert texts == ["Onder 'ZSM: lokale context': 'let op' is nieuw: Kijk eerst."]
    texts, _ = changed(tmp_path / "tweede" / "n", file, r"(?m)^informeren: .*", 'informeren: "Achteraf."')
    assert "is nu: Achteraf; dat was: " in texts[0]
    assert not texts[0].endswith("..")


def test_another_mode_is_said_from_the_file_and_from_the_outcome(tmp_path: Path) -> None:
    texts, routes = changed(
        tmp_path / "n",
        "doelen/zsm-context.yaml",
        r"modus: standaardbesluit[^\n]*",
        "modus: handmatig\n    reactietermijn: P1D",
    )
    assert "Bron reclassering onder 'ZSM-contextcheck': de modus is nu: handmatig; dat was: standaardbesluit." in texts
    assert routes == [
        "Reclassering Noord-Holland antwoordt voor doel 'ZSM-contextcheck' aan OM Noord-Holland (ZSM) nu handmatig; "
        "dat was standaardbesluit."
    ]


def test_more_persons_change_questions_and_no_route(tmp_path: Path) -> None:
    edit(example(tmp_path / "n") / "doelen/zsm-context.yaml", "max_personen: 1", "max_personen: 3")
    old, new = load_covenant(example(tmp_path / "o")), load_covenant(tmp_path / "n")
    found = compare(old, new, DAY)
    assert found.routes == ()
    assert found.questions_changed > 0
    assert found.questions_changed % 2 == 0  # two and three persons


def test_a_partner_that_leaves_closes_its_routes(tmp_path: Path) -> None:
    folder = example(tmp_path / "n")
    (folder / "deelnemers/veilig-thuis.yaml").unlink()
    edit(folder / "afspraken.yaml", r"quorum: 7", "quorum: 6")
    old, new = load_covenant(example(tmp_path / "o")), load_covenant(folder)
    found = compare(old, new, DAY)
    assert any("Veilig Thuis Kennemerland doet niet meer mee" in it.text for it in found.changes)
    closed = {it.route.source for it in found.routes if it.before.allowed and not it.after.allowed}
    assert closed == {VEILIG_THUIS}
    assert any("mag voor doel 'ZSM-contextcheck' niet meer gevraagd worden" in it for it in
               route_sentences(old, new, found.routes))  # fmt: skip


def test_json_carries_every_combination(tmp_path: Path) -> None:
    new = example(tmp_path / "n")
    edit(new / "doelen/zsm-context.yaml", r"modus: standaardbesluit[^\n]*", "modus: handmatig\n    reactietermijn: P1D")
    result = CliRunner().invoke(app, ["diff", str(example(tmp_path / "o")), str(new), "--json"])
    [route] = json.loads(result.stdout)["routes"]
    assert (route["purpose"], route["requester"], route["source"]) == (ZSM, OM, RECLASSERING)
    assert (route["before"]["mode"], route["after"]["mode"]) == ("standaardbesluit", "handmatig")
