"""From one broker with a file to replicas: everything that it kept, and the same log, in PostgreSQL; or nothing."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest
import yaml
from bekend_broker import store_directory, store_imports
from bekend_broker.app import start_broker
from bekend_broker.cli import app
from bekend_broker.config import DatabaseServer
from bekend_broker.log_head import LogHead
from bekend_broker.store import FILE, Store, first_time
from bekend_broker.store_budgets import Account, spend
from bekend_broker.store_decisions import Decisions
from bekend_broker.store_imports import ImportId, ImportRow
from bekend_broker.store_move import Moved, move
from bekend_broker.store_postgres import PostgresDatabase
from bekend_broker.store_questions import OpenQuestion, keep_open_question, use_release
from bekend_broker.store_retention import RetentionStore
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, ZSM_CONTEXT
from bekend_deploy.postgres_server import OWNER, SERVICE, PostgresServer
from bekend_proto import checkpoint, log_table, merkle
from bekend_proto.checkpoint import Checkpoint, log_origin
from bekend_proto.clock import milliseconds
from bekend_proto.decision_table import DecisionRow, append_decision, decisions_between
from bekend_proto.errors import LogError, StorageError
from bekend_proto.incarnation import Incarnation
from bekend_proto.log_table import Alarm, Entry
from bekend_proto.note import NoteSignature
from bekend_proto.read_table import LogRead
from bekend_proto.sql import Connection
from bekend_proto.v1 import broker_pb2
from nacl.signing import SigningKey
from typer.testing import CliRunner, Result

from tests.broker.test_checkpoints import ORIGIN, begun, consistency, get_checkpoint
from tests.support.federation import Federation, Party, told

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = milliseconds(NOW)
AWKWARD = 'a\\N\t"é"\r\n\\.%s?'
"""What a line of COPY has to escape."""
KEY = SigningKey(bytes(32))


def fill(connection: Connection) -> None:
    """Rows in every table, in an order that is not that of their keys."""
    entries = [Entry("question", token_bytes(32), AT + one, OM.oin, POLITIE.oin) for one in range(1100)]
    log_table.append(connection, entries[:3])
    log_table.close_log(connection, log_origin(BROKER_OIN, "before"), taken=AT - 9, at=AT)
    for size in (4, 700):
        log_table.append(connection, entries[log_table.log_size(connection) : size])
        root = merkle.root(log_table.log_size(connection), log_table.reader(connection))
        made = Checkpoint(ORIGIN, log_table.log_size(connection), root)
        log_table.keep_checkpoint(connection, made.size, made.sign(KEY), AT + size)
        for name in ("b", "B"):
            log_table.keep_cosignature(connection, made.size, NoteSignature(name, token_bytes(4), token_bytes(72)))
    log_table.append(connection, entries[700:])
    log_table.keep_seen(connection, Checkpoint(f"bekend/{OM.oin}/node", 3, token_bytes(32)), token_bytes(90), AT)
    for stops in (True, False):
        number = log_table.raise_alarm(
            connection, Alarm(0, AT, ORIGIN, "shrank", stops, AWKWARD + str(stops), token_bytes(40), False)
        )
    log_table.clear_alarm(connection, number, at=AT + 1, by="beheerder", reason=AWKWARD)
    for one in (b"z", b"a"):
        assert first_time(connection, one, token_bytes(16), NOW)
    for requester in ("b", "B", "a"):
        assert spend(connection, Account(NOW.date(), requester, ZSM_CONTEXT), 3, 10)
    register = ImportId(POLITIE.oin, ZSM_CONTEXT, "register", token_bytes(16))
    store_imports.begin_import(connection, register, ImportRow("2026Q4", 1, "2026-11", 12), NOW)
    store_directory.keep_manifest(connection, OM.oin, 7, token_bytes(500))
    store_directory.keep_covenant(connection, "convenant", 3)
    store_directory.keep_suspension(connection, ("convenant", OM.oin, "doel", ZSM_CONTEXT), 2, token_bytes(80))
    keep_open_question(
        connection, b"q" * 16, OpenQuestion(OM.oin, POLITIE.oin, ZSM_CONTEXT, AWKWARD, 1, AT + 60_000, 5)
    )
    assert use_release(connection, b"q" * 16, token_bytes(32), 2)
    store_directory.keep_incarnation(connection, Incarnation(4, "b" * 32, OM.oin))
    for refused in (True, False):
        row = DecisionRow(
            AT, token_bytes(16), OM.oin, ZSM_CONTEXT, refused, json.dumps({"questions": [], "x": AWKWARD})
        )
        append_decision(connection, row)


def held(store: Store) -> dict[str, Any]:
    """All that the store tells of itself."""
    reads: dict[str, Any] = {
        name: store.read(work)
        for name, work in {
            "size": log_table.log_size,
            "entries": lambda c: log_table.entries(c, 0, log_table.log_size(c)),
            "root": lambda c: merkle.root(log_table.log_size(c), log_table.reader(c)),
            "tree": lambda c: [log_table.reader(c)(at) for at in range(merkle.stored(log_table.log_size(c)))],
            "checkpoints": lambda c: log_table.checkpoints(c, 0, 9999),
            "cosignatures": lambda c: {
                size: {(one.name, one.signature) for one in log_table.cosignatures(c, size)}
                for size, _, _ in log_table.checkpoints(c, 0, 9999)
            },
            "closed": log_table.closed,
            "quiet": log_table.quiet_until,
            "seen": log_table.seen,
            "alarms": lambda c: log_table.alarms(c, open_only=False),
            "incarnations": store_directory.incarnations,
            "imports": lambda c: store_imports.imports_in(
                c, ImportId(POLITIE.oin, ZSM_CONTEXT, "register", b""), 1, "2026-11"
            ),
            "decisions": lambda c: list(decisions_between(c, 0, AT + 9)),
        }.items()
    }
    return reads | {
        "manifests": store.manifests(),
        "covenant": store.newest_covenant("convenant"),
        "enrolled": store.enrolled("2026Q4"),
        "suspensions": store.suspensions(),
        "open": (store.open_question(b"q" * 16, NOW), store.open_questions(NOW)),
        "spent": store.spent_on(NOW.date()),
        "reads": Decisions(store.database).reads(0, AT + 9),
        "retention": RetentionStore(store.database).newest_note(),
        "terms": RetentionStore(store.database).older_than(AT + 9),
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of a broker that kept something in every table, and stopped."""
    folder = tmp_path / "file"
    with closing(Store.open(folder)) as store:
        store.database.write_sync(fill)
        Decisions(store.database).keep_read(LogRead(AT, "beheerder", "ldv", "toezicht", 1, 2, AWKWARD))
        assert RetentionStore(store.database).keep_note(1, token_bytes(60), AT)
    with closing(sqlite3.connect(folder / FILE)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            assert connection.execute(f"SELECT 1 FROM {name}").fetchone(), f"fill {name} too"
    return folder


@pytest.fixture
def server(postgres: PostgresServer) -> DatabaseServer:
    return postgres.database()


def moved(postgres: PostgresServer, server: DatabaseServer, data: Path, log: str = "main") -> Moved:
    return move(postgres.server(server.name, OWNER), SERVICE, BROKER_OIN, log, data)


def is_empty(postgres: PostgresServer, server: DatabaseServer) -> bool:
    names = postgres.rows(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'bekend'")
    kept = {str(name) for (name,) in names} - {"migrations", "belongs"}
    return not any(postgres.rows(server, f'SELECT 1 FROM "{name}" LIMIT 1') for name in kept)


def test_everything_arrives_as_it_was_and_numbers_go_on(
    postgres: PostgresServer, server: DatabaseServer, data: Path
) -> None:
    before = (data / FILE).read_bytes()
    with closing(Store.open(data)) as store:
        wanted = held(store)
    done = moved(postgres, server, data)
    assert (data / FILE).read_bytes() == before
    assert (done.head.size, done.head.root) == (wanted["size"], wanted["root"])
    with closing(Store(PostgresDatabase.open(server, BROKER_OIN, "main", LogHead(data)))) as store:
        assert held(store) == wanted
        assert "PostgreSQL" in store.check()
        # What is numbered or counted here goes on, with the rights of a running broker.
        alarm = Alarm(0, AT, ORIGIN, "shrank", True, "another", b"", False)
        assert store.database.write_sync(lambda c: log_table.raise_alarm(c, alarm)) == wanted["alarms"][-1].id + 1
        row = DecisionRow(AT, token_bytes(16), OM.oin, ZSM_CONTEXT, False, "{}")
        store.database.write_sync(lambda c: append_decision(c, row))
        assert [one.trace for one in store.read(lambda c: list(decisions_between(c, 0, AT + 9)))][-1] == row.trace
        entry = Entry("begin", token_bytes(32), AT)
        assert store.database.write_sync(lambda c: log_table.append(c, [entry])) == wanted["size"]
        account = Account(NOW.date(), "B", ZSM_CONTEXT)
        assert not store.database.write_sync(lambda c: spend(c, account, 8, 10))
        assert store.database.write_sync(lambda c: spend(c, account, 7, 10))


@pytest.mark.parametrize(
    ("trigger", "is_known"),
    [
        ("CREATE TRIGGER die BEFORE INSERT", True),
        ("CREATE CONSTRAINT TRIGGER die AFTER INSERT", False),
    ],
    ids=["half way", "at the commit"],
)
def test_a_server_that_fails_holds_nothing_and_the_move_is_done_again(
    postgres: PostgresServer, server: DatabaseServer, data: Path, trigger: str, is_known: bool
) -> None:
    moment = "" if is_known else "DEFERRABLE INITIALLY DEFERRED"
    with postgres.admin(server.name) as connection:
        connection.execute(
            "CREATE FUNCTION bekend.die() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;"
            f"{trigger} ON bekend.cosignature {moment} FOR EACH ROW EXECUTE FUNCTION bekend.die()".encode()
        )
    with pytest.raises(StorageError, match=server.name if is_known else "not known: run this again"):
        moved(postgres, server, data)
    assert is_empty(postgres, server)
    # While the database may hold the log, nobody serves from the file.
    assert (data / "log-head").exists() is not is_known
    with postgres.admin(server.name) as connection:
        connection.execute("DROP FUNCTION bekend.die CASCADE")
    done = moved(postgres, server, data)
    assert postgres.rows(server, "SELECT count(*) FROM log") == [(done.head.size,)]
    with pytest.raises(StorageError, match="moved before"):
        moved(postgres, server, data)


def test_a_database_that_is_not_empty_or_in_use_is_refused(
    postgres: PostgresServer, server: DatabaseServer, data: Path
) -> None:
    with closing(PostgresDatabase.open(server, BROKER_OIN, "main")) as replica:
        with pytest.raises(StorageError, match="stop every replica"):
            moved(postgres, server, data)
        replica.write_sync(lambda c: store_directory.keep_covenant(c, "convenant", 1))
    with pytest.raises(StorageError, match=r"not empty \(covenant\)"):
        moved(postgres, server, data)
    assert postgres.rows(server, "SELECT * FROM covenant") == [("convenant", 1)]
    assert postgres.rows(server, "SELECT count(*) FROM log") == [(0,)]
    with pytest.raises(StorageError, match="database prepare"):
        moved(postgres, postgres.empty(), data)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP TRIGGER log_keeps_values; UPDATE log SET source = '' WHERE seq = 9", "do not agree at 9 entries"),
        (
            "DROP TRIGGER tree_keeps_values; UPDATE tree SET hash = zeroblob(32) WHERE position = 0",
            "do not agree at 1 entries",
        ),
        (
            "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 4) WHERE size = 700",
            "at 700 entries",
        ),
        ("INSERT INTO migrations VALUES (99, 'of later')", "newer release"),
    ],
)
def test_a_file_that_does_not_hold_what_was_signed_is_not_moved(
    postgres: PostgresServer, server: DatabaseServer, data: Path, change: str, told: str
) -> None:
    with closing(sqlite3.connect(data / FILE)) as connection:
        connection.executescript(change)
    with pytest.raises(StorageError, match=told):
        moved(postgres, server, data)
    assert is_empty(postgres, server)


