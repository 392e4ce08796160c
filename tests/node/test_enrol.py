"""Enrolment over a real broker: what is stored, what is guarded, and what a crash leaves."""

import asyncio
import os
import secrets
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_broker import keys as broker_keys
from bekend_broker.app import Broker
from bekend_deploy.partners import HAARLEM, POLITIE, ZSM_CONTEXT, ZSM_LOCAL, ZVH_WEIGHING
from bekend_node import pseudonym_file
from bekend_node.enrol import crypto
from bekend_node.enrol.command import enrol_file
from bekend_node.enrol.listing import ImportFaultError
from bekend_node.enrol.lists import Wanted
from bekend_node.enrol.survey import GuardError
from bekend_node.store_registers import Registers
from bekend_proto import dleq
from bekend_proto.clock import epoch_of
from bekend_proto.errors import BudgetError, KeysError, ProofError, StorageError, UnreachableError
from bekend_proto.group import decode_element, hash_to_group, multiply, random_element
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.secret_files import read_secret

from tests.node.test_import_rows import VALID
from tests.support.clocks import SteeredClock
from tests.support.federation import Federation, metric
from tests.support.nodes import CANARY, NodeHome
from tests.support.pki import Authority

REGISTER = POLITIE.registers[0]


def people(count: int, start: int = 0) -> list[Identifier]:
    return [parse_identifier("bsn", value) for value in VALID[start : start + count] if value != CANARY]


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


@pytest.fixture
def home(federation: Federation) -> NodeHome:
    return NodeHome.create(federation, POLITIE.oin)


def pseudonyms(home: NodeHome, purpose: str, persons: Iterable[Identifier]) -> set[bytes]:
    """What must be stored, computed from all keys at once."""
    epoch = epoch_of(home.federation.clock.now())
    root = read_secret(broker_keys.evaluation_root(home.federation.folder / "keys", epoch))
    b = broker_keys.evaluation_key(root, home.oin, purpose, epoch).secret
    k = home.keys.evaluation_key(purpose, epoch).secret
    return {multiply(k, multiply(b, hash_to_group(person.canonical))) for person in persons}


def stored(home: NodeHome, register: str, purpose: str) -> dict[bytes, int]:
    """What is stored: pseudonym to end month."""
    registers = Registers.open(home.data)
    try:
        for generation in registers.generations():
            if (generation.register, generation.purpose) == (register, purpose):
                records = list(pseudonym_file.read(registers.file(generation.id)))
                assert len(records) == generation.persons
                return {record[:32]: int.from_bytes(record[32:], "big") for record in records}
        return {}
    finally:
        registers.close()


PURPOSES = 2
"""For which the register is enrolled: one is answered by machine, one by hand."""


def enrolled(broker: Broker) -> float:
    """Elements that the broker evaluated so far."""
    return metric(broker, "bekend_broker_enrolled_elements_total")


async def test_the_pseudonyms_are_those_of_the_persons_and_of_nobody_else(
    federation: Federation, home: NodeHome
) -> None:
    persons = people(1500)
    async with federation.broker() as broker:
        report = await home.enrol(broker.port, REGISTER, home.csv(REGISTER, [*persons, persons[0]]))
        assert enrolled(broker) == PURPOSES * 2048
    assert (report.rows, report.persons, report.merged, report.refused) == (1501, 1500, 1, 0)
    found = stored(home, REGISTER, ZSM_CONTEXT)
    assert set(found) == pseudonyms(home, ZSM_CONTEXT, persons)
    assert set(found.values()) == {pseudonym_file.month_number((home.today.replace(day=1)).isoformat()[:7]) + 24}


async def test_the_canary_is_enrolled_and_stored_apart(federation: Federation, home: NodeHome) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(3)))
    registers = Registers.open(home.data)
    canary = registers.canary(ZSM_CONTEXT, epoch_of(federation.clock.now()))
    registers.close()
    (expected,) = pseudonyms(home, ZSM_CONTEXT, [parse_identifier("bsn", CANARY)])
    assert canary == expected
    assert expected not in stored(home, REGISTER, ZSM_CONTEXT)


