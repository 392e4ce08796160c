"""By which identifiers a source may be asked: kinds per purpose and source, and combinations by hand alone."""

from dataclasses import replace
from datetime import timedelta

import pytest
from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant, Mode, Source
from bekend_policy.terms import SourceTerms
from bekend_policy.words import IdentifierKind, class_of_kind
from bekend_proto.identifiers import KINDS, POSSIBLE_KINDS
from bekend_proto.v1 import signed_pb2
from pydantic import ValidationError

from tests.support.building import covenant, oin_of, participant, purpose
from tests.support.covenants import CATALOGUE, NOW

CERTAIN, POSSIBLE = signed_pb2.KIND_CLASS_CERTAIN, signed_pb2.KIND_CLASS_POSSIBLE
NAME = "naam-geboortedatum-postcode"
POSSIBLE_TERMS = {"reactietermijn": "PT24H", "levensduur": "PT72H"}
ASKER, SOURCE = oin_of(1), oin_of(2)


def one_source(kind: str = "rvdk", **terms: object) -> Covenant:
    """A covenant in which one organisation asks another, by BSN and by name."""
    own = {"reactietermijn": "P2D"} if "modus" not in terms else {}
    asked = purpose(
        "doel",
        ["burgemeester"],
        {kind: {**own, **terms}},
        identificatie=["bsn", NAME],
        mogelijk=POSSIBLE_TERMS,
        geldigheid_resultaat="P14D",
    )
    return covenant([participant(1, "burgemeester"), participant(2, kind)], [asked])


def put(given: Covenant, kind: str | None = None, source: str = SOURCE, **more: object) -> Decision:
    kind_class = class_of_kind(kind or "bsn")
    asked = Asked(ASKER, source, "bouw/doel", None, 1, kind_class, given.hash, kind=kind)
    return decide(given, replace(asked, **more), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["automatisch", "standaardbesluit", "handmatig", "toestemming"])
def test_fg_24_a_question_by_name_is_never_answered_by_a_machine(mode: str) -> None:
    given = one_source(modus=mode)
    certain, possible = put(given, "bsn"), put(given, NAME)
    assert certain.mode == mode
    assert certain.lifetime == timedelta(days=14)
    assert possible.allowed
    assert possible.mode is (Mode.CONSENT if mode == "toestemming" else Mode.MANUAL)
    assert (possible.reply_term, possible.lifetime) == (timedelta(hours=24), timedelta(hours=72))
    assert possible.attests == certain.attests


def test_a_question_by_number_keeps_the_term_of_its_source() -> None:
    assert put(one_source(), "bsn").reply_term == timedelta(days=2)
    assert put(one_source(modus="automatisch"), "bsn").reply_term is None


def test_never_stays_never() -> None:
    assert put(one_source(modus="nooit"), NAME).rule == "nooit"


@pytest.mark.parametrize(("own", "refused"), [(["bsn"], NAME), ([NAME], "bsn")])
def test_a_source_is_asked_by_its_own_kinds_alone(own: list[str], refused: str) -> None:
    given = one_source(identificatie=own)
    assert put(given, own[0]).allowed
    decision = put(given, refused)
    assert (decision.allowed, decision.rule) == (False, "identificatie")
    assert refused in decision.reason
    assert decision.remedy == f"Ander nummer nodig: gebruik {own[0]}."
    # Broker and source see the class alone.
    assert put(given, kind_class=class_of_kind(refused)).rule == "identificatie"
    assert put(given, kind_class=class_of_kind(own[0])).allowed


@pytest.mark.parametrize(("kind", "kind_class"), [("bsn", POSSIBLE), (NAME, CERTAIN), ("bsn", 0), ("bsn", 7)])
def test_a_kind_is_asked_in_its_own_class(kind: str, kind_class: int) -> None:
    assert put(one_source(), kind, kind_class=kind_class).rule == "identificatie"


def test_the_direction_rules_see_the_mode_that_the_covenant_states() -> None:
    given = one_source(kind="veilig_thuis", modus="automatisch")
    assert put(given, "bsn").rule == put(given, NAME).rule == "D5"


def test_a_node_asks_itself_in_the_classes_that_it_answers() -> None:
    given = one_source(modus="automatisch", identificatie=["bsn"])
    assert put(given, requester=SOURCE).mode is Mode.AUTOMATIC
    assert put(given, requester=SOURCE, kind_class=POSSIBLE).rule == "eigen-proef"
    both = one_source(modus="automatisch")
    assert put(both, requester=SOURCE, kind_class=POSSIBLE).mode is Mode.MANUAL


def test_fg_39_a_source_carries_the_labels_that_it_may_read_in() -> None:
    assert source(one_source(labels=["toestemming"])).labels == frozenset({"toestemming"})
    assert source(one_source()).labels is None


def source(given: Covenant) -> Source:
    return given.sources("bouw/doel")[SOURCE]


@pytest.mark.parametrize("key", ["identificatie", "labels"])
def test_a_list_that_lets_nothing_through_is_refused(key: str) -> None:
    with pytest.raises(ValidationError):
        SourceTerms.model_validate({"modus": "nooit", "reden": "x", key: []})


def test_the_kinds_of_the_covenant_are_those_of_the_protocol() -> None:
    assert set(IdentifierKind) == KINDS
    assert {kind for kind in IdentifierKind if kind.possible} == POSSIBLE_KINDS
    assert class_of_kind("skn") == class_of_kind("onbekend") == CERTAIN
    assert class_of_kind(NAME) == POSSIBLE


# --- the shipped catalogue --------------------------------------------------------------------------------------

SHIPPED = load_covenant(CATALOGUE)


def test_fg_24_every_combination_of_the_catalogue_is_answered_by_hand_within_72_hours() -> None:
    found = [(one, it) for one in SHIPPED.purposes.values() for it in SHIPPED.sources(one.id).values() if it.possible]
    assert len(found) > 5
    for one, it in found:
        assert one.possible is not None
        assert one.possible.lifetime <= timedelta(hours=72)
        assert not it.mode_of(POSSIBLE).by_machine
        assert it.possible <= set(SHIPPED.agreement.combinations)


def test_the_skn_stays_within_the_criminal_law_chain() -> None:
    for id_ in SHIPPED.purposes:
        for oin, it in SHIPPED.sources(id_).items():
            kind = SHIPPED.participants[oin].kind
            if kind in {"college_bw", "burgemeester", "wijkteam", "ggz", "veilig_thuis", "zvh", "jeugdhulp"}:
                assert "skn" not in it.kinds
            if kind == "gi_jeugdreclassering" and SHIPPED.purposes[id_].frame == "strafvordering":
                assert it.certain == {"skn", "test"}


def test_fg_39_police_and_ggz_name_their_labels_in_every_purpose() -> None:
    labels = {"politie": {"wpg-8", "wpg-13"}, "ggz": {"toestemming"}}
    for id_ in SHIPPED.purposes:
        for oin, it in SHIPPED.sources(id_).items():
            kind = SHIPPED.participants[oin].kind
            if it.mode is not Mode.NEVER:
                assert it.labels == labels.get(kind)
