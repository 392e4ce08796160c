"""Terms, the audit before their end, and the signed note: the clock of FG-31."""

import dataclasses
from datetime import UTC, date, datetime, timedelta

import pytest
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.retention import (
    NEVER,
    Kept,
    bounded,
    needs_audit,
    open_kept,
    over_before,
    parse_kept,
    parties_of,
    term_years,
    years_before,
)
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import KeysError, SignatureError
from bekend_proto.note import add_signature, sign_note
from hypothesis import given
from hypothesis import strategies as st

from tests.support.covenants import (
    EXAMPLE,
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    ZSM,
    ZVH,
    ZVH_WEIGHING,
    key_of,
)

NOW = datetime(2032, 3, 31, 10, tzinfo=UTC)
AUDITED = Kept(OM, 1, date(2027, 3, 31), None, "rapport 2031-4")


@pytest.fixture
def covenant() -> Covenant:
    return load_covenant(EXAMPLE)


@pytest.mark.parametrize(
    ("now", "years", "then"),
    [
        # In summer as in winter: the same clock time in Amsterdam.
        (datetime(2031, 7, 1, 22, 30, tzinfo=UTC), 5, datetime(2026, 7, 1, 22, 30, tzinfo=UTC)),
        # The last Sunday of March moves: 28 March 2027 is summer time, 28 March 2031 is winter time.
        (datetime(2031, 3, 28, 23, 0, tzinfo=UTC), 4, datetime(2027, 3, 28, 22, 0, tzinfo=UTC)),
        (datetime(2032, 2, 29, 12, 0, tzinfo=UTC), 5, datetime(2027, 2, 28, 12, 0, tzinfo=UTC)),
        (datetime(2032, 2, 29, 12, 0, tzinfo=UTC), 4, datetime(2028, 2, 29, 12, 0, tzinfo=UTC)),
    ],
)
def test_years_are_of_the_calendar_in_amsterdam(now: datetime, years: int, then: datetime) -> None:
    assert years_before(now, years) == then


@given(st.integers(0, 2_000_000_000), st.integers(1, 5))
def test_a_term_is_so_many_years_whatever_the_moment(seconds: int, years: int) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    then = years_before(now, years).astimezone(AMSTERDAM)
    local = now.astimezone(AMSTERDAM)
    assert (then.year, then.month) == (local.year - years, local.month)
    assert then.day == local.day or (local.month, local.day, then.day) == (2, 29, 28)


def test_fg_31_police_and_om_at_least_four_years_and_nobody_more_than_five(covenant: Covenant) -> None:
    agreement = covenant.agreement.model_copy(update={"log_years": 2})
    found = dataclasses.replace(covenant, agreement=agreement)
    assert term_years(found, ZVH_WEIGHING, {ZVH, HAARLEM}) == 2
    for other in (OM, POLITIE):
        assert term_years(found, ZVH_WEIGHING, {ZVH, other}) == 4
    # Whom the covenant no longer names may have been one of them.
    assert term_years(found, ZVH_WEIGHING, {ZVH, "00000099000000008888"}) == 4
    assert term_years(covenant, ZSM, {OM, POLITIE}) == 5


def test_fg_31_what_the_law_has_audited_waits_for_the_audit(covenant: Covenant) -> None:
    parties = parties_of(covenant, ZSM, OM, RECLASSERING)
    assert needs_audit(covenant, ZSM, parties)
    assert over_before(covenant, ZSM, parties, None, NOW) == NEVER
    # The audit covers up to and including its last day, in Amsterdam.
    assert over_before(covenant, ZSM, parties, Kept(OM, 1, date(2027, 1, 31), None, "r"), NOW) == datetime(
        2027, 1, 31, 23, tzinfo=UTC
    )
    # An audit of later days lets nothing go before its term.
    assert over_before(covenant, ZSM, parties, Kept(OM, 1, date(2030, 1, 1), None, "r"), NOW) == years_before(NOW, 5)


def test_fg_31_without_police_om_or_wgs_the_term_alone_counts(covenant: Covenant) -> None:
    assert not needs_audit(covenant, "", {HAARLEM, RECLASSERING})
    assert needs_audit(covenant, ZVH_WEIGHING, {HAARLEM, ZVH})
    # A purpose that the covenant no longer has may have been one of the WGS.
    assert needs_audit(covenant, "kennemerland/vroeger", {HAARLEM, RECLASSERING})
    assert over_before(covenant, "", {HAARLEM}, None, NOW) == years_before(NOW, 5)


def test_fg_31_a_claim_keeps_everything_up_to_and_including_its_last_day() -> None:
    end = years_before(NOW, 5)
    claim = Kept(OM, 2, date(2027, 3, 31), NOW.astimezone(AMSTERDAM).date(), "procedure 2032/1")
    assert bounded(end, claim, NOW, audit=False) == NEVER
    last = datetime(2032, 3, 31, 21, 59, 59, tzinfo=UTC)
    assert bounded(end, claim, last, audit=False) == NEVER
    assert bounded(end, claim, last + timedelta(seconds=1), audit=False) == end


def test_the_note_reads_as_it_was_written() -> None:
    for kept in (
        AUDITED,
        Kept(OM, 7, None, date(2033, 1, 1), "procedure"),
        Kept(OM, 8, date(2030, 1, 1), NOW.date(), "x"),
    ):
        assert parse_kept(kept.text()) == kept


def test_every_key_of_the_organisation_must_have_signed() -> None:
    signer, lawyer = key_of(OM), key_of(OM, role="jurist")
    note = sign_note(AUDITED.text(), signer.name, signer.seed)
    with pytest.raises(SignatureError, match="jurist"):
        open_kept(note, OM, (signer.vkey, lawyer.vkey), NOW.date())
    both = add_signature(note, lawyer.name, lawyer.seed)
    assert open_kept(both, OM, (signer.vkey, lawyer.vkey), NOW.date()) == AUDITED
    with pytest.raises(KeysError, match="van"):
        open_kept(both, POLITIE, (signer.vkey,), NOW.date())
    with pytest.raises(SignatureError):
        open_kept(note, OM, (key_of(POLITIE).vkey,), NOW.date())


@pytest.mark.parametrize(
    "text",
    [
        "soort: bekend/1 iets\n" + AUDITED.text().split("\n", 1)[1],
        AUDITED.text().replace("audit_tot_en_met: 2027-03-31\n", ""),
        AUDITED.text().replace("2027-03-31", "gisteren"),
        AUDITED.text().replace("nummer: 1", "nummer: 0"),
        AUDITED.text() + "nog_iets: ja\n",
        AUDITED.text().replace("rapport 2031-4", " "),
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(KeysError):
        parse_kept(text)


def test_an_audit_of_days_to_come_is_refused() -> None:
    key = key_of(OM)
    ahead = Kept(OM, 1, NOW.date() + timedelta(days=1), None, "vooruit")
    with pytest.raises(KeysError, match="nog komen"):
        open_kept(sign_note(ahead.text(), key.name, key.seed), OM, (key.vkey,), NOW.date())
