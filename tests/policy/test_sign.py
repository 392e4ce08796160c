"""Who signed what: the exact bytes, this version, now, with the keys that the covenant pins."""

import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from bekend_policy.faults import CovenantFaults
from bekend_policy.load import load_covenant
from bekend_policy.sign import sign_covenant, stale_notes, verify_covenant, write_atomic
from bekend_proto.note import parse_note, sign_note

from tests.support.covenants import (
    HAARLEM,
    NOW,
    OM,
    OPERATOR,
    PARTNERS,
    POLITIE,
    VELSEN,
    edit,
    example,
    key_of,
    sign_all,
    signed,
)

ANCHOR = key_of(OM).vkey


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return example(tmp_path / "convenant")


def reasons(folder: Path, *, anchor: str = ANCHOR, newest_seen: int = 0, later: timedelta = timedelta(0)) -> str:
    with pytest.raises(CovenantFaults) as caught:
        verify_covenant(load_covenant(folder), anchor, NOW + later, newest_seen=newest_seen)
    return str(caught.value)


def test_what_all_signed_holds(tmp_path: Path) -> None:
    assert signed(tmp_path / "convenant").signed_by == set(PARTNERS)


def test_the_manifest_names_the_exact_bytes_of_every_file(folder: Path) -> None:
    covenant = load_covenant(sign_all(folder))
    first, dates, *lines = covenant.manifest.splitlines()
    assert first == "bekend/1 convenant kennemerland versie 1"
    assert dates == "geldig van 2026-11-01 tot en met 2027-10-31"
    every = {path: digest for digest, path in (line.split("  ", 1) for line in lines)}
    assert list(every) == sorted(every)
    named = {path: digest for path, digest in every.items() if "#" not in path}
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "handtekeningen"]
    assert named == {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}
    assert covenant.hash == sha256(covenant.manifest.encode()).digest()


def _digest(content: object) -> str:
    return sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def test_what_is_signed_depends_on_the_files_alone_and_not_on_what_the_program_knows(folder: Path) -> None:
    """A key that a later program adds, with its default, must not void what was signed: each part's hash stays."""
    agreed = {
        "beheerder": {
            "naam": "Beheerorganisatie Kennemerland",
            "oin": OPERATOR,
            "sleutel": key_of(OPERATOR).vkey,
        },
        "convenant": "kennemerland",
        "demo": True,
        "geldig_tot_en_met": "2027-10-31",
        "mandaten": [
            {"aan": "zvh", "grond": "Awb 10:3: het college mandateert de procesregie", "van": "college_bw"},
        ],
        "naam": "Samenwerking zorg en veiligheid Kennemerland (voorbeeld)",
        "quorum": 7,
        "totalen_per_dag": {"per_organisatie": 300, "per_persoon": 60},
    }
    line = f"{_digest(agreed)}  afspraken.yaml#regels\n"
    assert line in load_covenant(folder).manifest
    partner = {"naam": "Gemeente Velsen (college)", "oin": VELSEN, "soort": "college_bw"}
    assert f"{_digest(partner)}  deelnemers/velsen.yaml#rol\n" in load_covenant(folder).manifest
    edit(folder / "afspraken.yaml", "quorum: 7", "quorum: 7\nophalen_elke: PT1M")
    assert line not in load_covenant(folder).manifest


def test_signing_does_not_change_the_hash(folder: Path) -> None:
    before = load_covenant(folder).hash
    assert load_covenant(sign_all(folder)).hash == before


@pytest.mark.parametrize("path", ["afspraken.yaml", "deelnemers/zvh.yaml", "doelen/zsm-context.yaml"])
def test_one_byte_after_signing_breaks_every_signature(folder: Path, path: str) -> None:
    sign_all(folder)
    with (folder / path).open("a") as file:
        file.write("\n")
    assert "de eigen ondertekenaar heeft deze versie niet getekend" in reasons(folder)
    assert len(stale_notes(load_covenant(folder))) == 8


def test_a_file_outside_the_manifest_is_refused(folder: Path) -> None:
    sign_all(folder)
    (folder / "doelen" / "extra.yml").write_text("doel: kennemerland/extra\n")
    with pytest.raises(CovenantFaults, match=r"doelen/extra\.yml: dit hoort niet"):
        load_covenant(folder)
    (folder / "doelen" / "extra.yml").unlink()
    (folder / "toetsen").mkdir()
    (folder / "toetsen" / "extra.yaml").write_text("a: b\n")
    assert "heeft deze versie niet getekend" in reasons(folder)


def test_fg_05_an_expired_covenant_and_one_that_has_not_begun_are_refused(folder: Path) -> None:
    sign_all(folder)
    assert "is verlopen op 2027-10-31" in reasons(folder, later=timedelta(days=400))
    assert "geldt pas vanaf 2026-11-01" in reasons(folder, later=-timedelta(days=60))


def test_fg_05_going_back_to_an_older_version_is_refused(folder: Path) -> None:
    sign_all(folder)
    assert "versie 1 is ouder dan versie 2" in reasons(folder, newest_seen=2)
    assert verify_covenant(load_covenant(folder), ANCHOR, NOW, newest_seen=1).version == 1


def test_without_quorum_it_does_not_hold(folder: Path) -> None:
    sign_all(folder, [OM, POLITIE, OPERATOR])
    assert "2 van de vereiste 7 deelnemers hebben getekend" in reasons(folder)


