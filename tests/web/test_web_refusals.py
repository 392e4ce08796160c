"""What the form finds against a rule of the covenant is a refusal on the record; a slip of typing is none."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bekend_node.store_decisions import Decisions
from bekend_node.web.worklist import PREPARE
from bekend_proto.clock import milliseconds

from tests.node.test_families import per_person
from tests.support.asking import DIRECTOR, OTHER, PERSON, ZVH_CASE
from tests.support.covenants import HAARLEM, ZVH_WEIGHING
from tests.support.pages import StagedPages, staged
from tests.web.test_web_late import FORM

WHOLE: dict[str, Any] = {
    "zaak": ZVH_CASE,
    "persoon-1": PERSON.value.strip(),
    "voorwaarde-positieve-toets": "ja",
    "voorwaarde-bgs-2-20": "ja",
    "motivering-": "De aanmelding is getoetst, de deelnemers moeten bekend zijn.",
    "partner": [HAARLEM],
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path) as made:
        yield made


def send(site: StagedPages, **changes: Any) -> httpx2.Response:
    """The form, filled in but for the changes."""
    with httpx2.Client(base_url=site.origin, headers={"origin": site.origin}, timeout=30) as client:
        entered = client.post("/inloggen", data={"user": DIRECTOR.user})
        cookie = entered.headers["set-cookie"].partition(";")[0]
        return client.post(FORM, data=WHOLE | changes, headers={"cookie": cookie})


def rules(site: StagedPages) -> list[tuple[bool, str]]:
    """Whether each source of each question on the record was allowed, and by which rule."""
    site.work(site.stage.asker.close())
    now = milliseconds(site.stage.clock.now())
    found = Decisions(site.stage.store.database).own(now - 10**9, now + 1)
    return [(judged.allowed, judged.rule) for one, _ in found for judged in one.judged]


@pytest.mark.parametrize("button", [{}, {PREPARE: "ja"}], ids=["ask", "prepare"])
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"zaak": "99/999999-99"}, "zaaknummer"),
        ({"motivering-": "Het gaat om 999990019, die is aangemeld."}, "motivering"),
        ({"voorwaarde-positieve-toets": ""}, "voorwaarde"),
        ({"zaak": "99/999999-99", "motivering-": "Het gaat om 999990019, die is aangemeld."}, "zaaknummer"),
    ],
)
def test_fg_28_what_a_rule_refuses_is_on_the_record_once(
    site: StagedPages, change: dict[str, Any], rule: str, button: dict[str, str]
) -> None:
    reply = send(site, **change, **button)
    assert reply.status_code == 422
    assert f"regel {rule}" in reply.text
    assert rules(site) == [(False, rule)]
    assert site.stage.line.begins == []


@pytest.mark.parametrize(
    "change",
    [{"persoon-1": "999990018"}, {"persoon-1": ""}, {"zaak": ""}, {"partner": []}, {"motivering-": ""}],
    ids=["no-number", "no-person", "no-case", "nobody-asked", "no-reason"],
)
def test_a_slip_of_typing_is_no_refusal(site: StagedPages, change: dict[str, Any]) -> None:
    assert send(site, **change).status_code == 422
    assert rules(site) == []
    assert site.stage.line.begins == []


def test_a_text_that_is_to_be_read_again_is_neither_asked_nor_refused(site: StagedPages) -> None:
    assert (
        send(site, **{"motivering-": "Aangemeld op 01-02-1990, de deelnemers moeten bekend zijn."}).status_code == 422
    )
    assert rules(site) == []
    assert site.stage.line.begins == []


@pytest.mark.parametrize("kind", ["naam", "naam-geboortedatum", "possible", "BSN", ""])
def test_fg_24_only_a_number_of_a_kind_that_the_purpose_names_is_asked_about(site: StagedPages, kind: str) -> None:
    named = {"soort": kind, "persoon-1": "De Vries 01-02-1990", "naam": "De Vries", "geboren": "01-02-1990"}
    assert send(site, **named).status_code == 422
    assert rules(site) == []
    assert site.stage.line.begins == []


def test_fg_24_where_the_covenant_lists_no_combination_no_field_asks_for_a_name_or_a_date_of_birth(
    site: StagedPages,
) -> None:
    page = send(site, zaak="").text
    fields = set(re.findall(r'<(?:input|textarea|select)[^>]* name="([^"]+)"', page))
    persons = {f"persoon-{number}" for number in range(1, 5)}
    conditions = {name for name in WHOLE if name.startswith("voorwaarde-")}
    assert fields == {"soort", "zaak", "motivering-", "partner", *persons, *conditions}
    kinds = re.findall(r'name="soort" value="([^"]+)"', page)
    assert set(kinds) == set(site.stage.covenant.purposes[ZVH_WEIGHING].kinds)


@pytest.fixture
def families(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path, per_person) as made:
        yield made


def test_each_further_person_is_asked_about_with_a_reason_of_its_own(families: StagedPages) -> None:
    """A field beside each person but the first; a reason beside nobody is left out."""
    reason, two = "de broer woont in hetzelfde huis", {"persoon-3": OTHER.value.strip()}
    refused = send(families, **two)
    assert refused.status_code == 422
    assert "regel motivering-persoon" in refused.text
    assert [name for n in range(1, 6) if f'name="{(name := f"waarom-{n}")}"' in refused.text] == [
        "waarom-2", "waarom-3", "waarom-4"
    ]  # fmt: skip
    asked = send(families, **two, **{"waarom-2": "hier staat niemand bij", "waarom-3": reason})
    assert asked.status_code == 303
    families.work(families.stage.asker.close())
    assert [len(one.elements) for one in families.stage.line.begins] == [2]
