"""A PostgreSQL server that was put back to an older state: replicas notice it, and its log goes on under another name.

`tests/evil/test_restored.py` has what witnesses see of a log that goes on so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from bekend_broker.app import Broker, start_broker
from bekend_broker.checks import check_all
from bekend_broker.cli import app
from bekend_broker.config import BrokerConfig, DatabaseServer, load_config
from bekend_broker.rotation import make_draft
from bekend_broker.store_postgres import close_log
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, ZSM_CONTEXT
from bekend_deploy.postgres_server import OWNER, SERVICE, PostgresServer
from bekend_proto import log_table
from bekend_proto.checkpoint import log_origin
from bekend_proto.errors import LogError, NotReadyError, StorageError
from bekend_proto.findings import State
from bekend_proto.note import note_name, sign_note
from typer.testing import CliRunner, Result

from tests.support.federation import Federation
from tests.support.pki import Authority

MAIN = log_origin(BROKER_OIN, "main")
LATER = timedelta(minutes=3)


@dataclass
class Restored:
    """A federation whose database went back over two lookups, of which nodes saw the checkpoint."""

    federation: Federation
    postgres: PostgresServer
    dump: Path
    kept: int
    lost: int

    @property
    def database(self) -> DatabaseServer:
        assert self.federation.database is not None
        return self.federation.database

    def owned(self) -> DatabaseServer:
        return self.postgres.server(self.database.name, OWNER)

    def config(self, **changes: object) -> Path:
        """The broker's configuration as a file."""
        given = self.federation.config().model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        path = self.federation.folder / "broker.yaml"
        path.write_text(yaml.safe_dump(given | changes), encoding="utf-8")
        return path

    def command(self, config: Path) -> Result:
        words = ["database", "restored", "--owner", OWNER, "--config", str(config), "--json"]
        return CliRunner().invoke(app, words)

    def sign(self, config: BrokerConfig) -> None:
        """What the operator does off line."""
        draft = make_draft(config, self.federation.clock.now())
        operator = self.federation.operator
        config.manifest.write_bytes(sign_note(draft.text(), note_name(BROKER_OIN, "beheerder"), bytes(operator)))
        self.federation.broker_manifest, self.federation.manifest_number = draft, draft.number

    @asynccontextmanager
    async def goes_on(self, config: BrokerConfig) -> AsyncIterator[Broker]:
        """The operator signed, and a replica serves again."""
        self.sign(config)
        broker = await start_broker(config, self.federation.clock)
        try:
            for party in self.federation.parties.values():
                await party.connect(broker.port)
                party.renew_manifest()
                await party.publish()
            yield broker
        finally:
            await asyncio.gather(*(party.close() for party in self.federation.parties.values()))
            await broker.stop(0)


@pytest.fixture
def federation(tmp_path: Path, authority: Authority, postgres: PostgresServer) -> Federation:
    return Federation.create(tmp_path, authority, database=postgres.database())


async def asked(federation: Federation) -> None:
    await federation.parties[OM.oin].lookup(ZSM_CONTEXT).begin()


async def gone_back(federation: Federation, postgres: PostgresServer) -> Restored:
    """The broker was killed, and the database went back under it."""
    assert federation.database is not None
    dump = federation.folder / "bekend.dump"
    async with federation.broker() as broker:
        await asked(federation)
        postgres.dump(federation.database, dump)
        kept = broker.log_entries()
        await asked(federation)
        await broker._checkpoints.make()
        lost = broker.log_entries() - kept
    postgres.put_back(federation.database, dump)
    return Restored(federation, postgres, dump, kept, lost)


async def test_a_replica_that_runs_evaluates_nothing_once_its_database_went_back(
    federation: Federation, postgres: PostgresServer
) -> None:
    assert federation.database is not None
    dump = federation.folder / "bekend.dump"
    async with federation.broker() as broker:
        await asked(federation)
        postgres.dump(federation.database, dump)
        await asked(federation)
        await broker._checkpoints.make()
        whole = federation.folder / "whole.dump"
        postgres.dump(federation.database, whole)
        postgres.put_back(federation.database, dump)
        for _ in range(2):
            with pytest.raises(StorageError):
                await asked(federation)
        with pytest.raises(StorageError, match="went back"):
            broker.store.log_entries()
        # The server serves again what it held: nobody has to do anything here.
        postgres.put_back(federation.database, whole)
        await asked(federation)


