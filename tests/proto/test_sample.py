"""The draw of an audit: one in twenty, the same for everybody, and steered by nobody whose Question it is."""

import random
from dataclasses import replace

import pytest
from bekend_proto.checkpoint import Checkpoint, cosign
from bekend_proto.errors import KeysError, MalformedError, ProofError, SignatureError
from bekend_proto.ledger.exported import Export, checkpoint_of
from bekend_proto.ledger.sample import CASES_A_MONTH, Draw, open_draw, questions, sample
from bekend_proto.log_table import Entry
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.proto.test_ledger import BROKER, DAY, KEYS, NODES, NOW, export, origin, some, vkeys

SINCE, UNTIL = NOW - DAY, NOW
LATER = UNTIL // 1000 + 60
FOUR = NODES[:4]
TRUSTED = vkeys(BROKER, *FOUR)


def week(count: int = 400) -> Export:
    """A day of Questions, and an entry of after it."""
    after = Entry("begin", random.Random(1).randbytes(32), UNTIL + 700_000)
    return export(BROKER, [*some(count, SINCE), after], SINCE, UNTIL)


def note_over(made: Export, signers: tuple[str, ...] = FOUR, seconds: int = LATER) -> bytes:
    note = made.checkpoint
    for oin in signers:
        note = cosign(note, oin, KEYS[oin], seconds)
    return note


def seeded(number: int, witnesses: int = 4) -> Draw:
    """A draw with cosignatures that a seed gives."""
    source = random.Random(number)
    cosignatures = tuple((NODES[n], source.randbytes(72)) for n in range(witnesses))
    return Draw(Checkpoint(origin(BROKER), 1000, source.randbytes(32)), cosignatures)


def test_fg_29_everybody_makes_the_same_draw_and_it_takes_one_in_twenty() -> None:
    made = week(4000)
    draw = open_draw(note_over(made), TRUSTED)
    found = questions(made, draw, SINCE, UNTIL)
    assert len(found) == 4000
    drawn = sample(found, draw)
    again = sample(random.Random(2).sample(found, len(found)), open_draw(note_over(made), TRUSTED))
    assert drawn == again
    # Four standard deviations around 200.
    assert 145 <= len(drawn) <= 255
    assert all(draw.selects(one.requester, one.source, one.hash) for one in drawn)


def test_of_each_requester_and_month_ten_cases_at_most_go_to_a_human() -> None:
    made = week(4000)
    drawn = sample(questions(made, draw := open_draw(note_over(made), TRUSTED), SINCE, UNTIL), draw)
    assert [one.ask_case for one in drawn] == [n < CASES_A_MONTH for n in range(len(drawn))]
    two = [replace_entry(one, n) for n, one in enumerate(some(4000, SINCE))]
    per_requester = sample(two, draw)
    for oin in FOUR[:2]:
        assert sum(one.ask_case for one in per_requester if one.requester == oin) == CASES_A_MONTH


def replace_entry(one: Entry, number: int) -> Entry:
    return replace(one, requester=FOUR[number % 2], source=FOUR[2])


