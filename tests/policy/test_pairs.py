"""A signature on version N holds in N+1 for every purpose and pair whose bytes did not change, and for nothing else."""

import base64
from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest
from bekend_policy.decide import Asked, decide
from bekend_policy.faults import CovenantFaults
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.sign import add_line, verify_covenant
from bekend_proto.note import note_name, sign_note, vkey_of
from bekend_proto.v1 import signed_pb2
from nacl.signing import SigningKey

from tests.support.covenants import (
    HAARLEM,
    NOW,
    OM,
    OPERATOR,
    PARTNERS,
    POLITIE,
    RECLASSERING,
    VELSEN,
    ZSM,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
    edit,
    example,
    key_of,
)

Right = tuple[str, str, str, str | None]
ANCHOR = key_of(OM).vkey
TOWNS = tuple(f"00000099{number:09d}000" for number in range(101, 129))
NEWCOMER = "00000099000000136000"


def join(folder: Path, oin: str) -> None:
    """One municipality more."""
    (folder / "deelnemers" / f"gemeente-{oin[14:17]}.yaml").write_text(
        f'oin: "{oin}"\nnaam: "Gemeente {oin[14:17]}"\nsoort: college_bw\nondertekenaar: "{key_of(oin).vkey}"\n'
    )


def sign(folder: Path, oins: Iterable[str], generation: int = 1) -> None:
    covenant = load_covenant(folder)
    for oin in oins:
        add_line(folder, covenant, key_of(oin, generation))


def next_version(folder: Path, version: int = 2) -> None:
    edit(folder / "afspraken.yaml", r"versie: \d+", f"versie: {version}")


def renew(folder: Path, name: str, oin: str) -> None:
    """A new key for the ondertekenaar, in the place of the old one."""
    edit(folder / "deelnemers" / f"{name}.yaml", r'ondertekenaar: "[^"]+"', f'ondertekenaar: "{key_of(oin, 2).vkey}"')
    with (folder / "deelnemers" / f"{name}.yaml").open("a") as file:
        file.write(f'vervangt: ["{key_of(oin).vkey}"]\n')


def verified(folder: Path, anchor: str = ANCHOR, later: timedelta = timedelta(0)) -> Covenant:
    return verify_covenant(load_covenant(folder), anchor, NOW + later)


def rights(covenant: Covenant, among: Iterable[str] = PARTNERS) -> set[Right]:
    """Every question that this covenant allows between these parties."""
    found: set[Right] = set()
    for purpose in covenant.purposes:
        for requester, source in permutations(among, 2):
            for principal in (None, HAARLEM):
                certain = signed_pb2.KIND_CLASS_CERTAIN
                asked = Asked(requester, source, purpose, principal, 1, certain, covenant.hash)
                if decide(covenant, asked, NOW).allowed:
                    found.add((purpose, requester, source, principal))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Version 1, signed by all."""
    it = example(tmp_path / "convenant")
    sign(it, (*PARTNERS, OPERATOR))
    return it


def test_fg_05_a_36th_partner_joins_and_one_renews_its_key_and_no_other_pair_stops(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    for town in TOWNS:
        join(folder, town)
    everyone = (*PARTNERS, *TOWNS)
    assert len(everyone) == 35
    sign(folder, (*everyone, OPERATOR))
    before = rights(verified(folder), everyone)
    assert before

    join(folder, NEWCOMER)
    renew(folder, "velsen", VELSEN)
    next_version(folder)
    sign(folder, (NEWCOMER, OPERATOR))
    sign(folder, (VELSEN,), generation=2)
    sign(folder, (VELSEN,))  # the old key once more, so that others see who renewed

    for anchor in (ANCHOR, key_of(HAARLEM).vkey, key_of(OPERATOR).vkey):
        now = verified(folder, anchor)
        assert now.version == 2
        assert rights(now, everyone) == before
        assert not any(NEWCOMER in right for right in rights(now, (OM, NEWCOMER)))
    sign(folder, (OM,))
    assert (ZSM_LOCAL, OM, NEWCOMER, None) in rights(verified(folder), (OM, NEWCOMER))


def test_a_key_that_its_owner_did_not_hand_over_is_believed_by_nobody_who_signed_before(tmp_path: Path) -> None:
    """Whoever writes version 2 puts a key of his own in the place of the reclassering's."""
    folder = example(tmp_path / "convenant")
    edit(folder / "afspraken.yaml", "quorum: 7", "quorum: 6")
    sign(folder, (*PARTNERS, OPERATOR))
    path = folder / "deelnemers" / "reclassering.yaml"
    edit(path, r'ondertekenaar: "[^"]+"', f'ondertekenaar: "{key_of(RECLASSERING, 2).vkey}"')
    next_version(folder)
    sign(folder, (OPERATOR,))
    sign(folder, (RECLASSERING,), generation=2)
    assert not any(RECLASSERING in right for right in rights(verified(folder)))
    assert (ZSM, OM, POLITIE, None) in rights(verified(folder))
    # He lists the true key as replaced, but cannot sign with it.
    with path.open("a") as file:
        file.write(f'vervangt: ["{key_of(RECLASSERING).vkey}"]\n')
    sign(folder, (OPERATOR,))
    sign(folder, (RECLASSERING,), generation=2)
    assert not any(RECLASSERING in right for right in rights(verified(folder)))
    # Who reads and signs version 2 itself has agreed to the key.
    sign(folder, (OM,))
    assert (ZSM, OM, RECLASSERING, None) in rights(verified(folder))


