"""Misuse signals (FG-19): what is noticed, what memory and disk hold of it, and that nothing is ever stopped."""

import asyncio
import contextlib
import json
import os
import pickle
import pwd
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.ask.signals import Kind, Signals, _Seen
from bekend_node.config import LogReader, Officer, SignalTerms
from bekend_node.control import ControlServer
from bekend_node.signal_reading import SignalReading
from bekend_node.signals_cli import TEXTS, signals
from bekend_node.store import Store
from bekend_node.store_decisions import Decisions
from bekend_node.store_signals import Signal, SignalStore
from bekend_policy.log_use import Days
from bekend_proto.clock import AMSTERDAM, milliseconds
from bekend_proto.errors import RefusedError, StorageError
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier
from nacl.secret import SecretBox
from pydantic import ValidationError
from typer import Typer
from typer.testing import CliRunner

from tests.support.asking import PERSON, ZSM_CASE, Stage
from tests.support.clocks import SteeredClock
from tests.support.covenants import NOW, OM, POLITIE, ZSM
from tests.support.search import Needles, forms

USER = pwd.getpwuid(os.geteuid()).pw_name
NOON = datetime(2026, 12, 1, 12, tzinfo=AMSTERDAM).astimezone(UTC)


def numbers(first: int) -> Iterator[Identifier]:
    """Reserved numbers that pass the eleven-proof, in sequence."""
    for number in range(first, 1_000_000_000):
        with contextlib.suppress(InvalidIdentifier):
            yield parse_identifier("bsn", str(number))


FAR = [next(numbers(first)) for first in range(999_900_000, 999_999_000, 5_000)]
"""Numbers that are no neighbours of one another."""


class House:
    """The signals of one node, on a database of its own."""

    def __init__(self, folder: Path, **terms: Any) -> None:
        self.folder = folder
        self.clock = SteeredClock(NOON)
        self.database = Store.open(folder)
        self.rows = SignalStore(self.database.database, b"k" * 32, SecretBox(b"s" * 32))
        self.signals = Signals(self.rows, SignalTerms(**terms), self.clock)

    async def ask(
        self, *persons: Identifier, case: str | None = None, user: str = "jansen", after: timedelta = timedelta(hours=1)
    ) -> None:
        who = OfficerRef(user, "J. Jansen", "officier")
        self.signals.asked(Inquiry(ZSM, persons or (FAR[0],), (POLITIE,), who, case), asyncio.sleep(0))
        await self.signals.settle()
        self.clock.advance(after)

    def found(self, kind: Kind | None = None) -> list[Signal]:
        rows = self.rows.between(date(2026, 1, 1), date(2027, 12, 31))
        return [one for one in rows if kind in {None, one.kind}]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path / "data")
    yield made
    made.database.close()


async def test_fg_19_ordinary_work_gives_no_signal(house: House) -> None:
    for number in range(8):
        await house.ask(FAR[number], case=f"15/00000{number}-26")
    assert house.found() == []


@pytest.mark.parametrize(("hour", "odd"), [(3, True), (6, True), (7, False), (21, False), (22, True)])
async def test_fg_19_a_lookup_outside_the_usual_hours(house: House, hour: int, odd: bool) -> None:
    house.clock.set(NOON.astimezone(AMSTERDAM).replace(hour=hour).astimezone(UTC))
    await house.ask(case="15/234567-26")
    assert [(one.kind, one.officer, one.case, one.times) for one in house.found()] == (
        [("odd-hours", "jansen", "15/234567-26", 1)] if odd else []
    )


async def test_what_is_noticed_is_written_when_the_lookup_has_ended(house: House) -> None:
    house.clock.set(NOON.astimezone(AMSTERDAM).replace(hour=3).astimezone(UTC))
    ended, who = asyncio.Event(), OfficerRef("jansen", "J. Jansen", "officier")
    house.signals.asked(Inquiry(ZSM, (FAR[0],), (POLITIE,), who, ZSM_CASE), ended.wait())
    for _ in range(10):
        await asyncio.sleep(0)
    await house.database.database.write(lambda _: None)  # whatever was handed in before is written now
    assert house.found() == []
    ended.set()
    await house.signals.settle()
    assert [one.kind for one in house.found()] == ["odd-hours"]