async def test_an_empty_register_is_a_generation(federation: Federation, home: NodeHome) -> None:
    async with federation.broker() as broker:
        report = await home.enrol(broker.port, REGISTER, home.csv(REGISTER, []), confirm_shrink=True)
        assert enrolled(broker) == PURPOSES * 1024
    assert report.persons == 0
    assert stored(home, REGISTER, ZSM_CONTEXT) == {}


async def test_a_register_serves_all_its_purposes_and_no_two_can_be_joined(federation: Federation) -> None:
    home = NodeHome.create(federation, HAARLEM.oin)
    persons = people(40)
    async with federation.broker() as broker:
        await home.enrol(broker.port, "nazorg", home.csv("nazorg", persons))
    first, second = (stored(home, "nazorg", purpose) for purpose in (ZSM_LOCAL, ZVH_WEIGHING))
    assert set(first) == pseudonyms(home, ZSM_LOCAL, persons)
    assert set(second) == pseudonyms(home, ZVH_WEIGHING, persons)
    assert not set(first) & set(second)
    # Neither by their place: the order of the one says nothing about that of the other.
    in_both = [
        (list(first).index(one), list(second).index(other))
        for person in persons
        for one in pseudonyms(home, ZSM_LOCAL, [person])
        for other in pseudonyms(home, ZVH_WEIGHING, [person])
    ]
    assert sum(a == b for a, b in in_both) < 10


async def test_must_11_a_new_generation_replaces_the_old_and_no_byte_of_it_is_left(
    federation: Federation, home: NodeHome
) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(50)))
        gone = pseudonyms(home, ZSM_CONTEXT, people(3))
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(47, start=3)))
    assert not gone & set(stored(home, REGISTER, ZSM_CONTEXT))
    data = b"".join(path.read_bytes() for path in home.data.rglob("*") if path.is_file())
    assert not any(pseudonym in data for pseudonym in gone)


async def test_must_08_every_import_is_blinded_afresh() -> None:
    canonicals = [person.canonical for person in people(20)]
    first, _ = crypto.blind_chunk(canonicals, 32)
    second, _ = crypto.blind_chunk(canonicals, 32)
    assert not set(crypto.split(first)) & set(crypto.split(second))
    assert len({decode_element(element) for element in crypto.split(first)}) == 32


def test_must_02_a_chunk_whose_proof_does_not_hold_is_refused() -> None:
    keys = broker_keys.evaluation_key(secrets.token_bytes(32), POLITIE.oin, ZSM_CONTEXT, "2026Q4")
    other = broker_keys.evaluation_key(secrets.token_bytes(32), POLITIE.oin, ZSM_CONTEXT, "2026Q4")
    elements, blinds = crypto.blind_chunk([b"bsn:999990019"], 4)
    inputs = crypto.split(elements)

    def finish(outputs: list[bytes], proof: bytes) -> list[bytes]:
        return crypto.finish_chunk(
            keys.secret, keys.public, elements=elements, evaluated=b"".join(outputs), proof=proof, blinds=blinds
        )

    right = [multiply(keys.secret, element) for element in inputs]
    proof = dleq.prove(keys.secret, keys.public, inputs, right)
    assert len(finish(right, proof)) == 1
    under_other = [multiply(other.secret, element) for element in inputs]
    for outputs, shown in (
        (under_other, proof),
        (under_other, dleq.prove(other.secret, other.public, inputs, under_other)),
        (right[::-1], proof),
        ([*right[:-1], random_element()], proof),
        ([*right[:-1], bytes(32)], proof),
        (right[:-1], proof),
    ):
        with pytest.raises(ProofError):
            finish(outputs, shown)


# --- changes


async def test_changes_add_remove_and_replace(federation: Federation, home: NodeHome) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(30)))
        path = home.folder / "changes.csv"
        new, old = people(1, start=500)[0], people(1)[0]
        path.write_text(f"bsn;einddatum;mutatie\n{new.value};2099-12-31;+\n{old.value};;-\n")
        before = enrolled(broker)
        report = await home.enrol(broker.port, REGISTER, path, changes=True)
        assert enrolled(broker) - before == PURPOSES * 16
    assert report.persons == 2
    expected = pseudonyms(home, ZSM_CONTEXT, [*people(30)[1:], new])
    assert set(stored(home, REGISTER, ZSM_CONTEXT)) == expected


