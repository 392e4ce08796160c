"""The broker's tables in PostgreSQL: those of `store.py`, column by column, with PostgreSQL's types and triggers.

A step is only ever added, and only adds (a table, a column with a default, an index): replicas of the release before
go on with the tables while those of the next one are started. One that cannot keep to that says so in `oldest`.

The role of the running broker owns nothing. It may read, and write what GRANTS says: the log, its tree and the alarms
grow and are never changed, not even by a broker that somebody took over.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import psycopg
from bekend_proto import log_table
from bekend_proto.checkpoint import log_origin
from bekend_proto.errors import LogError, StorageError
from bekend_proto.log_table import Closed
from bekend_proto.sql import Connection
from psycopg import sql

SCHEMA: Final = "bekend"
"""The PostgreSQL schema that holds every table."""


class Step(NamedTuple):
    """One step. Once released it is never changed."""

    number: int
    name: str
    script: str
    oldest: int = 1
    """The oldest release, by its last step, that can still work with the tables after this step."""


_FIRST: Final = """
CREATE FUNCTION is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$;

CREATE TABLE belongs (
  oin TEXT NOT NULL,
  log TEXT NOT NULL,
  one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one)
);

CREATE TABLE log (
  seq       BIGINT PRIMARY KEY,
  kind      TEXT NOT NULL,
  hash      BYTEA NOT NULL CHECK (octet_length(hash) = 32),
  at        BIGINT NOT NULL,
  requester TEXT NOT NULL DEFAULT '',
  source    TEXT NOT NULL DEFAULT ''
);
CREATE FUNCTION log_has_no_gaps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.seq <> 1 AND NOT EXISTS (SELECT 1 FROM log WHERE seq = NEW.seq - 1) THEN
    RAISE EXCEPTION 'the log has no gaps' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER log_has_no_gaps BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION log_has_no_gaps();

