"""`bekend policy explain`: every rule, its verdict, and never another verdict than that of `decide`."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import bekend_policy.decide
from bekend_policy.decide import Asked, decide
from bekend_policy.directions import DIRECTIONS
from bekend_policy.explain import Verdict, explain, explain_draft, rules
from bekend_policy.load import load_covenant
from bekend_policy.routes import CERTAIN, as_if_signed, asked_by, noon, routes
from bekend_policy.tools_cli import app
from typer.testing import CliRunner

from tests.support.covenants import CATALOGUE, HAARLEM, OM, POLITIE, ZSM

COVENANT = as_if_signed(load_covenant(CATALOGUE))
NOW = noon(date(2026, 12, 1))


def test_every_rule_that_decide_can_name_has_its_step() -> None:
    source = Path(bekend_policy.decide.__file__).read_text("utf-8")
    # Rules stand as the first argument of _deny, or in the table at the head of the module.
    named = set(re.findall(r'_deny\(\s*"([a-z-]+)"', source)) | {direction.id for direction in DIRECTIONS}
    assert named <= set(rules())


def test_on_every_route_the_one_that_refuses_is_the_one_that_decide_names() -> None:
    for route in routes(COVENANT):
        asked = asked_by(route, COVENANT)
        found, decision = explain(COVENANT, asked, NOW), decide(COVENANT, asked, NOW)
        assert found.decision == decision
        refused = [step.rule for step in found.steps if step.verdict is Verdict.REFUSED]
        assert refused == ([] if decision.allowed else [decision.rule])
        skipped = [step for step in found.steps if step.verdict is Verdict.SKIPPED]
        assert bool(skipped) is not decision.allowed


def test_what_only_the_requester_knows_is_said_to_be_unknown() -> None:
    asked = Asked(OM, POLITIE, ZSM, None, 1, CERTAIN, COVENANT.hash)
    unknown = {it.rule for it in explain(COVENANT, asked, NOW).steps if it.verdict is Verdict.UNKNOWN}
    assert unknown == {"bronnen", "rol", "zaaknummer", "voorwaarde", "motivering", "motivering-persoon", "afweging"}
    own = replace(asked, role="officier", case_reference="x")
    assert explain_draft(COVENANT, own, NOW).decision.rule == "zaaknummer"


def test_the_command_says_why_with_the_article() -> None:
    arguments = [
        "explain",
        str(CATALOGUE),
        "--van",
        OM,
        "--aan",
        HAARLEM,
        "--doel",
        "zsm-context",
        "--op",
        "2026-12-01",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "NEE  nooit" in result.output
    assert "Wmo 5.2.1(2)" in result.output
    facts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (facts["allowed"], facts["rule"]) == (False, "nooit")
    assert [step["rule"] for step in facts["steps"]] == rules()


def test_a_reason_that_names_its_article_is_not_told_twice() -> None:
    words = ["explain", str(CATALOGUE), "--van", OM, "--aan", HAARLEM, "--doel", "zsm-context"]
    said = CliRunner().invoke(app, words).stdout
    assert said.count("Wmo 5.2.1(2)") == 1