def lose_the_last(file: Path) -> None:
    os.truncate(file, file.stat().st_size - pseudonym_file.RECORD)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[pseudonym_file.RECORD + 31] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [lose_the_last, flip_a_bit])
async def test_a_list_that_lost_somebody_is_neither_changed_nor_good(
    federation: Federation, home: NodeHome, damage: Callable[[Path], None]
) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(10)))
        for file in (home.data / "pseudonyms").iterdir():
            damage(file)
        with pytest.raises(StorageError, match="import it again, as a whole"):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(1, 20), change="+"), changes=True)
        registers = Registers.open(home.data)
        with pytest.raises(StorageError, match="import it again, as a whole"):
            registers.check()
        registers.close()
        # As a whole it comes back.
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(10)))
    assert set(stored(home, REGISTER, ZSM_CONTEXT)) == pseudonyms(home, ZSM_CONTEXT, people(10))


async def test_changes_of_a_register_that_was_never_imported_are_refused(
    federation: Federation, home: NodeHome
) -> None:
    async with federation.broker() as broker:
        with pytest.raises(GuardError, match="import the whole register first"):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(1), change="+"), changes=True)


# --- guards


async def test_a_register_that_shrinks_too_much_is_not_replaced_unless_confirmed(
    federation: Federation, home: NodeHome
) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(100)))
        before = enrolled(broker)
        with pytest.raises(GuardError, match=r"from 100 to 79 persons.*--confirm-shrink"):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(79)))
        assert len(stored(home, REGISTER, ZSM_CONTEXT)) == 100
        assert enrolled(broker) == before
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(79)), confirm_shrink=True)
    assert len(stored(home, REGISTER, ZSM_CONTEXT)) == 79


async def test_a_small_register_may_lose_ten(federation: Federation, home: NodeHome) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(12)))
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(2)))
    assert len(stored(home, REGISTER, ZSM_CONTEXT)) == 2


async def test_a_list_that_holds_nobody_takes_the_place_of_none_unless_confirmed(
    federation: Federation, home: NodeHome
) -> None:
    """An export that failed gives a first line alone: everybody would be missed, in silence."""
    async with federation.broker() as broker:
        with pytest.raises(GuardError, match=r"holds nobody.*--confirm-shrink"):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, []))
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(2)))
        before = enrolled(broker)
        with pytest.raises(GuardError, match=r"holds nobody.*--confirm-shrink"):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, []))
        assert len(stored(home, REGISTER, ZSM_CONTEXT)) == 2
        assert enrolled(broker) == before
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, []), confirm_shrink=True)
        assert stored(home, REGISTER, ZSM_CONTEXT) == {}


async def test_changes_may_remove_the_last_person(federation: Federation, home: NodeHome) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(1)))
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(1), change="-"), changes=True)
    assert stored(home, REGISTER, ZSM_CONTEXT) == {}


async def test_fg_36_afgeschermd_may_begin_empty_and_does_not_become_so_by_itself(
    federation: Federation, home: NodeHome
) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, "afgeschermd", home.csv("afgeschermd", []))
        await home.enrol(broker.port, "afgeschermd", home.csv("afgeschermd", people(1)))
        with pytest.raises(GuardError, match=r"holds nobody.*--confirm-shrink"):
            await home.enrol(broker.port, "afgeschermd", home.csv("afgeschermd", []))
    assert len(stored(home, "afgeschermd", ZSM_CONTEXT)) == 1


async def test_changes_that_remove_too_many_stop_too(federation: Federation, home: NodeHome) -> None:
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(60)))
        with pytest.raises(GuardError, match="shrink"):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(20), change="-"), changes=True)
    assert len(stored(home, REGISTER, ZSM_CONTEXT)) == 60


