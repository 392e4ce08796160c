"""Databases that an earlier commit left: brought up to date, nothing of them is lost, and nothing is done twice.

`python -m tests.previous.make COMMIT` made the files, with that commit's own code.
"""

import gzip
import json
import secrets
import sqlite3
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bekend_broker import store as broker_store
from bekend_broker.store import Store as BrokerStore
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, ZSM_CONTEXT
from bekend_node.store import AnsweredQuestion, Store
from bekend_node.store_desk import DeskStore
from bekend_node.store_registers import Registers
from bekend_proto import log_table, merkle
from bekend_proto.checkpoint import log_origin, open_checkpoint
from bekend_proto.errors import StaleError, StorageError
from bekend_proto.ledger.exporting import make_export
from bekend_proto.ledger.keys import Keys
from bekend_proto.ledger.verify import verify
from bekend_proto.note import vkey_of
from bekend_proto.sql import Connection
from bekend_proto.v1.signed_pb2 import Question
from nacl.public import PrivateKey, SealedBox
from nacl.secret import SecretBox
from nacl.signing import SigningKey

PREVIOUS = Path(__file__).parents[1] / "previous"
COMMITS = sorted(path.name for path in PREVIOUS.iterdir() if (path / "keys.json").exists())
FILES = {
    "broker": "broker.db",
    "node": "node.db",
    "requester": "node.db",
    "registers": "registers.db",
    "desk": "desk.db",
}
LOGS = {
    "broker_signing": log_origin(BROKER_OIN, "main"),
    "signing": log_origin(POLITIE.oin, "node"),
    "requester_signing": log_origin(OM.oin, "node"),
}
"""Whose key, and the log that it signs."""


class Left:
    """What a commit left, in folders of its own, as files that its code wrote."""

    def __init__(self, commit: str, folder: Path) -> None:
        self.folder = folder
        self.keys: dict[str, str] = json.loads((PREVIOUS / commit / "keys.json").read_text(encoding="ascii"))
        for name, file in FILES.items():
            (folder / name).mkdir()
            script = gzip.decompress((PREVIOUS / commit / f"{name}.sql.gz").read_bytes()).decode()
            with closing(sqlite3.connect(folder / name / file)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(script)

    def key(self, name: str) -> bytes:
        return bytes.fromhex(self.keys[name])

    @property
    def vkeys(self) -> Keys:
        return Keys.parse([vkey_of(log, bytes(SigningKey(self.key(name)).verify_key)) for name, log in LOGS.items()])

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.keys["moment"])

    def schema(self, name: str) -> int:
        with closing(sqlite3.connect(self.folder / name / FILES[name])) as connection:
            return int(connection.execute("SELECT max(number) FROM migrations").fetchone()[0])


@pytest.fixture(params=COMMITS)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    return Left(request.param, tmp_path)


def holds(connection: Connection, origin: str, key: bytes, keys: Keys) -> int:
    """The log, its tree and its last signed head agree, and an export of all of it verifies; gives its size."""
    size = log_table.log_size(connection)
    entries = log_table.entries(connection, 0, size)
    frontier = merkle.Frontier((0, one.leaf()) for one in entries)
    assert merkle.root(size, log_table.reader(connection)) == frontier.root()
    newest = log_table.newest_checkpoint(connection)
    assert newest is not None
    signing = SigningKey(key)
    head = open_checkpoint(newest[1], [bytes(signing.verify_key)])
    assert (head.origin, head.size) == (origin, newest[0])
    assert head.root == merkle.root(head.size, log_table.reader(connection))
    log_table.check_origin(connection, origin)
    made = make_export(connection, origin, signing, since=0, until=2**50, made=2**50)
    # Cosignatures are of keys that stand in no file here; what they are worth is looked at elsewhere.
    found = verify("log.export", made.to_bytes(signing), keys).findings
    assert not found
    return size


def test_there_is_at_least_one() -> None:
    assert COMMITS


def test_fg_29_logs_of_before_verify_and_go_on(left: Left) -> None:
    logs: dict[str, tuple[Any, str]] = {
        "broker": (BrokerStore.open, "broker_signing"),
        "node": (Store.open, "signing"),
        "requester": (Store.open, "requester_signing"),
    }
    for name, (opened, key) in logs.items():
        before = left.schema(name)
        with closing(opened(left.folder / name)) as store:
            size = store.read(lambda c, key=key: holds(c, LOGS[key], left.key(key), left.vkeys))
            assert size > 5
            store.database.write_sync(lambda c: log_table.append_log(c, "test", bytes(32), 1))
            assert store.read(log_table.log_size) == size + 1
            store.database.check()
        assert left.schema(name) >= before
        # Once is enough.
        with closing(opened(left.folder / name)) as store:
            assert store.read(log_table.log_size) == size + 1


async def test_must_05_what_was_answered_before_is_not_answered_again(left: Left) -> None:
    with closing(Store.open(left.folder / "node")) as store:
        payloads = store.answered_between(0, 2**50)
        assert len(payloads) == 6
        for payload in payloads:
            question = Question.FromString(payload)
            again = AnsweredQuestion(
                question.question_id, bytes(32), OM.oin, POLITIE.oin, ZSM_CONTEXT, "2026-11", payload, bytes(64), ()
            )
            with pytest.raises(StaleError):
                await store.admit_answer(again, [], left.moment)
            kept = store.answered(question.question_id)
            assert kept is not None
            assert len(kept[2]) == 1
        assert store.filters.present()[0].purpose == ZSM_CONTEXT


def test_own_records_of_before_open(left: Left) -> None:
    box = SealedBox(PrivateKey(left.key("requester_officer")))
    with closing(Store.open(left.folder / "requester")) as store:
        records = store.own_records("lookup")
        assert len(records) == 6
        for record in records:
            assert ZSM_CONTEXT.encode() in box.decrypt(record.sealed)
        assert store.manifests().keys() >= {BROKER_OIN, POLITIE.oin}


def test_registers_and_desk_of_before_are_whole(left: Left) -> None:
    registers = Registers.open(left.folder / "registers")
    found = registers.generations()
    assert [(one.purpose, one.restored) for one in found] == [(ZSM_CONTEXT, False)]
    assert registers.canary(ZSM_CONTEXT, found[0].epoch) is not None
    registers.close()
    desk = DeskStore.open(left.folder / "desk")
    (exchange,) = desk.exchanges()
    (sealed,) = desk.matters(exchange.question_id)
    assert SecretBox(left.key("desk")).decrypt(sealed).startswith(b"what a colleague")
    desk.close()


async def test_must_05_ids_and_budgets_of_the_broker_of_before_count(left: Left) -> None:
    with closing(BrokerStore.open(left.folder / "broker")) as store:
        assert sum(store.spent_on(left.moment.date()).values()) > 0
        rows = store.read(lambda c: c.execute("SELECT id FROM seen").fetchall())
        assert len(rows) > 5
        for (name,) in rows:
            first = await store.write(partial(broker_store.first_time, kind=b"", name=bytes(name), now=left.moment))
            assert not first


@pytest.mark.parametrize("name", ["broker", "node", "registers", "desk"])
def test_a_database_of_a_newer_release_is_refused(left: Left, name: str) -> None:
    with closing(sqlite3.connect(left.folder / name / FILES[name])) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, ?)", (f"of a later year {secrets.token_hex(2)}",))
        connection.commit()
    opened: Any = {"broker": BrokerStore.open, "node": Store.open, "registers": Registers.open, "desk": DeskStore.open}
    with pytest.raises(StorageError, match="newer release"):
        opened[name](left.folder / name)
