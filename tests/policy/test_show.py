"""`bekend policy show`: a purpose in Dutch, with nothing left out."""

import json
from datetime import timedelta

import pytest
from bekend_policy.load import load_covenant
from bekend_policy.show import condition_text, purpose_facts, show_covenant, show_purpose
from bekend_policy.tools_cli import app
from bekend_policy.wording import listed, term
from typer.testing import CliRunner

from tests.support.covenants import CATALOGUE

COVENANT = load_covenant(CATALOGUE)


@pytest.mark.parametrize("purpose_id", COVENANT.purposes)
def test_everything_that_the_file_says_is_shown(purpose_id: str) -> None:
    purpose = COVENANT.purposes[purpose_id]
    shown = " ".join(" ".join(show_purpose(COVENANT, purpose)).split())
    for condition in purpose.conditions:
        assert condition.text in shown
    for ground in purpose.grounds:
        assert str(ground) in shown
    for terms in purpose.source_terms.values():
        assert (terms.reason or str(terms.mode)) in shown
        assert all(register in shown for register in terms.registers)
    for text in (purpose.informing, purpose.open_question, purpose.dpia, purpose.advice, purpose.notice):
        assert (text or "").strip() in shown


def test_a_purpose_on_untested_grounds_says_so_first() -> None:
    lines = list(show_purpose(COVENANT, COVENANT.purposes["kennemerland/zsm-lokale-context"]))
    assert any(line.startswith("LET OP: 5 grondslagen") for line in lines[:7])
    assert any("Open vraag" in line for line in lines[:10])


def test_the_agreement_names_every_participant() -> None:
    shown = "\n".join(show_covenant(COVENANT))
    assert all(one.name in shown and one.oin in shown for one in COVENANT.participants.values())


def test_json_has_the_keys_of_the_file_and_who_that_is() -> None:
    result = CliRunner().invoke(app, ["show", str(CATALOGUE), "--doel", "vt-triage", "--json"])
    [purpose] = json.loads(result.stdout)["purposes"]
    assert (purpose["max_personen"], purpose["geldigheid_resultaat"]) == (8, "P7D")
    assert len(purpose["deelnemers"]["vragers"]) == 2
    assert purpose == json.loads(json.dumps(purpose_facts(COVENANT, COVENANT.purposes["kennemerland/vt-triage"])))


def test_a_purpose_that_is_not_there_is_wrong_use() -> None:
    result = CliRunner().invoke(app, ["show", str(CATALOGUE), "--doel", "bestaat-niet"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Doel 'bestaat-niet' bestaat niet. Kies uit: kennemerland/nazorg")


def test_dutch() -> None:
    assert (listed([]), listed(["a"]), listed(["a", "b", "c"])) == ("", "a", "a, b en c")
    assert term(timedelta(hours=72)) == "3 dagen"
    assert term(timedelta(days=1, hours=2, minutes=1)) == "1 dag, 2 uur en 1 minuut"


def test_fg_38_an_age_says_on_which_day_it_counts_and_who_works_it_out() -> None:
    purpose = COVENANT.purposes["kennemerland/zsm-context"]
    age = next(one for one in purpose.conditions if one.id == "leeftijd-12-17")
    assert "leeftijd van 12 tot en met 17 jaar op 'datum-feit'; het systeem van de vrager" in condition_text(age)
    asked = age.model_copy(update={"reference_day": "vraag"})
    assert "17 jaar op de dag van vragen; het systeem van de vrager rekent het uit" in condition_text(asked)
    typed = age.model_copy(update={"reference_day": None})
    assert condition_text(typed).endswith("leeftijd van 12 tot en met 17 jaar; de vrager staat ervoor in")
