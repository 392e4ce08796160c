"""Static analysis: what reads well and does nothing is found by asking everything that can be asked."""

import json
from pathlib import Path

import pytest
from bekend_policy.cli import app
from bekend_policy.findings import findings
from bekend_policy.load import load_covenant
from typer.testing import CliRunner

from tests.support.covenants import CATALOGUE, HAARLEM, ZVH, edit, example

GGZ = "bron 'ggz' kan nooit antwoorden: geen deelnemer is van die soort"
"""The small example names GGZ and has none."""


def found(folder: Path) -> list[str]:
    return [str(it) for it in findings(load_covenant(folder)) if GGZ not in str(it)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return example(tmp_path / "convenant")


def test_the_example_has_one_finding_and_it_names_file_and_remedy(folder: Path) -> None:
    [finding] = findings(load_covenant(folder))
    assert str(finding) == f"doelen/zvh-weging-betrokkenheid.yaml: {GGZ}. Laat haar toetreden of weg."


@pytest.mark.parametrize("nothing", ["'-'", ".", "~", "null", "Null", "'?!'"])
@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("afspraken.yaml", "naam"),
        ("deelnemers/om.yaml", "naam"),
        ("doelen/zsm-context.yaml", "titel"),
        ("doelen/zsm-context.yaml", "informeren"),
    ],
)
def test_a_text_that_says_nothing(folder: Path, file: str, key: str, nothing: str) -> None:
    """No fault: what was signed so stays in force."""
    edit(folder / file, f"(?m)^{key}: .*", f"{key}: {nothing}")
    assert found(folder) == [f"{file}: '{key}' zegt niets. Schrijf een tekst met woorden: mensen lezen dit."]


def test_a_ground_that_names_no_law(folder: Path) -> None:
    edit(folder / "doelen" / "zsm-context.yaml", "wet: RO", "wet: '-'")
    assert any("'grondslag' zegt niets" in it for it in found(folder))


def test_a_purpose_that_nobody_can_use(folder: Path) -> None:
    edit(folder / "doelen" / "zsm-context.yaml", r"organisaties: \[om\]", "organisaties: [halt]")
    edit(folder / "doelen" / "zsm-context.yaml", "modus: automatisch .*", "modus: nooit\n    reden: x")
    assert any("zsm-context.yaml: geen enkele deelnemer kan dit doel gebruiken" in it for it in found(folder))


def test_a_purpose_under_which_every_question_is_refused(folder: Path) -> None:
    edit(folder / "doelen" / "zsm-lokale-context.yaml", "  college_bw:\n", "  zvh:\n    alleen_voor: [politie]\n")
    assert any("niemand kan onder dit doel iets vragen" in it for it in found(folder))


def test_a_source_whom_nobody_may_ask(folder: Path) -> None:
    edit(
        folder / "doelen" / "zsm-context.yaml",
        "registers: .dossiers.\n",
        "registers: [dossiers]\n    alleen_voor: [politie]\n",
    )
    assert any("bron 'veilig_thuis' kan nooit antwoorden: niemand mag haar vragen" in it for it in found(folder))


def test_an_asker_that_may_ask_nobody(folder: Path) -> None:
    path = folder / "doelen" / "zsm-lokale-context.yaml"
    edit(path, r"organisaties: \[om\]", "organisaties: [om, politie]")
    edit(path, r"registers: \[veiligheid", "alleen_voor: [om]\n    registers: [veiligheid")
    assert any("vrager 'politie' mag onder dit doel niemand iets vragen" in it for it in found(folder))


def test_a_condition_of_a_source_that_never_answers(folder: Path) -> None:
    path = folder / "doelen" / "zsm-context.yaml"
    edit(path, "  ggz:\n    modus: nooit\n", "  ggz:\n    modus: nooit\n    mits: [extra]\n")
    edit(path, "  - {id: verdachte", '  - {id: extra, tekst: "x", controle: vrager}\n  - {id: verdachte')
    lines = found(folder)
    assert any("voorwaarde 'extra' hoort bij een bron die nooit antwoordt" in it for it in lines)
    assert any("bron 'ggz' antwoordt nooit: haar voorwaarden en grondslag beslissen niets" in it for it in lines)


def test_limits_that_cannot_be_reached(folder: Path) -> None:
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", "per_persoon: 10", "per_persoon: 3")
    edit(
        folder / "doelen" / "zsm-context.yaml",
        "geldigheid_resultaat",
        "verhoging: {per_persoon: 90, rollen: [officier]}\ngeldigheid_resultaat",
    )
    lines = found(folder)
    assert any("max_personen 4 past niet in max_per_dag van één persoon" in it for it in lines)
    assert any("de verhoging komt boven totalen_per_dag uit" in it for it in lines)


def test_a_list_that_is_too_old_before_its_filter_comes(folder: Path) -> None:
    edit(
        folder / "doelen" / "zsm-context.yaml",
        r"registers: \[politie",
        "maximale_ouderdom_lijst: PT1H\n    registers: [politie",
    )
    edit(folder / "afspraken.yaml", "quorum", "filter_interval: PT6H\nquorum")
    assert any("bron 'politie': de lijst is al te oud voordat een nieuw filter komt" in it for it in found(folder))


def test_a_term_that_outlasts_the_outcome_and_a_trial_that_outlasts_the_covenant(folder: Path) -> None:
    path = folder / "doelen" / "zsm-context.yaml"
    edit(path, "geldigheid_resultaat: PT72H", "geldigheid_resultaat: PT48H")
    edit(path, r"einddatum: \S+", "einddatum: 2028-01-31")
    lines = found(folder)
    assert any("bron 'reclassering': een antwoord kan komen nadat de uitkomst al is vervallen" in it for it in lines)
    assert not any("bron 'politie': een antwoord" in it for it in lines)
    assert any("de einddatum ligt na het einde van het convenant en beslist niets" in it for it in lines)


def test_a_mandate_with_which_nobody_can_be_asked(folder: Path) -> None:
    path = folder / "doelen" / "zvh-weging-betrokkenheid.yaml"
    edit(path, r"(?m)^      mandaat: .*$", '      mandaat: "Besluit"\n      tot_en_met: 2026-10-31')
    assert any(f"met het mandaat van {HAARLEM} aan {ZVH} is niemand te vragen" in it for it in found(folder))


def test_who_asks_but_never_answers_and_who_does_neither(folder: Path) -> None:
    edit(
        folder / "doelen" / "zvh-weging-betrokkenheid.yaml",
        "  om:\n    modus: standaardbesluit",
        "  dji:\n    modus: standaardbesluit",
    )
    lines = found(folder)
    assert any(
        "deelnemers/om.yaml: OM Noord-Holland (ZSM) vraagt, maar wordt zelf nooit bevraagd" in it for it in lines
    )
    edit(folder / "deelnemers" / "velsen.yaml", "soort: college_bw", "soort: woningcorporatie")
    assert any("velsen.yaml: Gemeente Velsen (college) vraagt niet en antwoordt niet" in it for it in found(folder))


def test_check_shows_findings_and_is_still_good() -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["check", *words])
        assert result.exit_code == 0
        return result.stdout

    assert "Let op" not in run(str(CATALOGUE))
    assert json.loads(run(str(CATALOGUE), "--json"))["findings"] == []
    small = str(CATALOGUE.parents[2] / "tests" / "support" / "convenant" / "kennemerland")
    assert f"Let op: doelen/zvh-weging-betrokkenheid.yaml: {GGZ}" in run(small)