@given(st.binary(min_size=72, max_size=72), st.binary(min_size=72, max_size=72), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_what_requester_and_source_sign_changes_nothing_for_their_own_question(
    requesters: bytes, sources: bytes, hash_: bytes
) -> None:
    draw = seeded(1)
    steered = replace(draw, cosignatures=((NODES[0], requesters), (NODES[1], sources), *draw.cosignatures[2:]))
    assert draw.value(NODES[0], NODES[1], hash_) == steered.value(NODES[0], NODES[1], hash_)


@given(st.integers(0, 3), st.binary(min_size=72, max_size=72))
@settings(max_examples=50)
def test_each_other_witness_and_every_octet_of_the_checkpoint_count(which: int, signed: bytes) -> None:
    draw, hash_ = seeded(2), bytes(32)
    others = list(draw.cosignatures)
    others[which] = (others[which][0], signed)
    value = draw.value(NODES[5], NODES[6], hash_)
    assert replace(draw, cosignatures=tuple(others)).value(NODES[5], NODES[6], hash_) != value
    root = bytes(31) + b"x"
    assert replace(draw, checkpoint=replace(draw.checkpoint, root=root)).value(NODES[5], NODES[6], hash_) != value


def test_who_leaves_u_persons_unrecorded_is_caught_as_often_as_the_protocol_says() -> None:
    """1 - 0.95^u over 2,000 draws with fixed seeds; five standard deviations of a share are at most 0.056."""
    for u in (1, 5, 14, 45, 90):
        hidden = [random.Random(1000 * u + n).randbytes(32) for n in range(u)]
        caught = sum(any(draw.selects(NODES[0], NODES[1], one) for one in hidden) for draw in map(seeded, range(2000)))
        assert abs(caught / 2000 - (1 - 0.95**u)) < 0.056, u


def test_every_witness_must_have_signed_unless_the_auditor_names_it() -> None:
    made = week()
    short = note_over(made, FOUR[:3])
    with pytest.raises(SignatureError, match=FOUR[3]):
        open_draw(short, TRUSTED)
    assert open_draw(short, TRUSTED, [FOUR[3]]).absent == (FOUR[3],)
    # Too few are left to be out of the hands of requester and source.
    with pytest.raises(KeysError):
        open_draw(short, TRUSTED, FOUR[2:])
    with pytest.raises(KeysError):
        open_draw(short, vkeys(BROKER, *NODES), NODES[3:])


def test_a_signature_of_another_is_no_cosignature() -> None:
    made = week()
    forged = cosign(note_over(made, FOUR[:3]), FOUR[3], KEYS[FOUR[0]], LATER)
    with pytest.raises(SignatureError):
        open_draw(forged, TRUSTED)
    with pytest.raises(SignatureError):
        open_draw(note_over(made).replace(b"\n401\n", b"\n400\n"), TRUSTED)


def test_a_checkpoint_that_is_not_later_is_refused() -> None:
    made = week()
    early = open_draw(note_over(made, seconds=UNTIL // 1000 - 1), TRUSTED)
    with pytest.raises(ProofError, match="voordat de periode"):
        questions(made, early, SINCE, UNTIL)
    # Signed later, but over fewer entries: some Questions could still be written after it.
    head = checkpoint_of(made.checkpoint)
    size = head.size - 3
    older = Checkpoint(head.origin, size, made.roots([size])[size]).sign(KEYS[BROKER])
    for oin in FOUR:
        older = cosign(older, oin, KEYS[oin], LATER)
    with pytest.raises(ProofError, match="hele periode"):
        questions(made, open_draw(older, TRUSTED), SINCE, UNTIL)


def test_a_witness_that_always_signs_too_early_is_named() -> None:
    """Else one node could keep every draw from being made, and nobody would know which."""
    made = week()
    note = cosign(note_over(made, FOUR[:3]), FOUR[3], KEYS[FOUR[3]], 1)
    with pytest.raises(ProofError, match=FOUR[3]):
        questions(made, open_draw(note, TRUSTED), SINCE, UNTIL)
    assert questions(made, open_draw(note, TRUSTED, [FOUR[3]]), SINCE, UNTIL)


def test_a_checkpoint_of_another_history_or_log_is_refused() -> None:
    made, other = week(), week(399)
    draw = open_draw(note_over(made), TRUSTED)
    with pytest.raises((ProofError, MalformedError)):
        questions(other, draw, SINCE, UNTIL)
    entries = [entry for _, entry in made.shown]
    changed = [replace(entries[0], at=entries[0].at + 1), *entries[1:]]
    with pytest.raises(ProofError, match="andere geschiedenis"):
        questions(export(BROKER, changed, SINCE, UNTIL), draw, SINCE, UNTIL)
    with pytest.raises(MalformedError, match="omvat niet"):
        questions(made, draw, SINCE - 2 * DAY, UNTIL)
    with pytest.raises(MalformedError):
        questions(export(NODES[0], entries, SINCE, UNTIL), draw, SINCE, UNTIL)


def test_a_question_to_oneself_is_about_nobody() -> None:
    own = replace(some(1, SINCE)[0], source=NODES[0])
    after = Entry("exported", bytes(32), UNTIL + 700_000)
    made = export(BROKER, [own, after], SINCE, UNTIL)
    assert questions(made, open_draw(note_over(made), TRUSTED), SINCE, UNTIL) == []