def test_a_file_of_an_older_release_is_brought_up_to_this_one_and_moved(
    postgres: PostgresServer, server: DatabaseServer, data: Path
) -> None:
    with closing(Store.open(data)) as store:
        wanted = {**held(store), "incarnations": {}}
    with closing(sqlite3.connect(data / FILE)) as connection:
        connection.executescript("DROP TABLE incarnation; DELETE FROM migrations WHERE number = 10")
    done = moved(postgres, server, data)
    assert (done.head.size, done.head.root) == (wanted["size"], wanted["root"])
    with closing(Store(PostgresDatabase.open(server, BROKER_OIN, "main", LogHead(data)))) as store:
        assert held(store) == wanted


def test_a_file_of_an_older_release_that_is_in_use_stays_as_it_is(
    postgres: PostgresServer, server: DatabaseServer, data: Path
) -> None:
    with closing(sqlite3.connect(data / FILE)) as connection:
        connection.executescript("DROP TABLE incarnation; DELETE FROM migrations WHERE number = 10")
    before = (data / FILE).read_bytes()
    with closing(sqlite3.connect(data / FILE, isolation_level=None)) as open_elsewhere:
        open_elsewhere.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="in use"):
            moved(postgres, server, data)
    assert (data / FILE).read_bytes() == before
    assert is_empty(postgres, server)