def test_keys_that_nobody_handed_over_make_no_quorum(folder: Path) -> None:
    """Whoever writes version 2 gives itself keys in the names of all others, and signs for them."""
    names = {path.read_text().split('"')[1]: path for path in (folder / "deelnemers").iterdir()}
    stolen = [oin for oin in PARTNERS if oin != OM]
    for oin in stolen:
        edit(names[oin], r'ondertekenaar: "[^"]+"', f'ondertekenaar: "{key_of(oin, 2).vkey}"')
    next_version(folder)
    sign(folder, (OPERATOR,))
    sign(folder, stolen, generation=2)
    with pytest.raises(CovenantFaults, match="1 van de vereiste 7 deelnemers hebben getekend"):
        verified(folder)


def test_a_changed_purpose_stops_until_both_sides_signed_it_and_only_that_purpose(folder: Path) -> None:
    before = rights(verified(folder))
    edit(folder / "doelen" / "zsm-context.yaml", "titel: .*", 'titel: "ZSM-contextcheck, ruimer"')
    next_version(folder)
    sign(folder, (OPERATOR,))
    assert rights(verified(folder)) == {right for right in before if right[0] != ZSM}
    sign(folder, (OM,))
    assert (ZSM, OM, POLITIE, None) not in rights(verified(folder))
    sign(folder, (POLITIE,))
    assert (ZSM, OM, POLITIE, None) in rights(verified(folder))
    assert (ZSM, OM, RECLASSERING, None) not in rights(verified(folder))


def test_a_partner_of_another_kind_is_another_partner(folder: Path) -> None:
    edit(folder / "deelnemers" / "velsen.yaml", "soort: college_bw", "soort: burgemeester")
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", "  college_bw:\n", "  burgemeester:\n")
    next_version(folder)
    sign(folder, (OPERATOR, VELSEN))
    assert not any(VELSEN in right for right in rights(verified(folder)))


def test_a_name_on_the_page_changes_without_anybody_signing_again(folder: Path) -> None:
    before = rights(verified(folder))
    edit(folder / "deelnemers" / "velsen.yaml", "soort: college_bw", 'soort: college_bw\nprivacy_officer: "Team recht"')
    next_version(folder)
    sign(folder, (OPERATOR,))
    assert rights(verified(folder)) == before


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("per_organisatie: 300", "per_organisatie: 3000"),
        ("quorum: 7", "quorum: 1"),
        ("geldig_tot_en_met: 2027-10-31", "geldig_tot_en_met: 2028-10-31"),
    ],
)
def test_general_rules_bind_only_who_signed_them(folder: Path, pattern: str, replacement: str) -> None:
    edit(folder / "afspraken.yaml", pattern, replacement)
    next_version(folder)
    sign(folder, (OPERATOR, POLITIE))
    with pytest.raises(CovenantFaults, match="de eigen ondertekenaar heeft deze versie niet getekend"):
        verified(folder)


def test_without_the_operators_line_a_new_version_does_not_hold(folder: Path) -> None:
    next_version(folder)
    with pytest.raises(CovenantFaults, match="de beheerder heeft deze versie niet getekend"):
        verified(folder)


def test_a_signature_on_a_version_before_the_last_counts_only_where_the_covenant_says_so(folder: Path) -> None:
    before = rights(verified(folder))
    next_version(folder, 3)
    sign(folder, (OPERATOR,))
    with pytest.raises(CovenantFaults, match="heeft deze versie niet getekend"):
        verified(folder)
    with (folder / "afspraken.yaml").open("a") as file:
        file.write("handtekeningen_vanaf: 1\n")
    sign(folder, (OPERATOR,))
    assert rights(verified(folder)) == before