async def test_too_many_refused_rows_stop_the_import_before_anything_is_sent(
    federation: Federation, home: NodeHome
) -> None:
    path = home.folder / "bad.csv"
    good = "".join(f"{person.value};\n" for person in people(100))
    async with federation.broker() as broker:
        path.write_text("bsn;einddatum\n" + good + "123456789;\n" * 11)
        with pytest.raises(GuardError, match=r"11 of 111 rows are refused.*line 102"):
            await home.enrol(broker.port, REGISTER, path)
        assert enrolled(broker) == 0
        path.write_text("bsn;einddatum\n" + good + "123456789;\n" * 10)
        report = await home.enrol(broker.port, REGISTER, path)
    assert (report.refused, report.persons) == (10, 100)
    assert [one.line for one in report.lines] == list(range(102, 112))


async def test_an_end_thousands_of_years_ahead_is_none(federation: Federation, home: NodeHome) -> None:
    """What many systems write where they know no end: who is left out for it would be missed at every question."""
    path = home.folder / "export.csv"
    persons = people(3)
    path.write_text(f"bsn;einddatum\n{persons[0].value};\n{persons[1].value};9999-12-31\n{persons[2].value};\n")
    async with federation.broker() as broker:
        report = await home.enrol(broker.port, REGISTER, path)
    assert (report.refused, report.persons) == (0, 3)
    # All three end alike: when the registration of who has no end does.
    assert len(set(stored(home, REGISTER, ZSM_CONTEXT).values())) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "export.csv:1: the file is empty"),
        ("nummer;x\n1;2\n", "export.csv:1: no column named 'bsn'"),
        (None, "export.csv: there is no such file"),
    ],
)
async def test_bad_files_leave_nothing_half_written(
    federation: Federation, home: NodeHome, content: str | None, message: str
) -> None:
    path = home.folder / "export.csv"
    if content is not None:
        path.write_text(content)
    async with federation.broker() as broker:
        with pytest.raises(ImportFaultError, match=message):
            await home.enrol(broker.port, REGISTER, path)
        assert enrolled(broker) == 0
    assert stored(home, REGISTER, ZSM_CONTEXT) == {}


async def test_a_list_of_tomorrow_another_register_or_epoch_is_refused(federation: Federation, home: NodeHome) -> None:
    path = home.csv(REGISTER, people(1))
    async with federation.broker() as broker:
        with pytest.raises(GuardError, match="still to come"):
            await home.enrol(broker.port, REGISTER, path, as_of=home.today + timedelta(days=1))
        with pytest.raises(GuardError, match="has no register 'nazorg'"):
            await home.enrol(broker.port, "nazorg", path)
        with pytest.raises(GuardError, match="opens 14 days before"):
            await home.enrol(broker.port, REGISTER, path, epoch="next")
        with pytest.raises(GuardError, match="who changed it"):
            await home.enrol(broker.port, REGISTER, path, pinned="00" * 32)


async def test_a_file_without_a_date_is_as_old_as_its_last_change(federation: Federation, home: NodeHome) -> None:
    path = home.csv(REGISTER, people(1))
    week_ago = (federation.clock.now() - timedelta(days=7)).timestamp()
    os.utime(path, (week_ago, week_ago))
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, path, as_of=None)
    registers = Registers.open(home.data)
    assert registers.generations()[0].as_of == home.today - timedelta(days=7)
    registers.close()


async def test_the_brokers_budget_holds(federation: Federation, home: NodeHome) -> None:
    home.size = 10
    home.write_manifest()
    async with federation.broker() as broker:
        with pytest.raises(BudgetError):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(6000)))
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(50)))
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(51)))
        with pytest.raises(BudgetError):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(52)))
    assert len(stored(home, REGISTER, ZSM_CONTEXT)) == 51


async def test_a_broker_that_is_away_is_named(federation: Federation, home: NodeHome) -> None:
    with pytest.raises(UnreachableError, match="localhost:1"):
        await home.enrol(1, REGISTER, home.csv(REGISTER, people(1)))


async def test_keys_that_are_not_in_the_signed_manifest_enrol_nothing(federation: Federation, home: NodeHome) -> None:
    key = home.keys.folder / f"root-{epoch_of(federation.clock.now())}.key"
    key.write_text("11" * 32)
    async with federation.broker() as broker:
        with pytest.raises(KeysError, match="differs from the signed manifest"):
            await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(1)))