def test_the_log_keeps_its_name(postgres: PostgresServer, data: Path, tmp_path: Path) -> None:
    other = postgres.empty()
    with pytest.raises(LogError, match="set `log` back"):
        moved(postgres, other, data, "main-2")
    with pytest.raises(StorageError, match="nothing to move"):
        moved(postgres, other, tmp_path / "none")
    # The log went on in another database since.
    LogHead(data).keep(Checkpoint(ORIGIN, 99_999, bytes(32)))
    with pytest.raises(StorageError, match="99999 entries"):
        moved(postgres, other, data)


def command(federation: Federation, server: DatabaseServer | None) -> Result:
    """`bekend broker database move`, with the configuration of its broker and this database."""
    given = federation.config().model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    if server is not None:
        given["database"] = server.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    path = federation.folder / "broker.yaml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    return CliRunner().invoke(app, ["database", "move", "--owner", OWNER, "--config", str(path), "--json"])


async def test_fg_29_a_broker_that_was_moved_goes_on_with_its_log_and_its_file_is_not_served_again(
    federation: Federation, om: Party, postgres: PostgresServer
) -> None:
    server = postgres.database()
    async with federation.broker() as broker:
        older = await begun(broker, om, 3)
        cosigned = checkpoint.cosign((await get_checkpoint(om))[1], om.oin, om.signing, 1_800_000_000)
        await told(om.stub.PutCosignature(broker_pb2.PutCosignatureRequest(checkpoint=cosigned), timeout=10))
        spent = broker.store.spent_on(federation.clock.now().date())
        busy = command(federation, server)
        assert busy.exit_code == 1
        assert "in use" in json.loads(busy.output)["fault"]
    assert "add the empty PostgreSQL database" in json.loads(command(federation, None).output)["fault"]
    with pytest.raises(StorageError, match="was not moved"):
        await start_broker(federation.config().model_copy(update={"database": server}), federation.clock)
    done = command(federation, server)
    assert done.exit_code == 0, done.output
    told_log = json.loads(done.output)["log"]
    assert (told_log["size"], told_log["root"]) == (3, older.root.hex())
    with pytest.raises(StorageError, match="would fork"):
        await start_broker(federation.config(), federation.clock)
    federation.database = server
    async with federation.broker() as broker:
        same, note = await get_checkpoint(om)
        assert same == older
        assert note == cosigned
        assert broker.store.spent_on(federation.clock.now().date()) == spent != {}
        newer = await begun(broker, om, 2)
        merkle.verify_consistency(3, older.root, 5, newer.root, await consistency(om, older, newer))
