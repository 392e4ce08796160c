"""Standing decisions: of the source itself, for one purpose, at most a year, never where the law forbids."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant, Mode
from bekend_policy.standing import StandingDecision, open_standing, parse_standing
from bekend_proto.errors import KeysError, SignatureError
from bekend_proto.note import sign_note

from tests.support.covenants import EXAMPLE, HAARLEM, NOW, PARTNERS, POLITIE, RECLASSERING, VEILIG_THUIS, ZSM, key_of

COVENANT = replace(load_covenant(EXAMPLE), signed_by=frozenset(PARTNERS))
DECISION = StandingDecision(
    covenant_id="kennemerland",
    source=RECLASSERING,
    purpose=ZSM,
    first_day=date(2026, 11, 1),
    last_day=date(2027, 10, 31),
    decision="Directiebesluit 2026-14, DPIA 2026-03",
)


def note(it: StandingDecision = DECISION, oin: str = RECLASSERING) -> bytes:
    key = key_of(oin)
    return sign_note(it.text(), key.name, key.seed)


def test_a_decision_is_dutch_and_comes_back_as_it_was() -> None:
    assert DECISION.text().startswith("soort: bekend/1 standaardbesluit\nconvenant: kennemerland\n")
    assert parse_standing(DECISION.text()) == DECISION
    assert open_standing(note(), key_of(RECLASSERING).vkey, NOW, COVENANT) == DECISION


def test_only_the_source_itself_decides() -> None:
    with pytest.raises(SignatureError):
        open_standing(note(oin=HAARLEM), key_of(RECLASSERING).vkey, NOW)
    with pytest.raises(KeysError, match="niet getekend door de ondertekenaar van de bron"):
        open_standing(note(oin=HAARLEM), key_of(HAARLEM).vkey, NOW)


def test_it_holds_on_its_days_only() -> None:
    vkey = key_of(RECLASSERING).vkey
    last = DECISION.valid_until - timedelta(seconds=1)
    assert open_standing(note(), vkey, last) == DECISION
    for moment in (DECISION.valid_until, DECISION.valid_from - timedelta(seconds=1)):
        with pytest.raises(KeysError, match="laat een nieuw besluit tekenen"):
            open_standing(note(), vkey, moment)


@pytest.mark.parametrize(
    "broken",
    [
        replace(DECISION, last_day=date(2027, 12, 1)),
        replace(DECISION, last_day=date(2026, 10, 1)),
        replace(DECISION, purpose="elders/zsm-context"),
        replace(DECISION, decision='met "aanhalingstekens"'),
        replace(DECISION, decision="twee\nregels"),
        replace(DECISION, source="12"),
    ],
)
def test_a_decision_that_breaks_a_rule_is_not_written(broken: StandingDecision) -> None:
    with pytest.raises(KeysError):
        broken.text()


def test_a_longer_term_in_the_text_is_refused() -> None:
    with pytest.raises(KeysError, match="ten hoogste een jaar"):
        parse_standing(DECISION.text().replace("2027-10-31", "2029-10-31"))
    with pytest.raises(KeysError, match="onbekende sleutel"):
        parse_standing(DECISION.text() + "extra: x\n")


def test_it_is_refused_where_the_covenant_does_not_ask_for_it() -> None:
    for it in (replace(DECISION, source=POLITIE), replace(DECISION, source=VEILIG_THUIS)):
        with pytest.raises(KeysError, match="geen standaardbesluit"):
            open_standing(note(it, it.source), key_of(it.source).vkey, NOW, COVENANT)


def test_fg_04_it_is_refused_for_veilig_thuis_even_under_a_covenant_that_asks_for_it() -> None:
    purpose = COVENANT.purposes[ZSM]
    terms = {
        party: one.model_copy(update={"mode": Mode.STANDING}) if party == "veilig_thuis" else one
        for party, one in purpose.source_terms.items()
    }
    evil: Covenant = replace(COVENANT, purposes={ZSM: purpose.model_copy(update={"source_terms": terms})})
    it = replace(DECISION, source=VEILIG_THUIS)
    with pytest.raises(KeysError, match="D5: Veilig Thuis antwoordt nooit vanzelf"):
        open_standing(note(it, VEILIG_THUIS), key_of(VEILIG_THUIS).vkey, NOW, evil)


def test_a_decision_at_the_end_of_the_calendar_is_read_as_any_other() -> None:
    text = (
        'soort: bekend/1 standaardbesluit\nconvenant: kennemerland\nbron: "00000099000000001000"\n'
        "doel: kennemerland/zsm\ngeldig_vanaf: 9999-06-01\ngeldig_tot_en_met: 9999-12-31\n"
        'besluit: "besluit"\n'
    )
    assert not parse_standing(text).in_force(datetime(2026, 12, 1, tzinfo=UTC))