async def test_fg_19_many_lookups_within_ten_minutes(house: House) -> None:
    for number in range(9):
        await house.ask(FAR[number], case=f"z{number}", after=timedelta(minutes=1))
    assert house.found() == []
    await house.ask(FAR[10], case="z10", after=timedelta(minutes=1))
    assert [one.kind for one in house.found()] == ["burst"]
    # Another officer's lookups are another's.
    await house.ask(FAR[11], user="devries", case="z11")
    assert len(house.found()) == 1


async def test_fg_19_one_officer_asks_again_and_again_for_one_case(house: House) -> None:
    for _ in range(3):
        await house.ask(case=ZSM_CASE)
    assert house.found() == []
    for _ in range(2):
        await house.ask(case=ZSM_CASE)
    assert [(one.kind, one.case, one.times) for one in house.found()] == [("repeats", ZSM_CASE, 2)]


async def test_fg_19_numbers_in_sequence_are_noticed(house: House) -> None:
    """An enumeration of neighbouring numbers, slow and by day: only the sequence gives it away."""
    row = numbers(999_940_000)
    for number in range(2):
        await house.ask(next(row), case=f"z{number}")
    assert house.found() == []
    for number in range(2, 6):
        await house.ask(next(row), case=f"z{number}")
    assert {one.kind for one in house.found()} == {"neighbours"}
    assert [one.case for one in house.found()] == ["z2", "z3", "z4", "z5"]


async def test_fg_19_a_sequence_between_other_numbers_is_noticed(house: House) -> None:
    row = list(zip(numbers(999_950_000), FAR[:4], strict=False))
    for number, person in enumerate(one for pair in row for one in pair):
        await house.ask(person, case=f"z{number}")
    assert "neighbours" in {one.kind for one in house.found()}


async def test_one_family_the_same_person_and_other_officers_are_no_sequence(house: House) -> None:
    row = list(zip(numbers(999_960_000), range(6), strict=False))
    await house.ask(*(person for person, _ in row), case="gezin")
    for _ in range(3):
        await house.ask(row[0][0], case="gezin")
    assert house.found(Kind.NEIGHBOURS) == []
    for number, (person, _) in enumerate(row):
        await house.ask(person, user=f"medewerker{number}", case=f"z{number}")
    assert house.found(Kind.NEIGHBOURS) == []


async def test_what_was_asked_yesterday_is_forgotten(house: House) -> None:
    row = numbers(999_970_000)
    for number in range(4):
        await house.ask(next(row), case=f"z{number}", after=timedelta(days=1))
    await house.signals.tidy()
    assert house.found() == []
    assert house.signals._seen == {}


async def test_must_12_neither_memory_nor_disk_holds_a_number(house: House) -> None:
    row = [person for person, _ in zip(numbers(999_980_000), range(6), strict=False)]
    for number, person in enumerate(row):
        await house.ask(person, case=f"zaak-{number}")
    assert house.found(Kind.NEIGHBOURS)
    (seen,) = house.signals._seen.values()
    assert isinstance(seen, _Seen)
    held = pickle.dumps([seen.stretches, dict(seen.cases), list(seen.moments)], protocol=0)
    needles = Needles({key: value for one in row for key, value in dict(forms(one.value.encode(), "number")).items()})
    memory = house.folder / "geheugen"
    memory.write_bytes(held)
    assert not needles.in_files([memory, *house.folder.glob("node.db*")])
    (house.folder / "geplant").write_bytes(b"x" + row[0].value.encode())
    assert needles.in_files([house.folder / "geplant"])
    # Another node, day or officer has another key: the same number leaves other hashes.
    assert not {*_Seen(date(2026, 12, 1)).stretches} & {*seen.stretches}
    other = _Seen(date(2026, 12, 1))
    other.next_to(row)
    assert not {*other.stretches} & {*seen.stretches}
    # Case references stand sealed.
    assert b"zaak-0" not in b"".join(path.read_bytes() for path in house.folder.glob("node.db*"))


