"""The database of a broker goes away: no answer, a fault that names it, and back by itself (must-list 7).

Each test has a server of its own to kill, hang and start again.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from bekend_broker import store_postgres
from bekend_broker.config import DatabaseServer
from bekend_broker.store_postgres import WRITER_LOCK, PostgresDatabase, PostgresEngine
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, ZSM_CONTEXT
from bekend_deploy.postgres_server import SERVICE, PostgresServer
from bekend_proto import log_table
from bekend_proto.errors import StorageError

from tests.support.federation import Federation, metric, until
from tests.support.pki import Authority


@pytest.fixture(scope="module")
def own_server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that tests may kill."""
    with PostgresServer.running(postgres.bin) as server:
        yield server


@pytest.fixture
def federation(tmp_path: Path, authority: Authority, own_server: PostgresServer) -> Federation:
    return Federation.create(tmp_path, authority, database=own_server.database())


async def test_must_07_a_database_that_is_killed_gives_no_answers_until_it_is_back(
    federation: Federation, own_server: PostgresServer
) -> None:
    om, politie = federation.parties[OM.oin], federation.parties[POLITIE.oin]
    async with federation.broker() as broker, politie.attached() as source:
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        own_server.kill()
        assert await lookup.outcomes(POLITIE.oin) == {POLITIE.oin: "storage"}
        with pytest.raises(StorageError):
            await om.lookup(ZSM_CONTEXT).begin()
        assert source.questions.empty()
        assert metric(broker, "bekend_broker_storage_faults_total") == 2
        own_server.start()
        # Nobody restarts or reloads the broker.
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(POLITIE.oin) == {POLITIE.oin: [False]}
        assert broker.log_entries() == 3
        broker.store.check()


async def test_an_orderly_restart_between_two_lookups_costs_nobody_an_answer(
    federation: Federation, own_server: PostgresServer
) -> None:
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        await om.lookup(ZSM_CONTEXT).begin()
        own_server.stop(signal.SIGINT)
        own_server.start()
        await om.lookup(ZSM_CONTEXT).begin()
        assert broker.log_entries() == 2
        assert metric(broker, "bekend_broker_storage_faults_total") == 0


async def test_what_was_told_as_durable_is_there_after_a_crash_of_the_server(own_server: PostgresServer) -> None:
    server = own_server.database()
    with closing(PostgresDatabase.open(server, BROKER_OIN, "main")) as database:
        hashes = [bytes([number]) * 32 for number in range(40)]
        told: list[bytes] = []

        async def log(one: bytes) -> None:
            await database.write(lambda c: log_table.append_log(c, "begin", one, 1))
            told.append(one)

        writing = [asyncio.create_task(log(one)) for one in hashes]
        await until(lambda: bool(told))
        own_server.kill()
        results = await asyncio.gather(*writing, return_exceptions=True)
        assert all(one is None or isinstance(one, StorageError) for one in results)
        own_server.start()
        kept = database.read(lambda c: [entry.hash for entry in log_table.entries(c, 0, 100)])
        assert set(told) <= set(kept)
        assert len(set(kept)) == len(kept)
        database.check()


async def test_a_database_that_hangs_fails_the_write_and_not_the_broker(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_postgres, "ANSWER_SECONDS", 0.3)
    server = own_server.database()
    with closing(PostgresDatabase.open(server, BROKER_OIN, "main")) as database:
        processes = own_server.processes()
        for one in processes:
            os.kill(one, signal.SIGSTOP)
        try:
            with pytest.raises(StorageError, match="does not answer"):
                await database.write(lambda c: log_table.append_log(c, "begin", bytes(32), 1))
        finally:
            for one in processes:
                os.kill(one, signal.SIGCONT)
        # What hung may be found done; what comes after it goes on from there.
        before = database.read(log_table.log_size)
        assert await database.write(lambda c: log_table.append_log(c, "begin", bytes(32), 1)) in (before, before + 1)


