"""Dashboards, alerts, runbooks and docs agree with what the code measures."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_broker.metrics import Metrics
from bekend_node.metrics import NodeMetrics
from bekend_proto.interceptors import CallMetrics
from bekend_proto.telemetry import make_registry
from prometheus_client import CollectorRegistry

from tests.support.dashboards import BOARDS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
RULES_TESTS = sorted((ROOT / "deploy" / "prometheus").glob("rules_*test.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
_OWN = re.compile(r"\bbekend_(?:broker|node|grpc|build)_[a-z_]+\b")


def measured(folder: Path) -> set[str]:
    """Names of all series that broker and node can show."""
    broker, registry = Metrics(), make_registry()
    broker.watch_disk(folder)
    CallMetrics(broker.registry)
    NodeMetrics(registry).watch_disk(folder)
    return {name for one in (broker.registry, registry) for name in names(one)}


def names(registry: CollectorRegistry) -> Iterator[str]:
    for family in registry.collect():
        yield from (family.name + suffix for suffix in SUFFIXES.get(family.type, ("",)))


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.mark.parametrize("board", BOARDS)
def test_every_metric_of_a_dashboard_exists_in_the_code(board: str, tmp_path: Path) -> None:
    text = BOARDS[board].read_text("utf-8")
    asked = set(_OWN.findall(text))
    assert len(asked) > 15
    assert asked - measured(tmp_path) == set()


def test_every_metric_of_an_alert_and_of_the_docs_exists_in_the_code(tmp_path: Path) -> None:
    known = measured(tmp_path)
    # The dashboards' and alerts' own names are patterns of names here and there: a regular expression or a prefix.
    texts = [RULES, *RULES_TESTS, *(ROOT / "docs").rglob("*.md"), ROOT / "deploy" / "README.md"]
    wrong = {
        f"{path.name}: {name}" for path in texts for name in _OWN.findall(path.read_text("utf-8")) if name not in known
    }
    assert wrong == set()


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_is_whole(board: str) -> None:
    tree = json.loads(BOARDS[board].read_text("utf-8"))
    assert (tree["uid"], tree["editable"]) == (f"bekend-{board}", False)
    assert len({one["id"] for one in tree["panels"]}) == len(tree["panels"])
    known = alerts()
    for one in tree["panels"]:
        grid = one["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        if one["type"] == "row":
            continue
        assert one["description"].endswith("."), one["title"]
        assert all("$instance" in target["expr"] for target in one["targets"]), one["title"]
        # A panel may name an alert; one that is misspelt leads nowhere.
        assert set(re.findall(r"Bekend\w+", one["description"])) <= set(known), one["title"]


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("Bekend*.md")} == set(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_every_alert_that_a_page_names_exists() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "deploy" / "README.md", RULES]
    named = {name for page in pages for name in re.findall(r"\bBekend[A-Z]\w+", page.read_text("utf-8"))}
    assert named - set(alerts()) == set()


@pytest.mark.parametrize("name", sorted(alerts()))
def test_a_page_says_what_it_means_what_users_see_what_to_do_and_when_it_is_over(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    assert text.startswith(f"# {name}\n")
    parts = ("**What it means.**", "**What users see.**", "**What to do.**", "\n1. ", "**Over when.**")
    assert [part for part in parts if part not in text] == []


def test_every_alert_is_tried_on_and_off() -> None:
    tried: dict[str, set[bool]] = {}
    tests = [test for path in RULES_TESTS for test in yaml.safe_load(path.read_text("utf-8"))["tests"]]
    for test in tests:
        for one in test["alert_rule_test"]:
            tried.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert tried == {name: {False, True} for name in alerts()}
