"""No log, no answer: a disk that fails is `storage`, and nothing is evaluated or forwarded (must-list 7; FG-29)."""

import sqlite3
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from secrets import token_bytes

import psycopg
import pytest
from bekend_deploy.partners import OM, VEILIG_THUIS, ZSM_CONTEXT
from bekend_proto import group
from bekend_proto.collecting import FIRST_COLLECT
from bekend_proto.errors import StorageError
from bekend_proto.sql import Connection
from bekend_proto.v1 import broker_pb2

from tests.support.federation import PEOPLE, Federation, Party, metric
from tests.support.pki import Authority


async def test_must_07_a_begin_that_cannot_be_logged_is_not_evaluated(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        await federation.break_once(broker)
        with pytest.raises(StorageError):
            await om.lookup(ZSM_CONTEXT).begin()
        assert metric(broker, "bekend_broker_storage_faults_total") == 1
        assert broker.log_entries() == 0
        await om.lookup(ZSM_CONTEXT).begin()


async def test_must_07_a_question_that_cannot_be_logged_reaches_no_source(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker() as broker, politie.attached() as one, reclassering.attached() as other:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await federation.break_once(broker)
        assert await lookup.outcomes(politie.oin, reclassering.oin) == {
            politie.oin: "storage",
            reclassering.oin: "storage",
        }
        assert one.questions.empty()
        assert other.questions.empty()
        assert broker.log_entries() == 1


async def test_must_07_a_chunk_that_cannot_be_counted_is_not_evaluated(federation: Federation, politie: Party) -> None:
    async with federation.broker() as broker:
        enrolment = politie.enrolment(ZSM_CONTEXT, "politiegegevens-8-13", 16)
        call, _ = await politie.open_import(enrolment)
        await federation.break_once(broker)
        with pytest.raises(StorageError):
            await politie.send_chunk(call, 0, [group.random_element()])
        assert metric(broker, "bekend_broker_enrolled_elements_total") == 0


async def test_must_07_a_fetch_that_cannot_be_logged_is_not_ordered(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker, politie.attached() as source:
        await federation.break_once(broker)
        with pytest.raises(StorageError):
            await om.fetch(politie.oin, ZSM_CONTEXT)
        assert source.orders.empty()


@pytest.fixture
def small_disk(tmp_path: Path, authority: Authority) -> Iterator[Federation]:
    """A federation whose broker keeps its data on a disk of one megabyte."""
    federation = Federation.create(tmp_path, authority)
    disk = tmp_path / "data"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    yield federation
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_must_07_a_really_full_disk_gives_no_answers_until_there_is_room(small_disk: Federation) -> None:
    om, politie = (small_disk.parties[oin] for oin in list(small_disk.parties)[:2])
    hog = small_disk.folder / "data" / "hog"
    async with small_disk.broker() as broker, politie.attached() as source:
        fill(hog)
        with pytest.raises(StorageError):
            await _begin_without_end(om)
        admitted = metric(broker, "bekend_broker_begins_total", purpose=ZSM_CONTEXT, decision="admitted")
        assert broker.log_entries() == admitted
        hog.unlink()
        lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
        await lookup.ask(lookup.question(politie.oin))
        assert isinstance((await lookup.replies())[politie.oin], broker_pb2.SealedAnswer)
        assert source.questions.qsize() == 1


async def test_must_07_a_really_full_disk_passes_no_collect_on_until_there_is_room(small_disk: Federation) -> None:
    om, vt = small_disk.parties[OM.oin], small_disk.parties[VEILIG_THUIS.oin]
    hog = small_disk.folder / "data" / "hog"
    async with small_disk.broker(), vt.attached() as source:
        name = token_bytes(16)
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(vt.oin, question_id=name))
        await lookup.replies()
        fill(hog)
        replies: list[bytes] = []
        with pytest.raises(StorageError):
            await _collect_without_end(om, name, replies)
        assert source.exchanges.qsize() == len(replies)
        hog.unlink()
        await om.collect(name, FIRST_COLLECT + len(replies))


async def _begin_without_end(party: Party) -> None:
    while True:
        await party.lookup(ZSM_CONTEXT).begin()


async def _collect_without_end(party: Party, name: bytes, replies: list[bytes]) -> None:
    while True:
        replies.append(await party.collect(name, FIRST_COLLECT + len(replies)))


def _execute(statement: str, connection: Connection) -> None:
    connection.execute(statement)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(1024))
            except OSError:
                return


async def test_the_log_can_only_grow(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        await om.lookup(ZSM_CONTEXT).begin()
        ways = ["DELETE FROM log", "UPDATE log SET at = 0", "INSERT INTO log SELECT * FROM log"]
        ways.append("INSERT INTO log SELECT * FROM log WHERE true ON CONFLICT (seq) DO UPDATE SET at = 0")
        ways.append("TRUNCATE log" if federation.database else "INSERT OR REPLACE INTO log SELECT * FROM log")
        for statement in ways:
            with pytest.raises((sqlite3.Error, psycopg.IntegrityError, StorageError)):
                await broker.store.write(partial(_execute, statement))
        assert broker.log_entries() == 1
