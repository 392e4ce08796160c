"""The tables of `node.db`, and the numbered steps by which a file of an earlier release comes to have them.

answered     one row per question id that this node answered (as source), in the order in which they came; also the
             replay memory
sealed       E_ij of each answered question (protocol section 8)
budget       persons used per day: per requester and purpose, per requester in all, per officer, own canary
log, tree    append-only hashes of signed Questions, before they are acted on, and the tree over them (section 10);
             with checkpoint, log_seen and alarm in bekend_proto/log_table.py
promise      what the broker owes: a proof that it logged these questions
manifest     the highest key manifest seen of each party
covenant     the highest version gone by: an older one is never taken back
suspension   the newest note of each signer about each thing, verified when it came
filter       per purpose and class of identifier the filter in service: its signed header, m sealed under the state key
filter_before  filters for answering by hand that were replaced, for ten minutes: what came under them is compared
halt         who stopped a purpose until its next switch, and why; filters up to that version answer nothing
awaiting     questions answered by hand whose term runs: what a later message about them needs, sealed likewise
desk_record  what a colleague at the desk did, sealed to the own privacy officer; each row's hash is in `log` too
own_record   the requester's own sealed records (protocol section 8), likewise in the order in which they came
audit_request, audit_result  see store_audits.py
correction   see store_corrections.py
decision     what was decided about a lookup before anything left, or about a message that was refused
lapsed       cases that were not taken in, under a keyed hash
consequence  whether what came changed a decision, per case (a keyed hash) and purpose: once, yes or no
log_read     who read the log, when and what for
deferral     see store_deferrals.py
member, case_member, to_be_told  see store_team.py
pending      questions to sources where a colleague decides, until their answers have had their lifetime
consent      the consents that officers recorded, and their withdrawals; append-only, as `raised`
colleague    own colleagues and known persons, as keyed hashes: see store_colleagues.py
emergency    questions asked before a second officer looked, and the reviews: see store_emergencies.py
raised       who raised the limit of which officer, when and why; append-only, each row's hash is in `log` too
destroyed_before  one row: of raises, deferrals and consents that are older, retention destroys what is over
"""

from typing import Final

from bekend_proto import log_table
from bekend_proto.decision_table import DECISION_DDL
from bekend_proto.durable import LOG_DDL, Migration
from bekend_proto.read_table import READ_DDL
from bekend_proto.retention_table import RETENTION_DDL

from bekend_node import (
    store_audits,
    store_colleagues,
    store_consent,
    store_corrections,
    store_deferrals,
    store_emergencies,
    store_filters,
    store_pending,
    store_signals,
    store_team,
)