def test_a_signature_on_a_later_version_or_another_covenant_counts_for_nothing(folder: Path) -> None:
    next_version(folder)
    sign(folder, (*PARTNERS, OPERATOR))
    next_version(folder, 1)
    sign(folder, (OPERATOR,))
    with pytest.raises(CovenantFaults, match="0 van de vereiste 7"):
        verified(folder)


def test_a_partner_that_did_not_sign_stands_out_by_purpose_in_the_refusal(folder: Path) -> None:
    edit(folder / "doelen" / "zsm-context.yaml", "titel: .*", 'titel: "Ruimer"')
    next_version(folder)
    sign(folder, (OPERATOR, OM))
    covenant = verified(folder)
    asked = Asked(OM, POLITIE, ZSM, None, 1, signed_pb2.KIND_CLASS_CERTAIN, covenant.hash)
    decision = decide(covenant, asked, NOW)
    assert decision.rule == "niet-ondertekend"
    assert "voor dit doel en deze partner" in decision.reason


def test_a_mandate_needs_the_signature_of_the_one_in_whose_name_is_asked(folder: Path) -> None:
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", "mandaat: .*", 'mandaat: "Nieuw mandaat"')
    next_version(folder)
    sign(folder, (OPERATOR, ZVH, OM))
    assert (ZVH_WEIGHING, ZVH, OM, HAARLEM) not in rights(verified(folder))
    sign(folder, (HAARLEM,))
    assert (ZVH_WEIGHING, ZVH, OM, HAARLEM) in rights(verified(folder))


# --- FG-05: two roles ------------------------------------------------------------------------------------------


def with_lawyer(folder: Path, name: str, oin: str, generation: int = 1) -> None:
    with (folder / "deelnemers" / f"{name}.yaml").open("a") as file:
        file.write(f'jurist: "{key_of(oin, generation, "jurist").vkey}"\n')


def test_fg_05_a_partner_has_signed_when_ondertekenaar_and_jurist_both_did(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    edit(folder / "afspraken.yaml", "quorum: 7", "quorum: 6")
    with_lawyer(folder, "politie", POLITIE)
    sign(folder, (*PARTNERS, OPERATOR))
    assert POLITIE not in verified(folder).signed_by
    covenant = load_covenant(folder)
    add_line(folder, covenant, key_of(POLITIE, role="jurist"))
    assert verified(folder).signed_by == set(PARTNERS)
    note = folder / "handtekeningen" / f"{POLITIE}.note"
    lawyer = key_of(POLITIE, role="jurist")
    note.write_bytes(sign_note(covenant.manifest, lawyer.name, lawyer.seed))
    assert POLITIE not in verified(folder).signed_by


def test_fg_05_the_own_jurist_is_missed_by_name(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    with_lawyer(folder, "om", OM)
    sign(folder, (*PARTNERS, OPERATOR))
    with pytest.raises(CovenantFaults, match="ondertekenaar en jurist hebben"):
        verified(folder)


def test_fg_05_a_false_line_of_a_jurist_is_a_fault(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    with_lawyer(folder, "politie", POLITIE)
    sign(folder, (*PARTNERS, OPERATOR))
    note, lawyer = folder / "handtekeningen" / f"{POLITIE}.note", key_of(POLITIE, role="jurist")
    name, key_id, _ = lawyer.vkey.split("+")
    own = note.read_bytes().decode().splitlines()[-1].split(" ")
    false = base64.b64encode(bytes.fromhex(key_id) + base64.b64decode(own[2])[4:]).decode()
    note.write_bytes(note.read_bytes() + f"— {name} {false}\n".encode())
    with pytest.raises(CovenantFaults, match="de handtekening klopt niet"):
        verified(folder)


def test_fg_05_one_key_in_two_roles_is_refused(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    key = key_of(POLITIE)
    same = vkey_of(note_name(POLITIE, "jurist"), bytes(SigningKey(key.seed).verify_key))
    with (folder / "deelnemers" / "politie.yaml").open("a") as file:
        file.write(f'jurist: "{same}"\n')
    with pytest.raises(CovenantFaults, match="deze sleutel is ook van"):
        load_covenant(folder)


def test_fg_05_a_covenant_that_is_no_demo_needs_a_jurist_at_every_partner(tmp_path: Path) -> None:
    folder = example(tmp_path / "convenant")
    edit(folder / "afspraken.yaml", "demo: ja", "demo: nee")
    with pytest.raises(CovenantFaults) as caught:
        load_covenant(folder)
    assert sum("jurist ontbreekt" in str(fault) for fault in caught.value.faults) == len(PARTNERS)