async def test_a_replica_that_hangs_with_the_lock_is_cut_off(own_server: PostgresServer) -> None:
    server = own_server.database()
    engine = PostgresEngine(server)
    database = PostgresDatabase.open(server, BROKER_OIN, "main")
    with closing(engine.connect().raw) as hanging, closing(database):
        hanging.execute("SET idle_in_transaction_session_timeout TO '100ms'")
        hanging.execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})".encode())
        await database.write(lambda c: log_table.append_log(c, "begin", bytes(32), 1))
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            hanging.execute("COMMIT")


async def test_a_broker_without_its_database_does_not_start_and_says_why(
    federation: Federation, own_server: PostgresServer
) -> None:
    own_server.stop(signal.SIGINT)
    try:
        with pytest.raises(StorageError, match=f"of {SERVICE} at .* see whether the server runs"):
            async with federation.broker():
                pass
    finally:
        own_server.start()


# --- over a network -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PostgresServer, DatabaseServer, Authority]]:
    """A server behind TLS and a password, and how a broker reaches it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "pki", "Database CA")
    files = authority.issue([], name="database", hosts=("localhost",))
    (folder / "password").write_text("geheim", encoding="utf-8")
    (folder / "password").chmod(0o600)
    with PostgresServer.running(postgres.bin, files) as server:
        made = server.database()
        with server.admin() as connection:
            connection.execute(f"ALTER ROLE {SERVICE} PASSWORD 'geheim'".encode())
        reached = DatabaseServer(
            addresses=(f"localhost:{server.port}",),
            name=made.name,
            user=SERVICE,
            password=folder / "password",
            authorities=authority.path,
        )
        yield server, reached, authority


def opened(server: DatabaseServer) -> None:
    PostgresDatabase.open(server, BROKER_OIN, "main").close()


def test_the_line_is_tls_1_3_with_a_password_bound_to_it(tls: tuple[PostgresServer, DatabaseServer, Authority]) -> None:
    _, reached, _ = tls
    with closing(PostgresDatabase.open(reached, BROKER_OIN, "main")) as database:
        used = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert database.read(lambda c: c.execute(used).fetchone()) == ("TLSv1.3",)
        # What is said of it names no secret.
        assert "geheim" not in database.name


def test_a_server_under_another_authority_is_no_database(
    tls: tuple[PostgresServer, DatabaseServer, Authority], tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "Another CA")
    with pytest.raises(StorageError, match="certificate verify failed"):
        opened(tls[1].model_copy(update={"authorities": stranger.path}))


def test_a_server_whose_certificate_names_another_host_is_no_database(
    tls: tuple[PostgresServer, DatabaseServer, Authority],
) -> None:
    server, reached, authority = tls
    files = authority.issue([], name="elsewhere", hosts=("elsewhere.example",))
    with PostgresServer.running(server.bin, files) as other, pytest.raises(StorageError, match="localhost"):
        opened(reached.model_copy(update={"addresses": (f"localhost:{other.port}",)}))


def test_a_server_without_tls_is_no_database(
    tls: tuple[PostgresServer, DatabaseServer, Authority], tmp_path: Path
) -> None:
    server, reached, _ = tls
    with server.admin() as connection:
        connection.execute("ALTER SYSTEM SET ssl TO off")
        connection.execute("SELECT pg_reload_conf()")
    try:
        with pytest.raises(StorageError, match="SSL"):
            opened(reached)
    finally:
        with server.admin() as connection:
            connection.execute("ALTER SYSTEM RESET ssl")
            connection.execute("SELECT pg_reload_conf()")


def test_a_wrong_password_is_told_without_it(
    tls: tuple[PostgresServer, DatabaseServer, Authority], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("anders", encoding="utf-8")
    (tmp_path / "password").chmod(0o600)
    with pytest.raises(StorageError, match="password authentication failed") as refused:
        opened(tls[1].model_copy(update={"password": tmp_path / "password"}))
    assert "anders" not in str(refused.value)
