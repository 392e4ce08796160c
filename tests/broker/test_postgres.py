"""PostgreSQL for replicas: the same tables, only the rights that a broker needs, and nothing that is not durable."""

import sqlite3
import stat
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest
from bekend_broker.cli import app, sample_config
from bekend_broker.config import BrokerConfig, DatabaseServer, load_config
from bekend_broker.store import Store
from bekend_broker.store_postgres import PostgresDatabase, prepare
from bekend_broker.store_postgres_schema import STEPS
from bekend_deploy.partners import BROKER_OIN, OM
from bekend_deploy.postgres_server import OWNER, SERVICE, PostgresServer
from bekend_policy.faults import YamlFaults
from bekend_policy.strict_yaml import load_yaml
from bekend_proto import log_table
from bekend_proto.errors import StorageError
from pydantic import ValidationError
from typer.testing import CliRunner

from tests.support.federation import Federation
from tests.support.pki import Authority

ONLY_POSTGRES = {("belongs", "oin"), ("belongs", "log"), ("belongs", "one"), ("migrations", "oldest")}


@pytest.fixture
def server(postgres: PostgresServer) -> DatabaseServer:
    return postgres.database()


def opened(server: DatabaseServer, oin: str = BROKER_OIN, log: str = "main") -> PostgresDatabase:
    return PostgresDatabase.open(server, oin, log)


def test_both_databases_have_the_same_tables_and_columns(
    postgres: PostgresServer, server: DatabaseServer, tmp_path: Path
) -> None:
    """Whoever adds a column to one of them hears here of the other."""
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'bekend'"
    here = set(postgres.rows(server, query))
    Store.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "broker.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        there = {(table, row[1]) for (table,) in tables for row in connection.execute(f"PRAGMA table_info({table})")}
    assert here - there == ONLY_POSTGRES
    assert there <= here


