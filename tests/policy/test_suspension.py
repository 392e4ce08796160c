"""The kill switch as a text: who may throw it, what it hits, and what lifts it (FG-43)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.notes import describe, sign_text
from bekend_policy.suspension import Suspension, Suspensions, What, open_suspension, parse_suspension
from bekend_proto.errors import BekendError, KeysError, RefusedError, SignatureError, SuspendedError
from bekend_proto.note import sign_note

from tests.support.covenants import (
    HAARLEM,
    NOW,
    OM,
    OPERATOR,
    POLITIE,
    RECLASSERING,
    ZSM,
    edit,
    example,
    key_of,
    signed,
)

SINCE = datetime(2026, 12, 1, 11, tzinfo=UTC)


@pytest.fixture
def covenant(tmp_path: Path) -> Covenant:
    return signed(tmp_path / "convenant")


def made(what: What, about: str = "", by: str = OPERATOR, **more: object) -> Suspension:
    facts = {"number": 1, "reason": "Oefening", "since": SINCE}
    return Suspension(covenant_id="kennemerland", what=what, about=about, by=by, **(facts | more))  # type: ignore[arg-type]


def note(suspension: Suspension, signer: str | None = None) -> bytes:
    key = key_of(signer or suspension.by)
    return sign_note(suspension.text(), key.name, key.seed)


def hit(covenant: Covenant, *held: Suspension, now: datetime = NOW) -> set[tuple[str, str]]:
    """Of these questions those that are suspended: requester, source."""
    suspensions = Suspensions()
    for one in held:
        suspensions.put(one, b"")
    found = set()
    for requester, source in ((OM, POLITIE), (OM, RECLASSERING), (POLITIE, POLITIE)):
        try:
            suspensions.check(covenant, ZSM, now, requester=requester, source=source)
        except SuspendedError:
            found.add((requester, source))
    return found


ALL = {(OM, POLITIE), (OM, RECLASSERING), (POLITIE, POLITIE)}
SCOPES = [
    (made(What.FEDERATION), ALL),
    (made(What.PURPOSE, ZSM), ALL),
    (made(What.PURPOSE, "kennemerland/zvh-weging-betrokkenheid"), set()),
    (made(What.PURPOSE, ZSM, POLITIE), {(OM, POLITIE), (POLITIE, POLITIE)}),
    (made(What.NODE, POLITIE, POLITIE), {(OM, POLITIE), (POLITIE, POLITIE)}),
    (made(What.NODE, OM), {(OM, POLITIE), (OM, RECLASSERING)}),
]


@pytest.mark.parametrize(("suspension", "expected"), SCOPES, ids=lambda it: str(getattr(it, "key", "")))
def test_fg_43_what_is_suspended_and_what_goes_on(
    covenant: Covenant, suspension: Suspension, expected: set[tuple[str, str]]
) -> None:
    assert hit(covenant, suspension) == expected
    assert parse_suspension(suspension.text()) == suspension


@pytest.mark.parametrize(("suspension", "_"), SCOPES, ids=lambda it: str(getattr(it, "key", "")))
def test_fg_43_only_who_may_and_only_its_own_key(covenant: Covenant, suspension: Suspension, _: object) -> None:
    assert open_suspension(note(suspension), [covenant]) == suspension
    for other in {OM, POLITIE, OPERATOR} - {suspension.by}:
        with pytest.raises(SignatureError):
            open_suspension(note(suspension, other), [covenant])


@pytest.mark.parametrize(
    "suspension",
    [
        made(What.FEDERATION, by=OM),
        made(What.NODE, POLITIE, OM),
        made(What.PURPOSE, ZSM, OM),
        made(What.PURPOSE, "kennemerland/onbekend"),
        made(What.NODE, "00000099000000008888"),
    ],
    ids=["federation", "another node", "not its source", "no such purpose", "no such node"],
)
def test_fg_43_nobody_suspends_what_is_not_his(covenant: Covenant, suspension: Suspension) -> None:
    with pytest.raises(RefusedError):
        open_suspension(note(suspension), [covenant])


def test_whom_the_agreement_names_may_suspend_too(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    agreement = folder / "afspraken.yaml"
    agreement.write_text(f'{agreement.read_text("utf-8")}\nstilzetten:\n  federatie: ["{HAARLEM}"]\n', "utf-8")
    covenant = load_covenant(folder)
    found = made(What.FEDERATION, by=HAARLEM)
    assert open_suspension(note(found), [covenant]) == found
    assert hit(covenant, found) == ALL
    with pytest.raises(RefusedError):
        open_suspension(note(made(What.FEDERATION, by=OM)), [covenant])


def test_the_reason_is_told_in_dutch(covenant: Covenant) -> None:
    suspensions = Suspensions()
    suspensions.put(made(What.NODE, POLITIE, POLITIE), b"")
    with pytest.raises(SuspendedError, match=r"^Het knooppunt van Politie.* is stilgezet door Politie.*: Oefening$"):
        suspensions.check(covenant, ZSM, NOW, requester=OM, source=POLITIE)


def test_it_holds_from_its_beginning_to_its_end(covenant: Covenant) -> None:
    found = made(What.FEDERATION, until=SINCE + timedelta(hours=2))
    assert not hit(covenant, found, now=SINCE - timedelta(seconds=1))
    assert hit(covenant, found, now=SINCE) == ALL
    assert not hit(covenant, found, now=SINCE + timedelta(hours=2))


def test_only_a_withdrawal_lifts_it_and_a_later_beginning_leaves_no_gap(covenant: Covenant) -> None:
    first = made(What.FEDERATION)
    assert hit(covenant, first, replace(first, number=2, since=NOW + timedelta(days=1))) == ALL
    assert not hit(covenant, first, replace(first, number=2, lifted=True))
    # Another signer's withdrawal is about his own suspension only.
    assert hit(covenant, made(What.NODE, POLITIE), made(What.NODE, POLITIE, POLITIE, number=9, lifted=True))


def test_a_withdrawal_that_is_dated_ahead_lifts_nothing_before_its_moment(covenant: Covenant) -> None:
    stopped = made(What.FEDERATION)
    lifted = replace(stopped, number=2, lifted=True, since=NOW + timedelta(hours=9))
    assert hit(covenant, stopped, lifted) == ALL
    assert hit(covenant, stopped, lifted, now=NOW + timedelta(hours=8)) == ALL
    assert not hit(covenant, stopped, lifted, now=NOW + timedelta(hours=9))
    # After a restart, and where the first one was not heard of, there is the newest note alone.
    assert hit(covenant, lifted) == ALL
    held = Suspensions()
    held.put(lifted, b"")
    with pytest.raises(SuspendedError, match=r"stilgezet door de beheerder, tot 2026-.*Z: Oefening$"):
        held.check_node(covenant, OM, NOW)


def test_who_brings_a_note_in_is_told_that_it_would_leave_a_gap(covenant: Covenant) -> None:
    held, first = Suspensions(), made(What.FEDERATION, until=NOW + timedelta(hours=1))
    held.put(first, b"")
    later = replace(first, number=2, since=NOW + timedelta(hours=9), until=None)
    with pytest.raises(RefusedError, match=r"nu geldt stilzetting 1, en 2 begint pas op"):
        held.check_no_gap(later, NOW)
    for fine in (replace(later, since=NOW), replace(later, lifted=True), replace(later, about=ZSM, what=What.PURPOSE)):
        held.check_no_gap(fine, NOW)
    held.check_no_gap(later, NOW + timedelta(hours=1))


def renewed(tmp_path: Path) -> Covenant:
    """The politie has another key, in the place of its old one."""
    folder = example(tmp_path / "renewed")
    path = next(path for path in (folder / "deelnemers").iterdir() if POLITIE in path.read_text("utf-8"))
    old = key_of(POLITIE).vkey
    edit(path, r"bekend/\d{20}/ondertekenaar\+[^\"]+", key_of(POLITIE, 2).vkey)
    path.write_text(f'{path.read_text("utf-8")}\nvervangt: ["{old}"]\n', "utf-8")
    return load_covenant(folder)


def test_a_renewed_key_undoes_no_suspension(tmp_path: Path) -> None:
    found = made(What.NODE, POLITIE, POLITIE)
    assert open_suspension(note(found), [renewed(tmp_path)]) == found


def test_fg_43_a_key_that_was_replaced_lifts_shortens_and_changes_nothing(tmp_path: Path, covenant: Covenant) -> None:
    """A thief has the old key; the new one suspended the node. Also while the old version still counts."""
    key = key_of(POLITIE, 2)
    stopped = made(What.NODE, POLITIE, POLITIE)
    for versions in ([renewed(tmp_path)], [renewed(tmp_path / "again"), covenant]):
        held = Suspensions()
        found = open_suspension(sign_note(stopped.text(), key.name, key.seed), versions)
        held.check_newer(found)
        held.put(found, b"")
        with pytest.raises(RefusedError, match="trekt niets in"):
            open_suspension(note(replace(stopped, number=2, lifted=True)), versions)
        shorter = open_suspension(note(replace(stopped, number=2, until=NOW + timedelta(seconds=1))), versions)
        with pytest.raises(RefusedError, match="verandert niets"):
            held.check_newer(shorter)
        own = open_suspension(sign_note(replace(stopped, number=2, lifted=True).text(), key.name, key.seed), versions)
        held.check_newer(own)


@pytest.mark.parametrize(
    ("pattern", "becomes"),
    [
        ("nummer: 1", "nummer: 0"),
        ("wat: doel", "wat: alles"),
        ("wat: doel", "wat: federatie"),
        ("doel: kennemerland/zsm-context", "doel: elders/zsm-context"),
        ("intrekking: nee", "intrekking: misschien"),
        ('reden: "Oefening"', 'reden: ""'),
        ("vanaf: 2026-12-01T11:00:00Z", "vanaf: gisteren"),
        ("soort: bekend/1 stilzetting", "soort: bekend/1 standaardbesluit"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused_before_anybody_signs(tmp_path: Path, pattern: str, becomes: str) -> None:
    text = made(What.PURPOSE, ZSM).text()
    assert pattern in text
    path = tmp_path / "stil"
    path.write_text(text.replace(pattern, becomes), "utf-8")
    with pytest.raises(BekendError):
        sign_text(path, key_of(OPERATOR))
    assert not path.with_name("stil.note").exists()


def test_policy_sign_knows_the_kind(tmp_path: Path, covenant: Covenant) -> None:
    path = tmp_path / "stil"
    path.write_text(made(What.PURPOSE, ZSM).text(), "utf-8")
    found = open_suspension(sign_text(path, key_of(OPERATOR)).read_bytes(), [covenant])
    assert found == made(What.PURPOSE, ZSM)
    assert describe(found.text()) == f"stilzetting 1: doel {ZSM}"


def test_a_withdrawal_has_no_end() -> None:
    with pytest.raises(KeysError, match="tot"):
        made(What.FEDERATION, lifted=True, until=NOW).text()