async def test_fg_19_cases_that_were_asked_about_once_and_never_came_back(house: House) -> None:
    for number in range(6):
        await house.ask(FAR[number], case=f"z{number}")
    await house.ask(FAR[0], case="van-een-ander", user="devries")
    await house.ask(FAR[7], case="z0", user="devries")
    house.signals.used("z1")
    await house.signals.settle()
    house.clock.advance(timedelta(days=29))
    await house.signals.tidy()
    # Four are left, and it takes five.
    assert house.found() == []
    for number in range(10, 12):
        await house.ask(FAR[number], case=f"z{number}")
    house.clock.advance(timedelta(days=27))
    await house.signals.tidy()
    assert house.found() == []


async def test_fg_19_five_cases_without_use_are_a_signal_once(house: House) -> None:
    for number in range(5):
        await house.ask(FAR[number], case=f"z{number}")
    house.clock.advance(timedelta(days=29))
    await house.signals.tidy()
    await house.signals.tidy()
    assert [(one.kind, one.officer, one.case) for one in house.found()] == [
        ("unused-cases", "jansen", f"z{number}") for number in range(5)
    ]
    house.clock.advance(timedelta(days=400))
    await house.signals.tidy()
    assert house.found() == []


async def test_a_case_that_is_used_before_its_lookup_has_ended_counts_as_used(house: House) -> None:
    for number in range(4):
        await house.ask(FAR[number], case=f"z{number}")
    ended, who = asyncio.Event(), OfficerRef("jansen", "J. Jansen", "officier")
    house.signals.asked(Inquiry(ZSM, (FAR[4],), (POLITIE,), who, "z4"), ended.wait())
    house.signals.used("z4")
    await asyncio.sleep(0)
    ended.set()
    await house.signals.settle()
    house.clock.advance(timedelta(days=29))
    await house.signals.tidy()
    # Four are left, and it takes five.
    assert house.found() == []


async def test_a_figure_of_nought_asks_for_no_signal(tmp_path: Path) -> None:
    house = House(tmp_path / "data", burst="0", repeats="0", neighbours="0", unused_cases="0")
    row = numbers(999_990_000)
    for _ in range(12):
        await house.ask(next(row), case="z", after=timedelta(seconds=1))
    house.clock.advance(timedelta(days=60))
    await house.signals.tidy()
    assert house.found() == []
    house.database.close()


@pytest.mark.parametrize("hours", ["22:00-07:00", "7-22", "07:00-24:00", "07:00", "07:00-07:00"])
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(ValidationError):
        SignalTerms(usual_hours=hours)  # type: ignore[arg-type]


async def test_a_signal_stops_nothing_also_when_it_cannot_be_written(house: House) -> None:
    house.clock.set(NOON.astimezone(AMSTERDAM).replace(hour=3).astimezone(UTC))
    with patch.object(house.rows, "add", side_effect=StorageError("disk full")):
        await house.ask(case="15/234567-26")
    assert house.found() == []


# --- a whole node's asking side, and who may read


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLITIE].known = (PERSON,)
    yield made
    await made.close()