# --- crashes


async def test_an_import_that_is_killed_goes_on_where_it_was(tmp_path: Path, authority: Authority) -> None:
    """Real processes: SIGKILL once something is staged; nothing is in service; the second run sends only the rest."""
    federation = Federation.create(tmp_path, authority, clock=SteeredClock(datetime.now(UTC)))
    home = NodeHome.create(federation, POLITIE.oin)
    persons = people(7000)
    path = home.csv(REGISTER, persons)
    home.size = len(persons)
    home.write_manifest()
    async with federation.broker() as broker:
        home.config(broker.port)
        first = await _command(home, path)
        staged = await _until_staged(home, 2)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        assert stored(home, REGISTER, ZSM_CONTEXT) == {}
        sent = enrolled(broker)
        second = await _command(home, path)
        assert await second.wait() == 0
        again = enrolled(broker) - sent
    assert again <= PURPOSES * 7168 - 1024 * staged
    assert set(stored(home, REGISTER, ZSM_CONTEXT)) == pseudonyms(home, ZSM_CONTEXT, persons)
    # What the first run left behind is gone with the switch.
    with sqlite3.connect(home.data / "registers.db") as database:
        assert database.execute("SELECT count(*) FROM staged").fetchone() == (0,)


async def _command(home: NodeHome, path: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bekend_deploy.cli", "node", "enrol",
        "--config", str(home.folder / "node.yaml"), "--register", REGISTER, "--file", str(path),
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip


async def _until_staged(home: NodeHome, chunks: int) -> int:
    database = home.data / "registers.db"
    while True:
        await asyncio.sleep(0.01)
        try:
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
                count = connection.execute("SELECT count(*) FROM staged").fetchone()[0]
        except sqlite3.OperationalError:
            continue
        if count >= chunks:
            return int(count)


async def test_a_generation_is_all_purposes_or_none(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails while the second purpose's file is written: the first purpose is not in service either."""
    home = NodeHome.create(federation, HAARLEM.oin)
    real, calls = pseudonym_file.write, []

    def failing(path: Path, records: Any) -> int:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(path, records)

    async with federation.broker() as broker:
        with monkeypatch.context() as patch:
            patch.setattr(pseudonym_file, "write", failing)
            with pytest.raises(OSError, match="No space"):
                await home.enrol(broker.port, "nazorg", home.csv("nazorg", people(5)))
        assert stored(home, "nazorg", ZSM_LOCAL) == {}
        # Nothing has to be sent again, and the orphan of the first run is swept.
        before = enrolled(broker)
        await home.enrol(broker.port, "nazorg", home.csv("nazorg", people(5)))
        assert enrolled(broker) == before
    assert len(stored(home, "nazorg", ZSM_LOCAL)) == len(stored(home, "nazorg", ZVH_WEIGHING)) == 5
    assert len(list((home.data / "pseudonyms").iterdir())) == 2


async def test_another_file_does_not_go_on_with_the_first(federation: Federation, home: NodeHome) -> None:
    """An import that was stopped by the guard at the switch keeps its chunks, for the same file only."""
    async with federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(5)))
        await home.enrol(broker.port, REGISTER, home.csv(REGISTER, people(6)))
    assert set(stored(home, REGISTER, ZSM_CONTEXT)) == pseudonyms(home, ZSM_CONTEXT, people(6))


async def test_a_file_that_changes_while_it_is_read_is_not_put_into_service(
    federation: Federation, home: NodeHome
) -> None:
    more = home.csv(REGISTER, people(3, start=20)).read_bytes()
    file = home.csv(REGISTER, people(5))

    def rewrite(what: str, *_: int) -> None:
        if what == "send":
            file.write_bytes(more)

    async with federation.broker() as broker:
        wanted = Wanted(register=REGISTER, file=file, as_of=home.today)
        with ThreadPoolExecutor(1) as executor, pytest.raises(GuardError, match="changed while it was read"):
            await enrol_file(home.config(broker.port), wanted, federation.clock, executor, rewrite)
        assert stored(home, REGISTER, ZSM_CONTEXT) == {}
