"""A register that holds several kinds of number: each is enrolled by itself, under what the covenant admits."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_broker.app import Broker
from bekend_deploy.partners import POLITIE, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_node import pseudonym_file
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.enrol import plan
from bekend_node.enrol.command import shield_persons
from bekend_node.enrol.rows import Person, Refused
from bekend_node.enrol.shield import still_found_by
from bekend_node.enrol.survey import GuardError
from bekend_node.readiness import inputs_of
from bekend_node.rules import load_rules
from bekend_node.store import Store
from bekend_node.store_registers import Registers
from bekend_node.terminal import read_persons
from bekend_proto.errors import MalformedError, NotReadyError
from bekend_proto.identifiers import Identifier, parse_identifier
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.test_enrol import enrolled, people, pseudonyms
from tests.support.federation import Federation
from tests.support.nodes import NodeHome
from tests.support.pki import Authority

REGISTER = POLITIE.registers[0]
BOTH: dict[str, Any] = {"identifiers": {"bsn": "bsn", "test": "nummer"}, "identifier_kind": None}
ANSWERED = (ZSM_CONTEXT, ZVH_WEIGHING)
"""Two purposes: by both kinds, and by BSN alone."""


def other(number: int) -> Identifier:
    return parse_identifier("test", str(number))


@dataclass
class Two:
    """A police node with two kinds of number, and the broker that evaluates them."""

    home: NodeHome
    broker: Broker

    def list(self, rows: Sequence[tuple[str, str]], changes: Sequence[str] = ()) -> Path:
        path = self.home.folder / "list.csv"
        marks = changes or [""] * len(rows)
        lines = (f"{bsn};{number};;{mark}" for (bsn, number), mark in zip(rows, marks, strict=True))
        path.write_text("\n".join(("bsn;nummer;einddatum;mutatie", *lines)) + "\n")
        return path

    async def enrol(self, rows: Sequence[tuple[str, str]], *changes: str, **more: Any) -> plan.Report:
        register = more.pop("register", REGISTER)
        file = self.list(rows, changes)
        return await self.home.enrol(self.broker.port, register, file, changes=bool(changes), **more)

    async def shield(self, *persons: Identifier, whole: bool = False) -> None:
        config = self.home.config(self.broker.port)
        with ThreadPoolExecutor(1) as executor:
            await shield_persons(config, persons, self.home.federation.clock, executor, lift=False, whole=whole)

    def stored(self, purpose: str, register: str = REGISTER) -> dict[str, set[bytes]]:
        """Kind of number to the pseudonyms that are in service."""
        registers = Registers.open(self.home.data)
        try:
            return {
                one.kind: {record[:32] for record in pseudonym_file.read(registers.file(one.id))}
                for one in registers.generations()
                if (one.register, one.purpose) == (register, purpose)
            }
        finally:
            registers.close()

    def kinds_served(self) -> set[str]:
        """By which kinds of number the purpose of both can be asked."""
        config = self.home.config(self.broker.port)
        clock = self.home.federation.clock
        store, registers = Store.open(config.data), Registers.open(config.data)
        try:
            rules = load_rules(config, self.home.keys, store, clock)
            found = inputs_of(FilterId(ZSM_CONTEXT, CERTAIN), rules, registers, self.home.keys, clock.now())
            assert {one.kind for one in found.shielded} in (set(), {one.kind for one in found.generations})
            return {one.kind for one in found.generations}
        finally:
            store.close()
            registers.close()


def both_kinds(folder: Path) -> None:
    file = folder / "doelen" / "zsm-context.yaml"
    tree = yaml.load(file.read_text("utf-8"), yaml.BaseLoader)
    tree["identificatie"] = ["bsn", "test"]
    file.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), "utf-8")


@pytest.fixture
async def two(tmp_path: Path, authority: Authority) -> AsyncIterator[Two]:
    federation = Federation.create(tmp_path, authority)
    federation.write_covenant(both_kinds)
    home = NodeHome.create(federation, POLITIE.oin)
    columns = {"end": "einddatum", "change": "mutatie"}
    for register in (REGISTER, "afgeschermd"):
        home.write_mapping(register, columns=columns, **BOTH)
    async with federation.broker() as broker:
        yield Two(home, broker)


ROWS = [(person.value, str(100 + at)) for at, person in enumerate(people(20))]


async def test_each_kind_is_a_generation_and_a_purpose_gets_what_the_covenant_admits(two: Two) -> None:
    rows = [*ROWS, ("", "500"), ("999990019", "")]
    report = await two.enrol(rows)
    assert (report.rows, report.persons, dict(report.numbers)) == (22, 22, {"bsn": 21, "test": 21})
    # One chunk for each purpose, whatever the kinds: the broker sees no more than their sum.
    assert enrolled(two.broker) == 2 * plan.CHUNK
    bsns = [parse_identifier("bsn", bsn) for bsn, _ in rows if bsn]
    numbers = [parse_identifier("test", number) for _, number in rows if number]
    assert two.stored(ZSM_CONTEXT) == {
        "bsn": pseudonyms(two.home, ZSM_CONTEXT, bsns),
        "test": pseudonyms(two.home, ZSM_CONTEXT, numbers),
    }
    assert two.stored(ZVH_WEIGHING) == {"bsn": pseudonyms(two.home, ZVH_WEIGHING, bsns)}
    assert two.kinds_served() == {"bsn", "test"}
    # Changes are padded together, and touch each kind.
    before = enrolled(two.broker)
    await two.enrol([ROWS[0], ("", "501")], "-", "+")
    assert enrolled(two.broker) - before == 2 * plan.SMALLEST_CHANGE
    numbers = [*numbers[1:], other(501)]
    assert two.stored(ZSM_CONTEXT)["test"] == pseudonyms(two.home, ZSM_CONTEXT, numbers)
    assert two.stored(ZVH_WEIGHING) == {"bsn": pseudonyms(two.home, ZVH_WEIGHING, bsns[1:])}


async def test_a_kind_that_is_no_longer_mapped_is_a_register_that_shrinks(two: Two) -> None:
    await two.enrol(ROWS)
    two.home.write_mapping(REGISTER, columns={"identifier": "bsn", "end": "einddatum"})
    with pytest.raises(GuardError, match=r"from 20 to 0 persons by test.*--confirm-shrink"):
        await two.enrol(ROWS)
    assert two.kinds_served() == {"bsn", "test"}
    await two.enrol(ROWS, confirm_shrink=True)
    assert two.kinds_served() == {"bsn"}
    # Changes have no list to change by a kind that is new.
    columns = {"end": "einddatum", "change": "mutatie"}
    two.home.write_mapping(REGISTER, columns=columns, **BOTH)
    with pytest.raises(GuardError, match=r"import the whole register first: demo/zsm-context"):
        await two.enrol(ROWS[:1], "+")


async def test_fg_36_nobody_is_asked_by_a_kind_that_afgeschermd_does_not_hold(two: Two) -> None:
    await two.enrol(ROWS)
    await two.shield(people(1)[0])
    assert two.kinds_served() == {"bsn"}
    with pytest.raises(GuardError, match="others are shielded already"):
        await two.shield(other(100))
    await two.shield(people(1)[0], other(100), whole=True)
    assert two.kinds_served() == {"bsn", "test"}
    assert {kind: len(found) for kind, found in two.stored(ZSM_CONTEXT, "afgeschermd").items()} == {"bsn": 1, "test": 1}
    # Who is shielded by one of them from here on is found by the other, and that is told.
    in_service = Registers.peek(two.home.data)
    assert still_found_by(in_service, {"bsn"}) == ["test"]
    assert still_found_by(in_service, {"bsn", "test"}) == []
    # A list by one kind that is imported whole takes the place of those by all.
    two.home.write_mapping("afgeschermd", columns={"identifier": "nummer"}, identifier_kind="test")
    await two.enrol(ROWS[:1], register="afgeschermd")
    assert two.kinds_served() == {"test"}


async def test_registers_that_share_no_kind_are_no_answer(two: Two) -> None:
    await two.shield(other(100))
    two.home.write_mapping(REGISTER, columns={"identifier": "bsn", "end": "einddatum"})
    await two.enrol(ROWS)
    with pytest.raises(NotReadyError, match="share no kind of identifier"):
        two.kinds_served()


NUMBERS = st.sets(st.tuples(st.sampled_from(["bsn", "skn", "v"]), st.integers(1, 60)), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(NUMBERS, max_size=90), kinds=st.sets(st.sampled_from(["bsn", "skn", "v"]), min_size=1))
def test_what_is_announced_is_what_is_sent(rows: list[set[tuple[str, int]]], kinds: set[str]) -> None:
    """Also where a row lies across two windows: each is full to the last one, and the sum is exact."""
    people = [Person(tuple(f"{kind}:{at}".encode() for kind, at in sorted(row)), 5, 1) for row in rows]
    selection = plan.Selection(frozenset(kinds))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "WINDOW", 8)
        patch.setattr(plan, "CHUNK", 4)
        report = plan.Report()
        rows_of: list[Person | Refused] = [*people]
        chunks = list(
            plan.full_chunks(plan.windows(rows_of, report, selection, ended_before=1), "p", bytes(32), [b"c"])
        )
        assert sum(one.size for one in chunks) == plan.full_elements(report.numbers.total(), 1)
        assert [one.index for one in chunks] == list(range(len(chunks)))
    sent = {number for one in chunks for number, _ in one.persons} - {b"c"}
    assert sent == {number for one in people for number in selection.of(one)}
    assert report.rows == report.persons + report.merged + sum(report.left_out.values())


def test_a_line_may_say_another_kind_before_its_number(tmp_path: Path) -> None:
    file = tmp_path / "persons"
    file.write_text("999990019\n\ntest:7\n")
    assert [one.canonical for one in read_persons("bsn", file)] == [b"bsn:999990019", b"test:7"]
    file.write_text("999990019\nnaam:999990342\n")
    with pytest.raises(MalformedError, match=r"line 2: Deze soort nummer is niet bekend") as fault:
        read_persons("bsn", file)
    assert "999990342" not in str(fault.value)
