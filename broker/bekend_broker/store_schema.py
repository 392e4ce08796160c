"""What the broker keeps, as tables: the log, ids seen, budgets spent, imports, manifests, what it decided.

Nothing in it is about a person. There is no column for an element, a pseudonym or an answer: a log entry is the
hash of a signed message, and two checks on one person leave two unrelated rows (FG-14, FG-42). A question that a
colleague may decide about keeps a row until its term is over: who asked whom, and what may still be passed on.
"""

from typing import Final

from bekend_proto import log_table
from bekend_proto.decision_table import DECISION_DDL
from bekend_proto.log_table import LOG_DDL
from bekend_proto.migrations import Migration
from bekend_proto.read_table import READ_DDL
from bekend_proto.retention_table import RETENTION_DDL

MIGRATIONS: Final = (
    Migration(1, "broker: append-only log", LOG_DDL),
    Migration(
        2,
        "broker: ids, budgets, imports, manifests, covenant",
        """
CREATE TABLE seen (
  id    BLOB PRIMARY KEY,
  until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX seen_until ON seen (until);
CREATE TABLE spent (
  day       TEXT NOT NULL,
  requester TEXT NOT NULL,
  budget    TEXT NOT NULL,
  count     INTEGER NOT NULL CHECK (count >= 0),
  PRIMARY KEY (day, requester, budget)
) WITHOUT ROWID;
CREATE TABLE import (
  source    TEXT NOT NULL,
  purpose   TEXT NOT NULL,
  register  TEXT NOT NULL,
  import_id BLOB NOT NULL,
  epoch     TEXT NOT NULL,
  kind      INTEGER NOT NULL,
  period    TEXT NOT NULL,
  spent     INTEGER NOT NULL CHECK (spent >= 0),
  at        INTEGER NOT NULL,
  PRIMARY KEY (source, purpose, register, import_id)
) WITHOUT ROWID;
CREATE INDEX import_at ON import (at);
CREATE TABLE manifest (
  oin    TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  note   BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE covenant (
  id      TEXT PRIMARY KEY,
  version INTEGER NOT NULL
) WITHOUT ROWID;
""",
    ),
    Migration(
        3,
        "broker: suspensions",
        """
CREATE TABLE suspension (
  covenant TEXT NOT NULL,
  signer   TEXT NOT NULL,
  what     TEXT NOT NULL,
  about    TEXT NOT NULL,
  number   INTEGER NOT NULL,
  note     BLOB NOT NULL,
  PRIMARY KEY (covenant, signer, what, about)
) WITHOUT ROWID;
""",
    ),
    Migration(
        4,
        "broker: questions that a colleague may decide about",
        """
CREATE TABLE open_question (
  question_id BLOB PRIMARY KEY,
  requester   TEXT NOT NULL,
  source      TEXT NOT NULL,
  purpose     TEXT NOT NULL,
  principal   TEXT NOT NULL,
  persons     INTEGER NOT NULL,
  until       INTEGER NOT NULL,
  releases    BLOB NOT NULL DEFAULT x'',
  sent        INTEGER NOT NULL DEFAULT 0,
  collected   INTEGER NOT NULL DEFAULT 0,
  left        INTEGER NOT NULL CHECK (left >= 0)
) WITHOUT ROWID;
CREATE INDEX open_question_until ON open_question (until);
""",
    ),
    Migration(5, "broker: decisions", DECISION_DDL),
    Migration(6, "broker: tree of the log, checkpoints, alarms", log_table.add_tree),
    Migration(7, "broker: readings of the log", READ_DDL),
    Migration(8, "broker: retention", RETENTION_DDL),
    Migration(9, "broker: logs closed by a restore", log_table.CLOSED_DDL),
    Migration(
        10,
        "broker: which machine each node is",
        """
CREATE TABLE incarnation (
  oin      TEXT PRIMARY KEY,
  number   INTEGER NOT NULL,
  instance TEXT NOT NULL
) WITHOUT ROWID;
""",
    ),
)
