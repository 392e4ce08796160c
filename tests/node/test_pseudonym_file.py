"""Pseudonym files: sorted, dense, immutable, and gone when they are destroyed."""

import secrets
import stat
from pathlib import Path

import pytest
from bekend_node import pseudonym_file
from bekend_node.enrol.collect import apply_changes
from bekend_node.filter_build import Order, build
from bekend_node.pseudonym_file import RECORD, merge_sorted, record
from bekend_proto.errors import StorageError
from bekend_proto.filter import ClosedFilter, tag
from bekend_proto.group import multiply, random_element, random_scalar
from hypothesis import given, settings
from hypothesis import strategies as st

records = st.lists(
    st.builds(
        record, st.binary(min_size=32, max_size=32).map(lambda b: bytes([b[0] & 254]) + b[1:]), st.integers(1, 999)
    ),
    max_size=200,
)


@settings(max_examples=50, deadline=None)
@given(entries=records)
def test_what_is_written_is_read_in_order_each_pseudonym_once(
    tmp_path_factory: pytest.TempPathFactory, entries: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("p") / "1.pseudonyms"
    latest: dict[bytes, int] = {}
    for entry in entries:
        latest[entry[:32]] = max(latest.get(entry[:32], 0), int.from_bytes(entry[32:], "big"))
    assert pseudonym_file.write(path, merge_sorted(sorted(entries))) == len(latest)
    assert list(pseudonym_file.read(path)) == [record(key, month) for key, month in sorted(latest.items())]
    assert path.stat().st_size == RECORD * (len(latest) + 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for low in (0, 40, 254):
        prefix = bytes([low])
        assert pseudonym_file.find(path, prefix) == sum(key < prefix for key in latest)


@settings(max_examples=50, deadline=None)
@given(old=records, changed=records)
def test_changes_add_replace_and_remove(old: list[bytes], changed: list[bytes]) -> None:
    before = {entry[:32]: entry for entry in old}
    # Half of the changes are about who is there, and a third are removals.
    keys = [*list(before)[::2], *(entry[:32] for entry in changed)]
    changes = {key: record(key, 0 if number % 3 == 0 else 500 + number) for number, key in enumerate(keys)}
    after = {**before, **changes}
    expected = b"".join(entry for _, entry in sorted(after.items()) if entry[32:] != b"\0\0")
    assert b"".join(apply_changes(b"".join(sorted(before.values())), sorted(changes.values()))) == expected


def test_what_lies_between_changes_is_copied_in_pieces_from_the_mapped_file(tmp_path: Path) -> None:
    many = [record(number.to_bytes(2, "big") * 16, 1) for number in range(2, 20_002, 2)]
    old, new = tmp_path / "1.pseudonyms", tmp_path / "2.pseudonyms"
    pseudonym_file.write(old, many)
    change = record(b"\x00\x03" * 16, 9)
    with pseudonym_file.mapped(old) as known:
        pieces = list(apply_changes(known, [change]))
        assert pseudonym_file.write(new, pieces) == len(many) + 1
    assert list(pseudonym_file.read(new)) == [many[0], change, *many[1:]]
    assert len(pieces) == 2 + -(-(len(many) - 1) // pseudonym_file.PIECE)
    assert all(len(piece) <= RECORD * pseudonym_file.PIECE for piece in pieces)


def test_runs_out_of_order_are_not_kept(tmp_path: Path) -> None:
    first, second = record(b"\x02" * 32, 1) + record(b"\x06" * 32, 1), record(b"\x04" * 32, 1)
    with pytest.raises(StorageError, match="out of order"):
        pseudonym_file.write(tmp_path / "1.pseudonyms", [first, second])
    assert list(tmp_path.iterdir()) == []


def test_records_out_of_order_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "1.pseudonyms"
    with pytest.raises(StorageError, match="out of order"):
        pseudonym_file.write(path, [record(bytes([4]) * 32, 1), record(bytes([2]) * 32, 1)])
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "1.pseudonyms"
    pseudonym_file.write(path, [record(bytes(32), 1)])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match="import the register again"):
        pseudonym_file.count(path)


def test_must_11_a_destroyed_file_is_overwritten_first(tmp_path: Path) -> None:
    path = tmp_path / "1.pseudonyms"
    pseudonym_file.write(path, [record(b"\x02" * 32, 1)])
    with path.open("rb") as still_open:
        pseudonym_file.destroy(path)
        assert not path.exists()
        assert set(still_open.read()) == {0}


def test_a_filter_holds_union_less_shielded_less_ended_and_nobody_else(tmp_path: Path) -> None:
    people = {name: random_element() for name in ("both", "first", "second", "ended", "shielded", "canary", "stranger")}
    m = random_scalar()

    def written(name: str, *entries: tuple[str, int]) -> str:
        path = tmp_path / f"{name}.pseudonyms"
        pseudonym_file.write(path, sorted(record(people[who], month) for who, month in entries))
        return str(path)

    order = Order(
        files=[
            written("a", ("both", 10), ("first", 11), ("ended", 9), ("shielded", 99)),
            written("b", ("both", 9), ("second", 10)),
        ],
        shielded=[written("s", ("shielded", 5), ("stranger", 5))],
        ended_before=10,
        m=m.hex(),
        canary=people["canary"].hex(),
        source="00000099000000002000",
        purpose="c/doel",
        version=7,
        out=str(tmp_path / "f.tags"),
        workers=1,
    )
    built = build(order)
    closed = ClosedFilter((tmp_path / "f.tags").read_bytes())
    assert (len(closed), closed.hash.hex()) == (1024, built.body_hash)

    def inside(who: str) -> bool:
        return closed.contains(tag(multiply(m, people[who]), order.source, order.purpose, order.version))

    assert {who for who in people if inside(who)} == {"both", "first", "second", "canary"}


def test_workers_build_the_same_set_as_one(tmp_path: Path) -> None:
    people = sorted(record(random_element(), 10) for _ in range(700))
    pseudonym_file.write(tmp_path / "a.pseudonyms", people)
    m = random_scalar()
    for workers in (1, 2):
        order = Order(
            files=[str(tmp_path / "a.pseudonyms")],
            shielded=[],
            ended_before=0,
            m=m.hex(),
            canary=random_element().hex(),
            source="00000099000000002000",
            purpose="c/doel",
            version=secrets.randbelow(1 << 30),
            out=str(tmp_path / "f.tags"),
            workers=workers,
        )
        build(order)
        closed = ClosedFilter((tmp_path / "f.tags").read_bytes())
        for entry in people:
            wanted = tag(multiply(m, entry[:32]), order.source, order.purpose, order.version)
            assert closed.contains(wanted)