def test_who_has_not_signed_is_not_counted_when_the_quorum_holds(folder: Path) -> None:
    edit(folder / "afspraken.yaml", "quorum: 7", "quorum: 2")
    sign_all(folder, [OM, POLITIE, OPERATOR])
    assert verify_covenant(load_covenant(folder), ANCHOR, NOW).signed_by == {OM, POLITIE}


def test_the_own_signature_and_that_of_the_operator_are_needed(folder: Path) -> None:
    edit(folder / "afspraken.yaml", "quorum: 7", "quorum: 1")
    sign_all(folder, [POLITIE])
    found = reasons(folder)
    assert "de eigen ondertekenaar heeft deze versie niet getekend" in found
    assert "de beheerder heeft deze versie niet getekend" in found


def test_the_operator_is_an_anchor_for_the_broker(folder: Path) -> None:
    sign_all(folder)
    assert verify_covenant(load_covenant(folder), key_of(OPERATOR).vkey, NOW).signed_by == set(PARTNERS)


def test_an_anchor_that_the_covenant_does_not_pin_is_refused(folder: Path) -> None:
    sign_all(folder)
    assert "de eigen sleutel staat niet in het convenant" in reasons(folder, anchor=key_of(OM, generation=2).vkey)


def test_a_signature_by_another_key_under_the_right_name_is_refused(folder: Path) -> None:
    sign_all(folder)
    covenant = load_covenant(folder)
    other = key_of(VELSEN, generation=2)
    note = folder / "handtekeningen" / f"{VELSEN}.note"
    note.write_bytes(sign_note(covenant.manifest, other.name, other.seed))
    assert f"handtekeningen/{VELSEN}.note: de handtekening klopt niet" in reasons(folder)


def test_a_signature_does_not_count_under_another_name(folder: Path) -> None:
    sign_all(folder)
    notes = folder / "handtekeningen"
    (notes / f"{VELSEN}.note").write_bytes((notes / f"{HAARLEM}.note").read_bytes())
    assert f"handtekeningen/{VELSEN}.note: de handtekening klopt niet" in reasons(folder)


def test_rubbish_and_strangers_among_the_signatures_are_refused(folder: Path) -> None:
    sign_all(folder)
    notes = folder / "handtekeningen"
    (notes / f"{VELSEN}.note").write_bytes(b"getekend, Velsen")
    (notes / "00000099000000042000.note").write_bytes((notes / f"{OM}.note").read_bytes())
    found = reasons(folder)
    assert "dit is geen ondertekende tekst" in found
    assert "00000099000000042000 is geen deelnemer" in found


def test_a_partner_who_signs_a_day_that_is_none_keeps_nobody_from_reading_the_others(folder: Path) -> None:
    """As if it were an earlier version: a note in the folder is under nobody's signature but its own."""
    sign_all(folder)
    key, covenant = key_of(VELSEN), load_covenant(folder)
    text = f"bekend/1 convenant {covenant.id} versie 1\ngeldig van 2026-13-45 tot en met 2027-01-01\n"
    edit(folder / "afspraken.yaml", r"(?m)^versie: .*$", "versie: 2")
    (folder / "handtekeningen" / f"{VELSEN}.note").write_bytes(sign_note(text, key.name, key.seed))
    assert "niet getekend" in reasons(folder)


@pytest.mark.parametrize(("field", "day"), [("geldig_vanaf", "0001-01-01"), ("geldig_tot_en_met", "9999-12-31")])
def test_a_covenant_at_an_end_of_the_calendar_is_read_as_any_other(folder: Path, field: str, day: str) -> None:
    """A broker may offer what nobody signed: it is shown with what is wrong with it, and breaks no page."""
    edit(folder / "afspraken.yaml", rf"(?m)^{field}: .*$", f"{field}: {day}")
    sign_all(folder)
    assert verify_covenant(load_covenant(folder), ANCHOR, NOW).signed_by == set(PARTNERS)


def test_a_stranger_cannot_sign_and_nobody_signs_what_has_faults(folder: Path) -> None:
    with pytest.raises(CovenantFaults, match="hoort bij geen deelnemer"):
        sign_covenant(folder, key_of(OM, generation=2))
    edit(folder / "doelen" / "zsm-context.yaml", "max_personen: 1", "max_personen: 9")
    with pytest.raises(CovenantFaults, match="max_personen"):
        sign_covenant(folder, key_of(OM))
    assert not list((folder / "handtekeningen").iterdir())


def test_a_note_is_readable_and_holds_the_manifest(folder: Path) -> None:
    note = parse_note(sign_covenant(folder, key_of(OM)).read_bytes())
    assert note.text == load_covenant(folder).manifest
    assert [line.name for line in note.signatures] == [f"bekend/{OM}/ondertekenaar"]


def test_what_is_written_follows_no_link_that_somebody_laid(tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    shared.mkdir()
    own.write_text("of the writer alone")
    (shared / ".manifest-2.part").symlink_to(own)
    write_atomic(shared / "manifest-2", b"a draft")
    assert own.read_text() == "of the writer alone"
    assert (shared / "manifest-2").read_bytes() == b"a draft"
    assert not (shared / "manifest-2").is_symlink()