async def test_a_replica_does_not_start_on_a_database_that_went_back(
    federation: Federation, postgres: PostgresServer
) -> None:
    restored = await gone_back(federation, postgres)
    assert restored.lost > 0
    with pytest.raises(StorageError, match="bekend broker database restored"):
        await start_broker(federation.config(), federation.clock)
    assert postgres.rows(restored.database, "SELECT count(*) FROM log") == [(restored.kept,)]
    doctor = {one.what: one for one in await asyncio.to_thread(check_all, federation.config(), federation.clock)}
    assert doctor["database"].state is State.FAIL
    assert "went back" in doctor["database"].detail


async def test_the_log_is_closed_in_the_database_and_goes_on_under_the_name_that_was_signed(
    federation: Federation, postgres: PostgresServer
) -> None:
    restored = await gone_back(federation, postgres)
    used = restored.command(restored.config())
    assert used.exit_code == 1
    assert "never used" in json.loads(used.output)["fault"]
    path = restored.config(log="main-2")
    done = restored.command(path)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["closed"]["size"] == restored.kept
    config = load_config(path)
    # The former name is closed for good, and the new one has to be signed first.
    with pytest.raises(StorageError, match="another broker or log"):
        await start_broker(federation.config(), federation.clock)
    with pytest.raises(LogError):
        close_log(restored.owned(), SERVICE, BROKER_OIN, "main", federation.clock.now())
    async with restored.goes_on(config) as broker:
        held = broker.store.read(log_table.closed)
        assert [(one.origin, one.size) for one in held] == [(MAIN, restored.kept)]
        entries = broker.store.read(lambda c: log_table.entries(c, restored.kept, restored.kept + 1))
        assert [one.kind for one in entries] == [log_table.RESTORED]
        assert entries[0].hash == held[0].hash()
        named = broker._directory.present.manifest.closed_logs
        assert [(one.log, one.size, one.next) for one in named] == [("main", restored.kept, "main-2")]


async def test_must_05_nothing_is_evaluated_for_two_minutes_after_the_log_was_closed(
    federation: Federation, postgres: PostgresServer
) -> None:
    """Ids that were seen since the dump are forgotten."""
    restored = await gone_back(federation, postgres)
    config = load_config(restored.config(log="main-2"))
    close_log(restored.owned(), SERVICE, BROKER_OIN, "main-2", federation.clock.now())
    async with restored.goes_on(config):
        with pytest.raises(NotReadyError):
            await asked(federation)
        federation.clock.advance(LATER)
        await asked(federation)


async def test_no_log_is_closed_under_a_replica_that_is_connected(
    federation: Federation, postgres: PostgresServer
) -> None:
    assert federation.database is not None
    owner = postgres.server(federation.database.name, OWNER)
    async with federation.broker() as broker:
        await asked(federation)
        with pytest.raises(StorageError, match="stop every replica"):
            close_log(owner, SERVICE, BROKER_OIN, "main-2", federation.clock.now())
        assert broker.store.read(log_table.closed) == []
    with pytest.raises(StorageError, match="another broker"):
        close_log(owner, SERVICE, POLITIE.oin, "main-2", federation.clock.now())


async def test_another_log_of_the_same_length_is_not_the_one_that_was_signed(
    federation: Federation, postgres: PostgresServer
) -> None:
    restored = await gone_back(federation, postgres)
    (federation.folder / "data" / "log-head").rename(federation.folder / "log-head")
    async with federation.broker() as broker:
        federation.clock.advance(LATER)
        for _ in range(restored.lost):
            await asked(federation)
        assert broker.log_entries() >= restored.kept + restored.lost
    (federation.folder / "log-head").replace(federation.folder / "data" / "log-head")
    with pytest.raises(StorageError, match="went back"):
        await start_broker(federation.config(), federation.clock)