class Socket:
    """The control socket of a stage, with signals."""

    def __init__(self, stage: Stage, folder: Path, readers: Sequence[LogReader]) -> None:
        asking = stage.asker.asking()
        self.rows = SignalStore(stage.store.database, asking.case_key, asking.state)
        stage.asker._signals = self.signals = Signals(self.rows, SignalTerms(repeats="1"), stage.clock)  # type: ignore[arg-type]
        self.decisions = Decisions(stage.store.database)
        self.path = folder / "node.sock"
        officers = [Officer(user=USER, name="J. Jansen", role="officier")]
        self.reading = SignalReading(
            self.rows, self.decisions, lambda: stage.covenant, readers=readers, clock=stage.clock
        )
        self.server = ControlServer(
            stage.asker, officers, lambda: stage.covenant, OM, lambda: {"oin": OM}, signals=self.reading
        )

    async def call(self, **request: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(json.dumps(request).encode() + b"\n")
        found: dict[str, Any] = {"type": "outcome"}
        while found["type"] == "outcome":
            found = json.loads(await reader.readline())
        writer.close()
        return found


async def test_fg_19_and_30_who_may_read_the_log_reads_signals_and_the_reading_is_on_the_record(
    stage: Stage, tmp_path: Path
) -> None:
    socket = Socket(stage, tmp_path, [LogReader(user=USER, name="A. de Vries")])
    await socket.server.start(socket.path)
    asked = {"op": "ask", "purpose": ZSM, "sources": [POLITIE], "case": ZSM_CASE, "justification": "aangehouden"}
    # The lookup goes on as it would without: its outcome came, and a receipt.
    assert (await socket.call(**asked, identifiers=[PERSON.value], attested=["verdachte"]))["type"] == "receipt"
    await socket.signals.settle()
    day = NOW.date().isoformat()
    found = await socket.call(op="signals", first=day, last=day)
    assert found["type"] == "result"
    assert [(one["kind"], one["officer"], one["case"], one["times"]) for one in found["signals"]] == [
        ("repeats", USER, ZSM_CASE, 1)
    ]
    assert PERSON.value not in json.dumps(found)
    read = socket.decisions.reads(0, milliseconds(NOW + timedelta(days=1)))
    assert [(one.user, one.log, one.used_for) for one in read] == [(USER, "signals", "interne controle")]
    wrong = await socket.call(op="signals", first="2026-12-02", last="2026-12-01")
    assert wrong["rule"] == "periode"
    await socket.server.stop(0)


async def test_fg_30_nobody_else_reads_them(stage: Stage, tmp_path: Path) -> None:
    socket = Socket(stage, tmp_path, [LogReader(user="iemand-anders", name="A. de Vries")])
    await socket.server.start(socket.path)
    found = await socket.call(op="signals", first="2026-12-01", last="2026-12-01")
    assert (found["type"], found["rule"]) == ("refused", "FG-30")
    assert socket.decisions.reads(0, milliseconds(NOW + timedelta(days=1))) == []
    with pytest.raises(RefusedError):
        await socket.reading.read(USER, Days(NOW.date(), NOW.date()))
    await socket.server.stop(0)


def test_fg_19_the_command_tells_it_in_dutch(tmp_path: Path) -> None:
    rows = [
        {"number": n, "day": "2026-12-01", "kind": kind.value, "officer": "jansen", "case": "z" if n else None,
         "times": n + 1, "last": "2026-12-01T13:00+01:00"}
        for n, kind in enumerate(Kind)
    ]  # fmt: skip
    app = Typer()
    app.command()(signals)
    with patch("bekend_node.calling.load_config"), patch("bekend_node.calling.ControlClient") as client:
        call = client.return_value.__enter__.return_value.call
        call.return_value = {"type": "result", "signals": rows}
        done = CliRunner().invoke(app, [])
        assert done.exit_code == 0, done.output
        assert all(text in done.output for text in TEXTS.values())
        assert "jansen, zaak z, 2 keer" in done.output
        call.return_value = {"type": "refused", "rule": "FG-30", "reason": "Nee."}
        assert CliRunner().invoke(app, []).exit_code == 4
        call.return_value = {"type": "result", "signals": []}
        assert "Geen signalen" in CliRunner().invoke(app, ["--van", "2026-12-01"]).output