CREATE TABLE tree (
  position BIGINT PRIMARY KEY,
  hash     BYTEA NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE FUNCTION tree_has_no_gaps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.position <> 0 AND NOT EXISTS (SELECT 1 FROM tree WHERE position = NEW.position - 1) THEN
    RAISE EXCEPTION 'the log has no gaps' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tree_has_no_gaps BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION tree_has_no_gaps();

CREATE TABLE checkpoint (
  size BIGINT PRIMARY KEY,
  at   BIGINT NOT NULL,
  note BYTEA NOT NULL
);
CREATE TABLE cosignature (
  size      BIGINT NOT NULL REFERENCES checkpoint ON DELETE CASCADE,
  name      TEXT NOT NULL,
  key_id    BYTEA NOT NULL,
  signature BYTEA NOT NULL,
  PRIMARY KEY (size, name, key_id)
);
CREATE TABLE log_seen (
  origin TEXT PRIMARY KEY,
  size   BIGINT NOT NULL,
  root   BYTEA NOT NULL,
  note   BYTEA NOT NULL,
  at     BIGINT NOT NULL
);
CREATE TABLE alarm (
  id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at       BIGINT NOT NULL,
  origin   TEXT NOT NULL,
  kind     TEXT NOT NULL,
  stops    BOOLEAN NOT NULL,
  detail   TEXT NOT NULL,
  evidence BYTEA NOT NULL
);
CREATE TABLE alarm_cleared (
  id     BIGINT PRIMARY KEY REFERENCES alarm,
  at     BIGINT NOT NULL,
  by     TEXT NOT NULL,
  reason TEXT NOT NULL
);

CREATE TABLE seen (
  id    BYTEA PRIMARY KEY,
  until BIGINT NOT NULL
);
CREATE INDEX seen_until ON seen (until);
CREATE TABLE spent (
  day       TEXT NOT NULL,
  requester TEXT NOT NULL,
  budget    TEXT NOT NULL,
  count     BIGINT NOT NULL CHECK (count >= 0),
  PRIMARY KEY (day, requester, budget)
);
CREATE TABLE import (
  source    TEXT NOT NULL,
  purpose   TEXT NOT NULL,
  register  TEXT NOT NULL,
  import_id BYTEA NOT NULL,
  epoch     TEXT NOT NULL,
  kind      BIGINT NOT NULL,
  period    TEXT NOT NULL,
  spent     BIGINT NOT NULL CHECK (spent >= 0),
  at        BIGINT NOT NULL,
  PRIMARY KEY (source, purpose, register, import_id)
);
CREATE INDEX import_at ON import (at);
CREATE TABLE manifest (
  oin    TEXT PRIMARY KEY,
  number BIGINT NOT NULL,
  note   BYTEA NOT NULL
);
CREATE TABLE covenant (
  id      TEXT PRIMARY KEY,
  version BIGINT NOT NULL
);
CREATE TABLE suspension (
  covenant TEXT NOT NULL,
  signer   TEXT NOT NULL,
  what     TEXT NOT NULL,
  about    TEXT NOT NULL,
  number   BIGINT NOT NULL,
  note     BYTEA NOT NULL,
  PRIMARY KEY (covenant, signer, what, about)
);
CREATE TABLE open_question (
  question_id BYTEA PRIMARY KEY,
  requester   TEXT NOT NULL,
  source      TEXT NOT NULL,
  purpose     TEXT NOT NULL,
  principal   TEXT NOT NULL,
  persons     BIGINT NOT NULL,
  until       BIGINT NOT NULL,
  releases    BYTEA NOT NULL DEFAULT '',
  sent        BIGINT NOT NULL DEFAULT 0,
  collected   BIGINT NOT NULL DEFAULT 0,
  "left"      BIGINT NOT NULL CHECK ("left" >= 0)
);
CREATE INDEX open_question_until ON open_question (until);

CREATE TABLE decision (
  seq       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at        BIGINT NOT NULL,
  trace     BYTEA NOT NULL CHECK (octet_length(trace) = 16),
  requester TEXT NOT NULL,
  purpose   TEXT NOT NULL,
  refused   BOOLEAN NOT NULL,
  facts     TEXT NOT NULL
);
CREATE INDEX decision_at ON decision (at);
CREATE INDEX decision_refused ON decision (requester, at) WHERE refused;
CREATE TABLE log_read (
  at       BIGINT NOT NULL,
  "user"   TEXT NOT NULL,
  log      TEXT NOT NULL,
  used_for TEXT NOT NULL,
  first    BIGINT NOT NULL,
  until    BIGINT NOT NULL,
  detail   TEXT NOT NULL
);
CREATE INDEX log_read_at ON log_read (at);
CREATE TABLE retention_note (
  number BIGINT PRIMARY KEY,
  at     BIGINT NOT NULL,
  note   BYTEA NOT NULL
);
"""

_APPEND_ONLY: Final = ("log", "tree", "alarm", "alarm_cleared")

_TRIGGERS: Final = "".join(
    f"CREATE TRIGGER {table}_is_append_only BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION is_append_only();\n"
    f"CREATE TRIGGER {table}_keeps_all BEFORE TRUNCATE ON {table}"
    " FOR EACH STATEMENT EXECUTE FUNCTION is_append_only();\n"
    for table in _APPEND_ONLY
)

_CLOSED: Final = """
CREATE TABLE log_closed (
  origin TEXT PRIMARY KEY,
  size   BIGINT NOT NULL,
  root   BYTEA NOT NULL,
  taken  BIGINT NOT NULL,
  at     BIGINT NOT NULL
);
"""

_INCARNATION: Final = """
CREATE TABLE incarnation (
  oin      TEXT PRIMARY KEY,
  number   BIGINT NOT NULL,
  instance TEXT NOT NULL
);
"""

STEPS: Final = (
    Step(1, "broker: everything that the first release with PostgreSQL keeps", _FIRST + _TRIGGERS),
    Step(2, "broker: logs closed by a restore", _CLOSED),
    Step(3, "broker: which machine each node is", _INCARNATION),
)

_CHANGED: Final = (
    "cosignature",
    "log_seen",
    "spent",
    "import",
    "manifest",
    "covenant",
    "suspension",
    "open_question",
    "incarnation",
)
_FORGOTTEN: Final = ("checkpoint", "seen", "spent", "import", "open_question", "decision", "log_read")

GRANTS: Final = {
    "SELECT": ("migrations", "belongs", "log_closed", *_APPEND_ONLY, *_CHANGED, *_FORGOTTEN, "retention_note"),
    "INSERT": (*_APPEND_ONLY, *_CHANGED, *_FORGOTTEN, "retention_note"),
    "UPDATE": _CHANGED,
    "DELETE": _FORGOTTEN,
}
"""What the role of the running broker may do, and nothing beside it."""


def prepare_tables(raw: "psycopg.Connection[tuple[Any, ...]]", service: str, oin: str, log: str) -> Iterator[str]:
    """Make or renew the tables, in the transaction of their owner, and grant `service` what it needs; what was done."""
    raw.execute(
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};"
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.migrations"
        " (number BIGINT PRIMARY KEY, name TEXT NOT NULL, oldest BIGINT NOT NULL)".encode()
    )
    done = {row[0] for row in raw.execute("SELECT number FROM migrations").fetchall()}
    for step in STEPS:
        if step.number not in done:
            raw.execute(step.script.encode())
            raw.execute("INSERT INTO migrations VALUES (%s, %s, %s)", (step.number, step.name, step.oldest))
            yield f"step {step.number}: {step.name}"
    raw.execute("INSERT INTO belongs (oin, log) VALUES (%s, %s) ON CONFLICT DO NOTHING", (oin, log))
    role = sql.Identifier(service)
    raw.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA bekend FROM {}").format(role))
    raw.execute(sql.SQL("GRANT USAGE ON SCHEMA bekend TO {}").format(role))
    for right, tables in GRANTS.items():
        on = sql.SQL(", ").join(sql.Identifier(SCHEMA, table) for table in tables)
        raw.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(right), on, role))
    yield f"rights of {service}: what a running broker needs"


def close_here(connection: Connection, service: str, oin: str, log: str, at: int) -> Closed:
    """Close the log that the database holds, and let it go on as `log`, in the transaction of the tables' owner.

    `at` in milliseconds. Raises StorageError while a session of `service` is there, and for another broker's database;
    LogError for a name that was used.
    """
    check_unused(connection, service)
    held = connection.execute("SELECT oin, log FROM belongs").fetchone()
    if held is None or held[0] != oin:
        raise StorageError(f"the database belongs to another broker ({held and held[0]}): check the configuration")
    used = {one.origin for one in log_table.closed(connection)} | {log_origin(oin, held[1])}
    if log_origin(oin, log) in used:
        raise LogError(
            f"nodes saw more of the log {log_origin(oin, log)} than the database holds now: give `log` in broker.yaml "
            "a name that was never used, such as main-2; its manifest is made and signed afterwards"
        )
    last = connection.execute("SELECT coalesce(max(at), ?) FROM log", (at,)).fetchall()[0][0]
    closed = log_table.close_log(connection, log_origin(oin, held[1]), taken=last, at=at)
    connection.execute("UPDATE belongs SET log = ?", (log,))
    return closed


def check_unused(connection: Connection, service: str) -> None:
    """Raises StorageError while a session of the running broker's role is there."""
    others = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = ?", (service,)
    ).fetchall()[0][0]
    if others:
        raise StorageError(f"{service} has {others} connections to the database: stop every replica first")


def check_tables(connection: Connection, name: str, oin: str, log: str) -> None:
    """Raises StorageError when the tables are not there, older than this release, too new, or of another broker."""
    present = connection.execute("SELECT to_regclass(?) IS NOT NULL", (f"{SCHEMA}.migrations",)).fetchone()
    if present is None or not present[0]:
        raise StorageError(f"database {name} holds no tables yet: run `bekend broker database prepare` as their owner")
    done = {row[0]: row[1] for row in connection.execute("SELECT number, oldest FROM migrations").fetchall()}
    if missing := [step.number for step in STEPS if step.number not in done]:
        raise StorageError(
            f"database {name} lacks step {missing[0]} of this release: run `bekend broker database prepare`, then start"
        )
    if max(done.values()) > len(STEPS):
        raise StorageError(
            f"database {name} was prepared for a release that this one cannot work beside: start the newer release"
        )
    held = connection.execute("SELECT oin, log FROM belongs").fetchone()
    if held != (oin, log):
        raise StorageError(
            f"database {name} belongs to another broker or log ({held and ' '.join(held)}): "
            "replicas that share a database have one `oin` and one `log`; check the configuration"
        )
