"""D1-D14: what they forbid is shown by tests/evil/covenants; here, that they forbid no more than that."""

import re

import pytest
from bekend_policy.directions import DIRECTIONS, Pairing, denials, frame_fits
from bekend_policy.terms import Frame, Ground, Kind, Mode

from tests.support.covenants import EVIL


def ground(law: str, article: str = "1") -> Ground:
    return Ground.model_validate({"wet": law, "artikel": article})


def pairing(
    asker: Kind,
    source: Kind,
    mode: Mode,
    frame: Frame,
    *,
    registers: tuple[str, ...] = ("clienten",),
    grounds: tuple[Ground, ...] = (),
    other: Kind | None = None,
) -> Pairing:
    return Pairing(asker, other, source, mode, registers, frame, grounds, (), same_house=True)


def denied(it: Pairing) -> list[str]:
    return [direction.id for direction in denials(it)]


def test_fg_04_every_direction_rule_has_a_hostile_covenant_by_name() -> None:
    """D12 depends on who belongs to which house: tests/policy/test_decide.py."""
    shown = {rule for path in EVIL.glob("*/VERWACHT") for rule in re.findall(r"\bD\d{1,2}\b", path.read_text())}
    assert shown | {"D12"} == {direction.id for direction in DIRECTIONS}
    assert [direction.id for direction in DIRECTIONS] == [f"D{number}" for number in range(1, 15)]


@pytest.mark.parametrize(
    "lawful",
    [
        # D1: nazorg has its own purpose, and a WGS case its own law.
        pairing(Kind.COLLEGE_BW, Kind.RECLASSERING, Mode.STANDING, Frame.NAZORG),
        pairing(Kind.COLLEGE_BW, Kind.OM, Mode.STANDING, Frame.ZVH),
        # D2: the college, manual, for youth or after a report.
        pairing(
            Kind.COLLEGE_BW, Kind.POLITIE, Mode.MANUAL, Frame.SOCIAAL_DOMEIN, grounds=(ground("Jeugdwet", "2.3(1)(6)"),)
        ),
        pairing(Kind.COLLEGE_BW, Kind.POLITIE, Mode.MANUAL, Frame.VERWARD_GEDRAG),
        # D3: open registers, consent, a ZVH case.
        pairing(Kind.OM, Kind.COLLEGE_BW, Mode.STANDING, Frame.STRAFVORDERING, registers=("veiligheid", "leerplicht")),
        pairing(Kind.OM, Kind.COLLEGE_BW, Mode.CONSENT, Frame.STRAFVORDERING, registers=("wmo", "jeugd")),
        pairing(Kind.POLITIE, Kind.WIJKTEAM, Mode.MANUAL, Frame.ZVH),
        # D4, D5: a person decides.
        pairing(Kind.VEILIG_THUIS, Kind.GGZ, Mode.MANUAL, Frame.VEILIG_THUIS),
        pairing(Kind.COLLEGE_BW, Kind.JEUGDHULP, Mode.CONSENT, Frame.SOCIAAL_DOMEIN),
        pairing(Kind.OM, Kind.VEILIG_THUIS, Mode.MANUAL, Frame.STRAFVORDERING),
        # D6: the OM.
        pairing(Kind.OM, Kind.POLITIE, Mode.AUTOMATIC, Frame.STRAFVORDERING, registers=("politiegegevens-8-13",)),
        # D11: the house in the name of a public participant.
        pairing(Kind.ZVH, Kind.OM, Mode.STANDING, Frame.ZVH, other=Kind.COLLEGE_BW),
    ],
)
def test_what_the_law_allows_is_not_denied(lawful: Pairing) -> None:
    assert denied(lawful) == []


@pytest.mark.parametrize(
    ("forbidden", "rule"),
    [
        (pairing(Kind.WIJKTEAM, Kind.RECLASSERING, Mode.MANUAL, Frame.NAZORG), "D1"),
        (pairing(Kind.WIJKTEAM, Kind.POLITIE, Mode.MANUAL, Frame.VERWARD_GEDRAG), "D2"),
        (pairing(Kind.COLLEGE_BW, Kind.POLITIE, Mode.MANUAL, Frame.SOCIAAL_DOMEIN), "D2"),
        (pairing(Kind.DJI, Kind.WMO_AANBIEDER, Mode.MANUAL, Frame.NAZORG), "D3"),
        (pairing(Kind.ZVH, Kind.OM, Mode.STANDING, Frame.ZVH, other=Kind.RECLASSERING), "D11"),
        (pairing(Kind.COLLEGE_BW, Kind.GGZ, Mode.STANDING, Frame.ZVH), "D4"),
        (pairing(Kind.ZVH, Kind.VEILIG_THUIS, Mode.AUTOMATIC, Frame.ZVH, other=Kind.COLLEGE_BW), "D5"),
    ],
)
def test_an_exception_reaches_no_further_than_the_law(forbidden: Pairing, rule: str) -> None:
    assert rule in denied(forbidden)


@pytest.mark.parametrize("source", [Kind.POLITIE, Kind.GGZ, Kind.JEUGDHULP, Kind.VEILIG_THUIS])
@pytest.mark.parametrize("asker", [kind for kind in Kind if kind is not Kind.OM])
def test_no_standing_decision_for_police_mental_health_youth_care_and_veilig_thuis(source: Kind, asker: Kind) -> None:
    for frame in Frame:
        assert denied(pairing(asker, source, Mode.STANDING, frame))
        assert denied(pairing(asker, source, Mode.AUTOMATIC, frame))


def test_never_is_never_denied() -> None:
    assert denied(pairing(Kind.SCHOOL, Kind.GGZ, Mode.NEVER, Frame.ZVH)) == []


@pytest.mark.parametrize(
    ("frame", "laws", "fits"),
    [
        (Frame.ZVH, ["WGS"], True),
        (Frame.ZVH, ["Wet gegevensverwerking door samenwerkingsverbanden"], True),
        (Frame.ZVH, ["RO"], False),
        (Frame.STRAFVORDERING, ["RO", "WGS"], False),
        (Frame.STRAFVORDERING, ["RO", "wet gegevensverwerking door  samenwerkingsverbanden"], False),
        (Frame.NAZORG, ["Pbw", "Wgs"], True),
        (Frame.NAZORG, ["Wgs"], False),
        (Frame.RADICALISERING, ["WG-PGA"], True),
        (Frame.ZVH, ["WGS", "WG-PGA"], False),
    ],
)
def test_the_frame_follows_the_law(frame: Frame, laws: list[str], fits: bool) -> None:
    assert frame_fits(frame, [ground(law) for law in laws]) is fits
