"""A folder becomes a covenant, or every fault at once: with its file, its line and a remedy in Dutch."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_policy.faults import CovenantFaults
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant, Mode

from tests.support.covenants import (
    EVIL,
    EXAMPLE,
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VELSEN,
    ZSM,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
    edit,
    example,
)


@pytest.fixture(scope="module")
def covenant() -> Covenant:
    return load_covenant(EXAMPLE)


def as_it_is(evil: Path, folder: Path) -> Path:
    """The example with a hostile overlay, keys untouched."""
    shutil.copytree(EXAMPLE, folder)
    shutil.copytree(evil, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("VERWACHT"))
    return folder


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(CovenantFaults) as caught:
        load_covenant(folder)
    return [str(fault) for fault in caught.value.faults]


def test_the_example_has_no_faults(covenant: Covenant) -> None:
    assert (covenant.id, covenant.version, covenant.demo) == ("kennemerland", 1, True)
    assert sorted(covenant.purposes) == [ZSM, ZSM_LOCAL, ZVH_WEIGHING]
    assert covenant.participants[OM].kind == "om"
    assert covenant.totals.per_organisation == 300
    assert len(covenant.hash) == 32


def test_sources_follow_kinds_and_keep_their_terms(covenant: Covenant) -> None:
    sources = covenant.sources(ZSM)
    assert sources[POLITIE].mode is Mode.AUTOMATIC
    assert sources[RECLASSERING].mode is Mode.STANDING
    assert sources[HAARLEM].mode is Mode.NEVER
    assert sources[POLITIE].max_list_age == timedelta(days=3)
    local = covenant.sources(ZSM_LOCAL)
    assert set(local) == {HAARLEM, VELSEN}
    assert local[VELSEN].registers == ("veiligheid", "nazorg", "leerplicht")
    assert covenant.sources("kennemerland/bestaat-niet") == {}


def test_a_folder_that_is_no_covenant_is_not_emptied_on_our_word(tmp_path: Path) -> None:
    """Who names the folder of purposes by mistake must not read that each of them is to be removed."""
    folder = example(tmp_path / "convenant") / "doelen"
    assert faults_of(folder) == [
        f"{folder}: hier staat geen afspraken.yaml. Noem de map van het convenant: daarin staat afspraken.yaml."
    ]


def test_fg_11_a_covenant_names_no_desk(tmp_path: Path) -> None:
    """A desk that the operator could change would send callers, with a name on their lips, to somebody else."""
    folder = example(tmp_path / "convenant")
    edit(folder / "deelnemers" / "om.yaml", "soort: om", 'soort: om\nloket: "Loket, loket@broker.example"')
    assert any("loket" in fault for fault in faults_of(folder))


def test_a_person_at_the_source_always_has_a_term(covenant: Covenant) -> None:
    """A standing decision may lapse: then a colleague decides, within the term of the file or three days."""
    for purpose in covenant.purposes:
        for source in covenant.sources(purpose).values():
            assert (source.reply_term is None) is (source.mode in {Mode.AUTOMATIC, Mode.NEVER})
    assert covenant.sources(ZSM)[RECLASSERING].reply_term == timedelta(days=3)


def test_a_standing_decision_may_have_a_term_of_its_own(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    edit(
        folder / "doelen/zsm-context.yaml",
        "modus: standaardbesluit",
        "modus: standaardbesluit\n    reactietermijn: PT8H",
    )
    assert load_covenant(folder).sources(ZSM)[RECLASSERING].reply_term == timedelta(hours=8)


@pytest.mark.parametrize(
    ("pattern", "replacement", "fault"),
    [
        ("modus: automatisch", "modus: automatisch\n    reactietermijn: P2D", "heeft geen reactietermijn"),
        (r"modus: standaardbesluit", "modus: standaardbesluit\n    reactietermijn: P0D", "langer dan nul"),
        (r"modus: automatisch", "modus: handmatig", "ontbreekt de reactietermijn"),
    ],
)
def test_a_term_that_cannot_be_is_refused(pattern: str, replacement: str, fault: str, tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    edit(folder / "doelen/zsm-context.yaml", pattern, replacement)
    assert any(fault in it for it in faults_of(folder))


def test_late_answers_are_collected_every_quarter_of_an_hour_unless_a_demo_says_less(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    assert load_covenant(folder).collect_interval == timedelta(minutes=15)
    edit(folder / "afspraken.yaml", "quorum: 7", "quorum: 7\nophalen_elke: PT1S")
    assert load_covenant(folder).collect_interval == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("demo", "value", "fault"),
    [
        ("nee", "PT1S", "ophalen_elke is PT15M; alleen een demo kan sneller"),
        ("nee", "PT1H", "ophalen_elke is PT15M; alleen een demo kan sneller"),
        ("ja", "PT0S", "ophalen_elke moet tussen PT1S en PT15M liggen"),
        ("ja", "PT16M", "ophalen_elke moet tussen PT1S en PT15M liggen"),
    ],
)
def test_another_interval_for_collecting_is_refused(demo: str, value: str, fault: str, tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    edit(folder / "afspraken.yaml", "demo: ja", f"demo: {demo}\nophalen_elke: {value}")
    assert any(fault in it for it in faults_of(folder))


def test_requesters_ask_for_themselves_or_under_a_mandate(covenant: Covenant) -> None:
    requesters = covenant.requesters(ZVH_WEIGHING)
    assert requesters[ZVH].on_behalf_of == {HAARLEM}
    assert not requesters[ZVH].for_itself
    assert requesters[HAARLEM].for_itself
    assert set(covenant.requesters(ZSM)) == {OM}


def test_served_by_leaves_out_never(covenant: Covenant) -> None:
    assert {purpose for purpose, _ in covenant.served_by(HAARLEM)} == {ZSM_LOCAL, ZVH_WEIGHING}


def test_days_are_those_of_amsterdam_and_the_last_day_counts(covenant: Covenant) -> None:
    assert covenant.valid_from.isoformat() == "2026-10-31T23:00:00+00:00"
    assert covenant.valid_until.isoformat() == "2027-10-31T23:00:00+00:00"


@pytest.mark.parametrize("evil", sorted(path.name for path in EVIL.iterdir()))
def test_evil_covenants_are_refused_with_file_and_line(evil: str, tmp_path: Path) -> None:
    """FG-03, FG-04: each folder of tests/evil/covenants says in VERWACHT which fault must be found where."""
    found = faults_of(as_it_is(EVIL / evil, tmp_path / "convenant"))
    expected = [line for line in (EVIL / evil / "VERWACHT").read_text().splitlines() if not line.startswith("#")]
    assert expected
    for line in expected:
        assert any(fault.startswith(line) for fault in found), f"{line!r} is not among {found}"


def test_an_evil_covenant_has_no_other_faults_than_its_own(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant", overlay=EVIL / "ggz-automatisch")
    assert len(faults_of(folder)) == 1


def test_a_fault_in_one_file_makes_no_other_fault_elsewhere(tmp_path: Path) -> None:
    folder = as_it_is(EVIL / "oin-als-getal", tmp_path / "convenant")
    assert [fault.partition(":")[0] for fault in faults_of(folder)] == ["deelnemers/om.yaml"]


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant", overlay=EVIL / "veilig-thuis-standaardbesluit")
    edit(folder / "deelnemers" / "om.yaml", "soort: om", "soort: openbaar-ministerie")
    edit(folder / "afspraken.yaml", "quorum: 7", "quorum: veel")
    files = {fault.partition(":")[0] for fault in faults_of(folder)}
    assert files == {"afspraken.yaml", "deelnemers/om.yaml", "doelen/kwaad.yaml"}


def test_the_choices_of_a_word_are_told_in_dutch(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    edit(folder / "deelnemers" / "om.yaml", "soort: om", "soort: openbaar-ministerie")
    [fault] = (it for it in faults_of(folder) if it.startswith("deelnemers/om.yaml"))
    assert fault.endswith("'verhuurder' of 'commercieel'.")


def test_every_fault_names_a_remedy(tmp_path: Path) -> None:
    for evil in EVIL.iterdir():
        folder = as_it_is(evil, tmp_path / evil.name)
        with pytest.raises(CovenantFaults) as caught:
            load_covenant(folder)
        assert all(fault.remedy.endswith(".") for fault in caught.value.faults)


def test_a_missing_folder_and_a_missing_agreement_are_clear(tmp_path: Path) -> None:
    assert "de map bestaat niet" in faults_of(tmp_path / "nergens")[0]
    assert f"{tmp_path}: hier staat geen afspraken.yaml" in faults_of(tmp_path)[0]


def test_more_files_than_anybody_reads_are_a_fault_and_none_is_left_out_in_silence(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    for number in range(2000):
        (folder / "toetsen").mkdir(exist_ok=True)
        (folder / "toetsen" / f"t{number:04}.yaml").touch()
    assert any("meer dan 2000 bestanden" in fault for fault in faults_of(folder))


def test_a_symlink_is_refused(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    (folder / "doelen" / "extra.yaml").symlink_to(folder / "doelen" / "zsm-context.yaml")
    assert any("doelen/extra.yaml: dit hoort niet" in fault for fault in faults_of(folder))