_START = (
    LOG_DDL
    + """
CREATE TABLE answered (
  question_id BLOB PRIMARY KEY, at INTEGER NOT NULL, requester TEXT NOT NULL, purpose TEXT NOT NULL,
  record_month TEXT NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE sealed (
  question_id BLOB NOT NULL REFERENCES answered, person INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (question_id, person)
) WITHOUT ROWID;
CREATE TABLE budget (
  day TEXT NOT NULL, scope TEXT NOT NULL, subject TEXT NOT NULL, purpose TEXT NOT NULL, used INTEGER NOT NULL,
  PRIMARY KEY (day, scope, subject, purpose)
) WITHOUT ROWID;
CREATE TABLE manifest (oin TEXT PRIMARY KEY, number INTEGER NOT NULL, note BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE covenant (id TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE filter (
  purpose TEXT PRIMARY KEY, epoch TEXT NOT NULL, version INTEGER NOT NULL, ends INTEGER NOT NULL,
  payload BLOB, signature BLOB, m BLOB
) WITHOUT ROWID;
CREATE TABLE own_record (
  id BLOB NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (id, kind)
) WITHOUT ROWID;
"""
)
_SUSPENSION = """
CREATE TABLE suspension (
  covenant TEXT NOT NULL, signer TEXT NOT NULL, what TEXT NOT NULL, about TEXT NOT NULL,
  number INTEGER NOT NULL, note BLOB NOT NULL, PRIMARY KEY (covenant, signer, what, about)
) WITHOUT ROWID;
"""
_RAISED = """
CREATE TABLE raised (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, purpose TEXT NOT NULL, officer TEXT NOT NULL, granted_by TEXT NOT NULL,
  role TEXT NOT NULL, extra INTEGER NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX raised_of ON raised (officer, at);
CREATE TRIGGER raised_keeps_rows BEFORE DELETE ON raised
BEGIN SELECT RAISE(ABORT, 'the record of raises is append-only'); END;
CREATE TRIGGER raised_keeps_values BEFORE UPDATE ON raised
BEGIN SELECT RAISE(ABORT, 'the record of raises is append-only'); END;
CREATE TRIGGER raised_replaces_nothing BEFORE INSERT ON raised
WHEN EXISTS (SELECT 1 FROM raised WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the record of raises is append-only'); END;
"""
_PROMISE = """
CREATE TABLE promise (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL, proved INTEGER
);
CREATE INDEX promise_open ON promise (id) WHERE proved IS NULL;
"""
_LAPSED = """
CREATE TABLE lapsed (at INTEGER NOT NULL, case_tag TEXT NOT NULL, by TEXT NOT NULL, lookups INTEGER NOT NULL);
"""
_CONSEQUENCE = """
CREATE TABLE consequence (
  case_tag TEXT NOT NULL, purpose TEXT NOT NULL, at INTEGER NOT NULL, changed INTEGER NOT NULL,
  PRIMARY KEY (case_tag, purpose)
) WITHOUT ROWID;
"""
_BY_AGE = """
CREATE INDEX answered_at ON answered (at);
CREATE INDEX own_record_at ON own_record (at);
"""
_BY_HAND = """
CREATE TABLE filter_before (
  purpose TEXT NOT NULL, version INTEGER NOT NULL, epoch TEXT NOT NULL, ends INTEGER NOT NULL,
  payload BLOB NOT NULL, signature BLOB NOT NULL, m BLOB NOT NULL, PRIMARY KEY (purpose, version)
) WITHOUT ROWID;
CREATE TABLE awaiting (
  question_id BLOB PRIMARY KEY REFERENCES answered, until INTEGER NOT NULL, sealed BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX awaiting_until ON awaiting (until);
CREATE TABLE desk_record (
  id INTEGER PRIMARY KEY, name BLOB UNIQUE NOT NULL, at INTEGER NOT NULL, sealed BLOB NOT NULL
);
"""
_GOES_AT_ITS_TERM: Final = """
DROP TRIGGER NAME_keeps_rows;
CREATE TRIGGER NAME_keeps_rows BEFORE DELETE ON NAME
WHEN OLD.at >= coalesce((SELECT before FROM destroyed_before), OLD.at)
BEGIN SELECT RAISE(ABORT, 'NAME is append-only until its term is over'); END;
"""
_HALT = """
CREATE TABLE halt (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, purpose TEXT NOT NULL, version INTEGER NOT NULL, by TEXT NOT NULL,
  reason TEXT NOT NULL
);
"""
# Numbered as they come: a table in the order of random ids is written at a random page per row, and 2 kB do not fit in
# its pages. Each copy reads along an index, and a table is emptied before it is dropped: sorting all rows, or dropping
# them (which can be undone by itself, as emptying a table cannot), takes memory for all of them.
_AS_THEY_COME = """
ALTER TABLE answered RENAME TO answered_before;
ALTER TABLE sealed RENAME TO sealed_before;
ALTER TABLE awaiting RENAME TO awaiting_before;
CREATE TABLE answered (
  number INTEGER PRIMARY KEY, question_id BLOB UNIQUE NOT NULL, at INTEGER NOT NULL, requester TEXT NOT NULL,
  purpose TEXT NOT NULL, record_month TEXT NOT NULL, rule TEXT NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL
);
CREATE TABLE sealed (
  number INTEGER NOT NULL REFERENCES answered, person INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (number, person)
) WITHOUT ROWID;
CREATE TABLE awaiting (
  question_id BLOB PRIMARY KEY REFERENCES answered (question_id), until INTEGER NOT NULL, sealed BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO answered (question_id, at, requester, purpose, record_month, rule, payload, signature)
SELECT question_id, at, requester, purpose, record_month, rule, payload, signature FROM answered_before
ORDER BY at, question_id;
INSERT INTO sealed SELECT number, person, sealed FROM answered CROSS JOIN sealed_before USING (question_id)
ORDER BY number, person;
INSERT INTO awaiting SELECT * FROM awaiting_before;
DROP TABLE awaiting_before;
DELETE FROM sealed_before;
DROP TABLE sealed_before;
DELETE FROM answered_before;
DROP TABLE answered_before;
CREATE INDEX answered_at ON answered (at);
CREATE INDEX awaiting_until ON awaiting (until);
"""
_OWN_AS_THEY_COME = """
ALTER TABLE own_record RENAME TO own_record_before;
CREATE TABLE own_record (
  number INTEGER PRIMARY KEY, id BLOB NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, sealed BLOB NOT NULL,
  UNIQUE (id, kind)
);
INSERT INTO own_record (id, at, kind, sealed) SELECT id, at, kind, sealed FROM own_record_before ORDER BY at, id, kind;
DELETE FROM own_record_before;
DROP TABLE own_record_before;
CREATE INDEX own_record_at ON own_record (at);
"""
_DESTROYED_BEFORE = "CREATE TABLE destroyed_before (before INTEGER NOT NULL);" + "".join(
    _GOES_AT_ITS_TERM.replace("NAME", name) for name in ("raised", "deferral", "deferral_step", "consent")
)
MIGRATIONS: Final = (
    Migration(1, "start", _START),
    Migration(2, "suspensions", _SUSPENSION),
    Migration(3, "raised limits", _RAISED),
    Migration(4, "decisions", DECISION_DDL + "ALTER TABLE answered ADD COLUMN rule TEXT NOT NULL DEFAULT '';"),
    Migration(5, "tree of the log, checkpoints, alarms", log_table.add_tree),
    Migration(6, "promises", _PROMISE),
    Migration(7, "readings of the log", READ_DDL),
    Migration(8, "deferrals", store_deferrals.DDL),
    Migration(9, "consents", store_consent.DDL),
    Migration(10, "answers still to come", store_pending.DDL),
    Migration(11, "retention", RETENTION_DDL + _BY_AGE),
    Migration(12, "answering by hand", _BY_HAND),
    Migration(13, "cases not taken in", _LAPSED),
    Migration(14, "misuse signals", store_signals.DDL),
    Migration(15, "consequences of cases", _CONSEQUENCE),
    Migration(16, "terms of raises, deferrals and consents", _DESTROYED_BEFORE),
    Migration(17, "purposes halted until a switch", _HALT),
    Migration(18, "corrections", store_corrections.DDL),
    Migration(19, "four eyes", store_colleagues.DDL + store_emergencies.DDL),
    Migration(20, "who works on a case", store_team.DDL),
    Migration(21, "logs closed by a restore", log_table.CLOSED_DDL),
    Migration(22, "audits to answer", store_audits.DDL),
    Migration(23, "a filter per class of identifier", store_filters.DDL),
    Migration(24, "answered questions as they come", _AS_THEY_COME),
    Migration(25, "own records as they come", _OWN_AS_THEY_COME),
)
