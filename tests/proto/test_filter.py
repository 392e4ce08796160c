"""The closed filter: holds exactly its tags, in one form, searched in place."""

import mmap
from pathlib import Path

import pytest
from bekend_proto import filter as closed
from bekend_proto import group
from bekend_proto.errors import MalformedError
from bekend_proto.filter import ClosedFilter, class_of_filter
from bekend_proto.v1 import signed_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

tags = st.binary(min_size=8, max_size=8)
SOURCE, PURPOSE = "00000099000000001000", "demo/doel"


@settings(max_examples=40)
@given(st.sets(tags, max_size=60), st.sets(tags, max_size=60))
def test_a_filter_contains_its_tags_and_no_others(inside: set[bytes], others: set[bytes]) -> None:
    body = closed.pad_and_sort(inside, 1024)
    padding = {body[index : index + 8] for index in range(0, len(body), 8)} - inside
    for view in (body, memoryview(body)):
        searched = ClosedFilter(view)
        assert all(searched.contains(tag) for tag in inside)
        assert not any(searched.contains(tag) for tag in others - inside - padding)


def test_the_first_and_last_tags_are_found() -> None:
    lowest, highest = bytes(8), b"\xff" * 8
    searched = ClosedFilter(closed.pad_and_sort([highest, lowest], 1024))
    assert searched.contains(lowest)
    assert searched.contains(highest)
    assert len(searched) == 1024


def test_a_tag_that_stands_twice_is_found_and_does_no_harm() -> None:
    assert ClosedFilter(closed.pad_and_sort([b"8 octets"] * 2, 1024)).contains(b"8 octets")


@settings(max_examples=20)
@given(st.lists(tags, max_size=40))
def test_a_body_is_sorted_as_byte_strings(some: list[bytes]) -> None:
    body = closed.pad_and_sort(some, 1024)
    split = [body[index : index + 8] for index in range(0, len(body), 8)]
    assert len(split) == 1024
    assert split == sorted(split)


def test_padding_is_random_each_time() -> None:
    assert closed.pad_and_sort([], 1024) != closed.pad_and_sort([], 1024)


@pytest.mark.parametrize(("count", "size"), [(0, 1024), (1, 1024), (1024, 1024), (1025, 2048), (1_000_000, 1 << 20)])
def test_a_size_class_is_the_smallest_that_holds_the_tags(count: int, size: int) -> None:
    assert closed.size_class(count) == size


@pytest.mark.parametrize("some", [[b"short"], [b"8 octets"] * 1025])
def test_what_does_not_fit_is_no_filter(some: list[bytes]) -> None:
    with pytest.raises(ValueError, match="8 octets"):
        closed.pad_and_sort(some, 1024)


@pytest.mark.parametrize("length", [0, 1, 8, 8184, 8192 + 8, 3 * 8192])
def test_a_body_of_no_size_class_is_malformed(length: int) -> None:
    with pytest.raises(MalformedError):
        ClosedFilter(bytes(length))


@pytest.mark.parametrize("count", [1024, 32768])
@pytest.mark.parametrize("where", [0, 0.25, 0.5, 0.999])
def test_a_body_that_is_not_sorted_is_refused_since_its_search_would_miss(count: int, where: float) -> None:
    body = bytearray(closed.pad_and_sort([], count))
    at = int(where * count) * 8
    at = min(at, len(body) - 16)
    body[at : at + 8], body[at + 8 : at + 16] = body[at + 8 : at + 16], body[at : at + 8]
    with pytest.raises(MalformedError):
        ClosedFilter(bytes(body))


def test_a_filter_in_a_file_is_searched_in_place(tmp_path: Path) -> None:
    some = [group.random_element()[:8] for _ in range(50)]
    body = closed.pad_and_sort(some, 1024)
    path = tmp_path / "filter"
    path.write_bytes(body)
    with path.open("rb") as file:
        mapped = ClosedFilter(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    assert all(mapped.contains(tag) for tag in some)
    assert mapped.hash == ClosedFilter(body).hash == closed.body_hash(body)


def test_a_tag_is_bound_to_its_element_source_purpose_and_version() -> None:
    w = group.random_element()
    made = {
        closed.tag(w, SOURCE, PURPOSE, 7),
        closed.tag(group.random_element(), SOURCE, PURPOSE, 7),
        closed.tag(w, "00000099000000002000", PURPOSE, 7),
        closed.tag(w, SOURCE, "demo/ander", 7),
        closed.tag(w, SOURCE, PURPOSE, 8),
    }
    assert len(made) == 5
    assert closed.tagger(SOURCE, PURPOSE, 7)(w) in made


def test_a_w_of_one_version_matches_in_no_other() -> None:
    ws = [group.random_element() for _ in range(50)]
    old = ClosedFilter(closed.pad_and_sort(map(closed.tagger(SOURCE, PURPOSE, 7), ws), 1024))
    assert all(old.contains(closed.tag(w, SOURCE, PURPOSE, 7)) for w in ws)
    assert not any(old.contains(closed.tag(w, SOURCE, PURPOSE, 8)) for w in ws)


def test_m_hash_names_m() -> None:
    m = group.random_element()
    assert len(closed.m_hash(m)) == 32
    assert closed.m_hash(m) != closed.m_hash(group.random_element())


@pytest.mark.parametrize("message", [signed_pb2.FetchOrder, signed_pb2.FilterHeader])
def test_a_filter_is_that_of_the_certain_kinds_unless_it_says_possible(
    message: type[signed_pb2.FetchOrder | signed_pb2.FilterHeader],
) -> None:
    assert class_of_filter(message()) == signed_pb2.KIND_CLASS_CERTAIN
    assert class_of_filter(message(kind_class=signed_pb2.KIND_CLASS_POSSIBLE)) == signed_pb2.KIND_CLASS_POSSIBLE