def test_the_running_broker_owns_nothing_and_cannot_change_the_log(
    postgres: PostgresServer, server: DatabaseServer
) -> None:
    allowed = postgres.rows(
        server,
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type)"
        f" FROM information_schema.role_table_grants WHERE grantee = '{SERVICE}' GROUP BY table_name",
    )
    rights = {str(row[0]): row[1] for row in allowed}
    for table in ("log", "tree", "alarm", "alarm_cleared", "retention_note"):
        assert rights[table] == "INSERT SELECT"
    assert rights["migrations"] == rights["belongs"] == "SELECT"
    assert "TRUNCATE" not in " ".join(map(str, rights.values()))
    with psycopg.connect(host=str(server.socket), user=SERVICE, dbname=server.name) as connection:
        for statement in (b"CREATE TABLE bekend.own (id INT)", b"DROP TABLE bekend.log", b"SET ROLE bekend_owner"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
            connection.rollback()


def test_not_even_the_owner_changes_the_log_by_mistake(server: DatabaseServer) -> None:
    with closing(opened(server)) as database:
        database.write_sync(lambda c: log_table.append_log(c, "begin", bytes(32), 1))
    with psycopg.connect(host=str(server.socket), user=OWNER, dbname=server.name) as connection:
        for statement in (
            b"DELETE FROM bekend.log",
            b"UPDATE bekend.tree SET hash = hash",
            b"TRUNCATE bekend.alarm CASCADE",
        ):
            with pytest.raises(psycopg.errors.IntegrityError, match="append-only"):
                connection.execute(statement)
            connection.rollback()


def test_a_gap_in_the_log_is_found(postgres: PostgresServer, server: DatabaseServer) -> None:
    with closing(opened(server)) as database:
        for number in range(3):
            database.write_sync(partial(log_table.append_log, kind="begin", entry_hash=bytes(32), at=number))
        assert "PostgreSQL" in database.check()
        with postgres.admin(server.name) as connection:
            connection.execute("SET session_replication_role TO replica")
            connection.execute("DELETE FROM bekend.log WHERE seq = 2")
        with pytest.raises(StorageError, match="gaps"):
            database.check()


def test_a_database_without_tables_says_what_to_run(postgres: PostgresServer) -> None:
    server = postgres.empty()
    with pytest.raises(StorageError, match="bekend broker database prepare"):
        opened(server)
    prepare(postgres.server(server.name, OWNER), SERVICE, BROKER_OIN, "main")
    opened(server).close()
    # Again, as before an upgrade: nothing is lost and no right is added.
    assert len(prepare(postgres.server(server.name, OWNER), SERVICE, BROKER_OIN, "main")) == 1
    opened(server).close()


def test_a_database_of_another_broker_or_log_is_refused(server: DatabaseServer) -> None:
    with pytest.raises(StorageError, match="another broker or log"):
        opened(server, oin=OM.oin)
    with pytest.raises(StorageError, match="another broker or log"):
        opened(server, log="second")


@pytest.mark.parametrize(("oldest", "fits"), [(1, True), (len(STEPS), True), (len(STEPS) + 1, False)])
def test_this_release_goes_on_beside_the_tables_of_the_next_unless_they_say_otherwise(
    postgres: PostgresServer, server: DatabaseServer, oldest: int, fits: bool
) -> None:
    with postgres.admin(server.name) as connection:
        connection.execute(
            "INSERT INTO bekend.migrations VALUES (%s, 'of the next release', %s)", (len(STEPS) + 1, oldest)
        )
    if fits:
        opened(server).close()
    else:
        with pytest.raises(StorageError, match="newer release"):
            opened(server)


def test_the_tables_of_an_older_release_are_refused(postgres: PostgresServer, server: DatabaseServer) -> None:
    with postgres.admin(server.name) as connection:
        connection.execute("DELETE FROM bekend.migrations WHERE number = %s", (len(STEPS),))
    with pytest.raises(StorageError, match=f"lacks step {len(STEPS)}"):
        opened(server)


def test_a_server_that_does_not_keep_what_it_commits_is_refused(postgres: PostgresServer) -> None:
    with PostgresServer.running(postgres.bin, fsync="off") as careless, pytest.raises(StorageError, match="fsync"):
        opened(careless.database())


def test_a_session_is_durable_whatever_the_role_was_given(postgres: PostgresServer, server: DatabaseServer) -> None:
    with postgres.admin() as connection:
        connection.execute(f"ALTER ROLE {SERVICE} IN DATABASE {server.name} SET synchronous_commit TO off".encode())
    with closing(opened(server)) as database:
        assert database.write_sync(lambda c: c.execute("SHOW synchronous_commit").fetchone()) == ("on",)


def test_a_password_comes_from_a_file_that_not_everybody_reads(server: DatabaseServer, tmp_path: Path) -> None:
    file = tmp_path / "password"
    with_password = server.model_copy(update={"password": file})
    with pytest.raises(StorageError, match="cannot be read"):
        opened(with_password)
    file.write_text("geheim\n", encoding="utf-8")
    file.chmod(0o644)
    with pytest.raises(StorageError, match="chmod 600"):
        opened(with_password)
    file.chmod(stat.S_IRUSR)
    opened(with_password).close()
    assert "geheim" not in repr(with_password)


def test_over_a_network_the_server_is_always_verified() -> None:
    with pytest.raises(ValidationError, match="always verified"):
        DatabaseServer(addresses=("db.example.nl:5432",))
    with pytest.raises(ValidationError, match="either"):
        DatabaseServer()


def test_the_command_prepares_what_the_configuration_names(
    postgres: PostgresServer, tmp_path: Path, authority: Authority
) -> None:
    federation = Federation.create(tmp_path, authority)
    server = postgres.empty()
    config = tmp_path / "broker.yaml"
    given = federation.config()
    config.write_text(
        f"""oin: "{given.oin}"
database:
  socket: {server.socket}
  name: {server.name}
covenant: {given.covenant}
anchor: "{given.anchor}"
manifest: {given.manifest}
keys: {given.keys}
listen: "127.0.0.1:0"
tls:
  certificate: {given.tls.certificate}
  key: {given.tls.key}
  authorities: {given.tls.authorities}
""",
        encoding="utf-8",
    )
    assert load_yaml(config, BrokerConfig).database is not None
    run = CliRunner().invoke
    missing = run(app, ["check", "--config", str(config)])
    assert "bekend broker database prepare" in missing.output
    done = run(app, ["database", "prepare", "--owner", OWNER, "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert "step 1" in done.output
    whole = run(app, ["check", "--config", str(config)])
    assert f"database: {server.name} of {SERVICE}" in whole.output


def test_a_broker_with_a_file_has_nothing_to_prepare(tmp_path: Path) -> None:
    config = tmp_path / "broker.yaml"
    CliRunner().invoke(app, ["init", "--config", str(config)])
    done = CliRunner().invoke(app, ["database", "prepare", "--owner", OWNER, "--config", str(config)])
    assert done.exit_code == 1
    assert "nothing to prepare" in done.output


def test_the_sample_shows_a_database_that_loads(tmp_path: Path) -> None:
    before, block = sample_config().decode().split("# database:\n")
    shown, after = block.split("\n\n", 1)
    lines = [line.removeprefix("# ") for line in shown.splitlines()]
    network = [line for line in lines if "socket" not in line.split("#")[0]]
    local = [line for line in lines if "addresses" not in line.split("#")[0]]
    for form in (network, local):
        (tmp_path / "broker.yaml").write_text("\n".join([before + "database:", *form, "", after]), encoding="utf-8")
        found = load_config(tmp_path / "broker.yaml").database
        assert found is not None
        assert (found.name, found.user, found.socket_port) == ("bekend", "bekend_broker", 5432)
        assert found.password == tmp_path / "database.password"
        assert found.certificate == tmp_path / "tls/broker-db.pem"


def test_half_a_configuration_is_a_fault_with_its_line(tmp_path: Path) -> None:
    sample = sample_config().decode()
    (tmp_path / "broker.yaml").write_text(sample + "\ndatabase:\n  name: bekend\n", encoding="utf-8")
    with pytest.raises(YamlFaults, match="addresses"):
        load_yaml(tmp_path / "broker.yaml", BrokerConfig)
