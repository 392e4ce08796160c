"""Several persons in one question: where the covenant asks it, each further person has a justification of its own."""

import pytest
from bekend_policy.justification import LONGEST, reasons_fault
from hypothesis import given
from hypothesis import strategies as st

from tests.support.building import purpose

FAMILY = purpose("gezin", ["om"], {"rvdk": {}}, motivering_per_persoon="ja")
OTHER = purpose("anders", ["om"], {"rvdk": {}})
BROTHER, MOTHER = "de broer woont in hetzelfde huis", "de moeder draagt de zorg"


def rule(*reasons: str, persons: int | None = None, justification: str | None = "waarom wordt gevraagd") -> str | None:
    fault = reasons_fault(FAMILY, len(reasons) if persons is None else persons, justification, reasons)
    assert fault is None or not any(text and text in " ".join(fault) for text in reasons)
    return None if fault is None else fault[0]


def test_the_first_person_is_whom_the_question_is_about() -> None:
    assert rule("", BROTHER) is None
    assert rule(MOTHER, BROTHER) is None
    assert rule("", persons=1) is None
    assert rule(persons=1) is None


@pytest.mark.parametrize("reasons", [(), ("",), ("", ""), ("", "te kort"), ("", " " * 20), ("", "x" * (LONGEST + 1))])
def test_every_further_person_has_a_text(reasons: tuple[str, ...]) -> None:
    assert rule(*reasons, persons=2) == "motivering-persoon"


@pytest.mark.parametrize(
    "reasons", [("", BROTHER, f" {BROTHER.upper()}"), (BROTHER, BROTHER), ("", "Waarom wordt  gevraagd")]
)
def test_a_copied_text_is_nobodys_own(reasons: tuple[str, ...]) -> None:
    assert rule(*reasons) == "motivering-persoon"


def test_a_number_stands_in_no_text_under_any_purpose() -> None:
    text = "de broer, 999990019, woont daar"
    for one in (FAMILY, OTHER):
        fault = reasons_fault(one, 2, None, ("", text))
        assert fault is not None
        assert "999990019" not in " ".join(fault)


@given(st.integers(1, 8), st.lists(st.text(max_size=30), max_size=8))
def test_a_purpose_that_asks_no_texts_per_person_refuses_none(persons: int, reasons: list[str]) -> None:
    fault = reasons_fault(OTHER, persons, None, reasons)
    assert fault is None or "BSN" in fault[1]
