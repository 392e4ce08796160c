"""Exports are verified from files alone; three logs of a period are reconciled without a miss or a false alarm."""

import random
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pytest
from bekend_proto import channel, log_table, merkle, note
from bekend_proto.checkpoint import Checkpoint, cosign, log_id, log_origin, witness_vkey
from bekend_proto.durable import LOG_DDL
from bekend_proto.errors import MalformedError
from bekend_proto.ledger.exported import Export, Masked, Record, read_export
from bekend_proto.ledger.exporting import make_export
from bekend_proto.ledger.findings import Finding, Kind
from bekend_proto.ledger.keys import Keys
from bekend_proto.ledger.reconcile import MARGIN, Reconciled, reconcile
from bekend_proto.ledger.verify import SKEW, Verified, verify
from bekend_proto.log_table import Entry
from bekend_proto.migrations import statements
from bekend_proto.records import seal_hash
from bekend_proto.v1.signed_pb2 import InclusionPromise, PromisedEntry, Question, Signed
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey
from sqlite_utils import Database

BROKER: Final = "00000099000000900000"
NODES: Final = tuple(f"0000009900000000{n}000" for n in range(1, 8))
KEYS: Final = {oin: SigningKey(oin.encode().ljust(32, b"k")) for oin in (BROKER, *NODES)}
NOW: Final = 1_795_000_000_000
DAY: Final = 86_400_000


def origin(oin: str) -> str:
    return log_origin(oin, "main" if oin == BROKER else "node")


def vkeys(*oins: str) -> Keys:
    """As `bekend log keys` prints them."""
    lines = ["# keys"]
    for oin in oins or (BROKER, *NODES):
        public = bytes(KEYS[oin].verify_key)
        lines += [note.vkey_of(origin(oin), public), witness_vkey(oin, public)]
    return Keys.parse(lines)


def log_of(entries: Iterable[Entry]) -> sqlite3.Connection:
    """A log with these entries, in the tables that broker and nodes have."""
    connection = sqlite3.connect(":memory:")
    for statement in statements(LOG_DDL):
        connection.execute(statement)
    log_table.add_tree(Database(connection))
    log_table.append(connection, list(entries))
    return connection


def export(oin: str, entries: Iterable[Entry], since: int, until: int, **more: object) -> Export:
    return make_export(log_of(entries), origin(oin), KEYS[oin], since=since, until=until, made=NOW + SKEW, **more)  # type: ignore[arg-type]


def verified(made: Export, keys: Keys | None = None) -> Verified:
    return verify("file", made.to_bytes(KEYS[made.owner]), keys or vkeys())


def kinds(found: Verified | Reconciled) -> set[Kind]:
    return {one.kind for one in found.findings}


def some(count: int, start: int = NOW - DAY) -> list[Entry]:
    return [
        Entry("question", random.Random(n).randbytes(32), start + 1000 * n, NODES[0], NODES[1]) for n in range(count)
    ]


# --- one file


@pytest.mark.parametrize(("first", "last"), [(0, 40), (0, 10), (7, 30), (39, 40), (0, 0), (41, 50)])
def test_an_export_of_any_period_holds_and_comes_back(first: int, last: int) -> None:
    entries = [replace(one, at=NOW - DAY + 3 * MARGIN * n) for n, one in enumerate(some(40))]
    since, until = (NOW - DAY + 3 * MARGIN * n for n in (first, last))
    made = export(BROKER, entries, since, until)
    octets = made.to_bytes(KEYS[BROKER])
    assert read_export(octets) == made
    assert verify("file", octets, vkeys()).findings == ()
    within = [one for one in entries if since <= one.at < until]
    assert set(within) <= set(made.entries)


def full_export() -> Export:
    """With every kind of line."""
    connection = log_of([*some(9), Entry("desk", bytes(32), NOW - DAY + 9000), Entry("begin", bytes(32), NOW - 1000)])
    head = Checkpoint(origin(BROKER), 5, merkle.root(5, log_table.reader(connection)))
    log_table.keep_checkpoint(connection, 5, head.sign(KEYS[BROKER]), NOW)
    signed = note.parse_note(cosign(head.sign(KEYS[BROKER]), NODES[2], KEYS[NODES[2]], 1_795_000_000))
    log_table.keep_cosignature(connection, 5, signed.signatures[1])
    other = Checkpoint(origin(NODES[0]), 3, bytes(32))
    log_table.keep_seen(connection, other, other.sign(KEYS[NODES[0]]), NOW)
    return make_export(connection, origin(BROKER), KEYS[BROKER], since=NOW - DAY + 2000, until=NOW, made=NOW)


FULL: Final = full_export()
OCTETS: Final = FULL.to_bytes(KEYS[BROKER])
HONEST: Final = vkeys()


def test_a_full_export_holds_and_names_its_witnesses() -> None:
    found = verify("file", OCTETS, HONEST)
    assert found.findings == ()
    assert found.witnesses == {NODES[2]}


def test_fg_13_the_work_at_a_desk_has_no_name_in_an_export() -> None:
    """A release is decided about a match alone: that it was decided says that there was one."""
    assert b"desk" not in OCTETS
    assert [type(one) for one in FULL.entries[-2:]] == [Masked, Entry]
    assert FULL.entries[-2].leaf() == Entry("desk", bytes(32), NOW - DAY + 9000).leaf()
    other = (*FULL.entries[:-2], Masked(bytes(32), NOW - DAY + 9000), FULL.entries[-1])
    assert Kind.ROOT in kinds(verified(replace(FULL, entries=other)))


def test_every_changed_octet_of_a_file_is_found() -> None:
    """Each octet of a whole export, turned in one bit."""
    for place in range(len(OCTETS)):
        spoilt = bytearray(OCTETS)
        spoilt[place] ^= 1 << (place % 8)
        assert verify("file", bytes(spoilt), HONEST).findings, place


@settings(max_examples=200)
@given(st.data())
def test_anything_else_done_to_a_file_is_found(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(OCTETS) - 1))
    length = data.draw(st.integers(0, 200))
    put = data.draw(st.binary(max_size=60))
    spoilt = OCTETS[:place] + put + OCTETS[place + length :]
    if spoilt != OCTETS:
        assert verify("file", spoilt, HONEST).findings


def test_a_file_is_believed_under_keys_that_were_given_alone() -> None:
    assert kinds(verify("file", OCTETS, vkeys(*NODES))) == {Kind.SIGNATURE}
    assert kinds(verify("file", FULL.to_bytes(KEYS[NODES[0]]), vkeys())) == {Kind.SIGNATURE}
    assert kinds(verify("file", b"", vkeys())) == {Kind.UNREADABLE}
    with pytest.raises(MalformedError):
        Keys.parse(["nonsense"])


def test_what_the_owner_changes_and_signs_anew_breaks_the_tree() -> None:
    """The exporter signs the file: the entries must still be those of the checkpoint."""
    entry = FULL.entries[3]
    assert isinstance(entry, Entry)
    changed = [
        replace(FULL, entries=(*FULL.entries[:3], replace(entry, **change), *FULL.entries[4:]))
        for change in ({"at": entry.at + 1}, {"hash": bytes(32)}, {"source": NODES[4]}, {"kind": "begin"})
    ]
    swapped = replace(FULL, entries=(*FULL.entries[:2], FULL.entries[3], FULL.entries[2], *FULL.entries[4:]))
    for one in (*changed, swapped):
        assert Kind.ROOT in kinds(verified(one))
    assert Kind.ROOT in kinds(verified(replace(FULL, left=(bytes(32),) * len(FULL.left), right=(bytes(32),))))
    # A new checkpoint over other entries than an older, witnessed one.
    fresh = make_export(
        log_of(entry for _, entry in changed[0].shown), FULL.log, KEYS[BROKER], since=0, until=NOW, made=NOW
    )
    assert Kind.REWRITTEN in kinds(verified(replace(fresh, held=FULL.held)))


def test_a_gap_a_duplicate_and_another_order_are_found() -> None:
    entries = [replace(one, at=NOW - DAY + 2 * MARGIN * n) for n, one in enumerate(some(20))]
    made = export(BROKER, entries, NOW - DAY + 10 * MARGIN, NOW - DAY + 20 * MARGIN)
    assert Kind.GAP in kinds(verified(replace(made, since=made.entries[0].at - 1)))
    assert Kind.GAP in kinds(verified(replace(made, until=made.entries[-1].at + 1)))
    twice = export(BROKER, [*entries[:5], entries[2], *entries[5:]], NOW - DAY, NOW)
    assert kinds(verified(twice)) == {Kind.DUPLICATE, Kind.REORDERED}
    moved = export(BROKER, [*entries[:3], *entries[4:9], entries[3], *entries[9:]], NOW - DAY, NOW)
    assert [one.hash for one in verified(moved).findings] == [entries[3].hash.hex()]
    assert kinds(verified(moved)) == {Kind.REORDERED}


# --- records (must-list 15)


def question(requester: str, source: str, sealed: tuple[bytes, ...]) -> Signed:
    asked = Question(
        protocol_version=1, question_id=b"q" * 16, requester=requester, source=source, purpose="demo/een",
        covenant_hash=bytes(32), epoch="2026Q4", record_month="2026-11", requester_manifest=1, source_manifest=1,
        broker_manifest=1, time=NOW, kind_class=1, elements=[bytes(32)] * len(sealed),  # type: ignore[arg-type]
        seal_hashes=[seal_hash(one) for one in sealed], x25519=bytes(32), mlkem=bytes(1184),
        checkpoint=bytes(72), case_commitment=bytes(32),
    )  # fmt: skip
    return channel.sign_message(KEYS[requester], channel.LABEL_QUESTION, asked)


def answered(signed: Signed) -> Entry:
    return Entry("answered", channel.question_hash(signed), NOW - 1000, NODES[0], NODES[1])


def test_must_15_the_record_equals_the_logged_question() -> None:
    sealed = (b"E" * 80, b"F" * 80)
    signed = question(NODES[0], NODES[1], sealed)
    other = question(NODES[0], NODES[1], (b"G" * 80,))

    def looked(record: Record, *entries: Entry) -> Verified:
        return verified(export(NODES[1], entries, NOW - DAY, NOW, records=[record]))

    assert looked(Record(signed, sealed), answered(signed)).findings == ()
    for transplanted in ((b"X" * 80, sealed[1]), sealed[::-1], sealed[:1], (*sealed, b"E" * 80), (b"short", sealed[1])):
        found = looked(Record(signed, transplanted), answered(signed))
        assert [one.kind for one in found.findings] == [Kind.RECORD]
        assert "sealed records" in found.findings[0].detail
    # Another Question than the log names, however well signed; and one that nobody signed.
    assert kinds(looked(Record(other, (b"G" * 80,)), answered(signed))) == {Kind.RECORD}
    forged = Signed(payload=signed.payload, signature=bytes(64))
    assert kinds(looked(Record(forged, sealed), answered(forged))) == {Kind.RECORD}
    assert kinds(looked(Record(signed, sealed), replace(answered(signed), requester=NODES[3]))) == {Kind.RECORD}


SPOILT: Final[dict[str, dict[str, Any]]] = {
    "a kind that is no text": {"kind": 5},
    "a requester that is a list": {"requester": ["x"]},
    "a source that is not ASCII": {"source": "é"},
    "a kind without end": {"kind": "k" * 70_000},
}


@pytest.mark.parametrize("what", SPOILT)
def test_an_entry_that_is_none_is_said_to_be_one_and_stops_nobody(what: str) -> None:
    """Whoever is audited makes and signs its own file: what stands in it may not end the auditor's work."""
    entry = FULL.entries[3]
    assert isinstance(entry, Entry)
    made = replace(FULL, entries=(*FULL.entries[:3], replace(entry, **SPOILT[what]), *FULL.entries[4:]))
    assert kinds(verified(made)) == {Kind.UNREADABLE}


def test_octets_that_are_no_message_are_found() -> None:
    none = Signed(payload=b"\xff", signature=bytes(64))
    promised = export(NODES[0], [], NOW - DAY, NOW, promises=[none])
    assert kinds(verified(promised)) == {Kind.SIGNATURE}
    kept = export(NODES[1], [answered(none)], NOW - DAY, NOW, records=[Record(none, (b"E" * 80,))])
    assert kinds(verified(kept)) == {Kind.RECORD}


# --- several logs


@dataclass(frozen=True)
class Asked:
    """One question of the simulation, as honest parties log it. Times by each party's own clock."""

    name: bytes
    requester: str
    source: str
    at: dict[str, int]
    admitted: bool
    answered: bool
    told: bool

    def near(self, other: "Asked") -> bool:
        pair = (self.requester, self.source) == (other.requester, other.source)
        return pair and abs(self.at["broker"] - other.at["broker"]) < 4 * SKEW


@dataclass
class Simulation:
    """10,000 lookups, seeded; then what hostile or careless parties do to their own logs as they write them."""

    seed: int
    since: int = NOW - 6 * DAY
    until: int = NOW - DAY
    truth: set[tuple[Kind, str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        skews = {oin: self.random.randint(-25_000, 25_000) for oin in (BROKER, *NODES)}
        self.asked = [one for _ in range(10_000) for one in self._lookup(skews)]
        self.touched: list[Asked] = []
        self.logs: dict[str, list[Entry]] = defaultdict(list)
        for one in self.asked:
            self.logs[one.requester].append(self._entry("asked", one, "asked", one.requester))
            if one.admitted:
                self.logs[BROKER].append(self._entry("question", one, "broker", BROKER))
            if one.answered:
                self.logs[one.source].append(self._entry("answered", one, "answered", one.source))
            if one.told:
                self.logs[one.requester].append(self._entry("told", one, "told", one.requester))
        for entries in self.logs.values():
            entries.sort(key=lambda entry: entry.at)

    def _entry(self, kind: str, one: Asked, moment: str, _log: str) -> Entry:
        return Entry(kind, one.name, one.at[moment], one.requester, one.source)

    def _lookup(self, skews: dict[str, int]) -> Iterable[Asked]:
        draw = self.random
        requester = draw.choice(NODES)
        start = draw.randint(self.since - DAY // 2, self.until + DAY // 2)
        for source in draw.sample([oin for oin in NODES if oin != requester], draw.randint(1, 3)):
            steps = [start]
            for _ in range(3):
                steps.append(steps[-1] + draw.randint(1, 1500))
            at = {
                "asked": steps[0] + skews[requester],
                "broker": steps[1] + skews[BROKER],
                "answered": steps[2] + skews[source],
                "told": steps[3] + skews[requester],
            }
            admitted = draw.random() > 0.03
            replied = admitted and draw.random() > 0.04
            yield Asked(draw.randbytes(32), requester, source, at, admitted, replied, replied and draw.random() > 0.02)

    def victim(self) -> Asked:
        """A question that an Answer came to, well within the period, with nothing strange near it."""
        while True:
            one = self.random.choice(self.asked)
            inside = self.since + 2 * SKEW < one.at["broker"] < self.until - 2 * SKEW
            apart = not any(one.near(other) for other in (*self.touched, *self.unadmitted))
            if one.told and inside and apart:
                self.touched.append(one)
                return one

    @property
    def unadmitted(self) -> list[Asked]:
        return [one for one in self.asked if not one.admitted]

    def places(self, one: Asked) -> list[tuple[str, str]]:
        return [(BROKER, "question"), (one.requester, "asked"), (one.source, "answered")]

    def spoil(self, kind: Kind, count: int) -> None:
        for number in range(count):
            one = self.victim()
            oin, what = self.places(one)[number % 3]
            entries = self.logs[oin]
            index = next(n for n, entry in enumerate(entries) if (entry.kind, entry.hash) == (what, one.name))
            self.truth.add((kind, origin(oin), one.name.hex()))
            if kind is Kind.HIDDEN:
                del entries[index]
            elif kind is Kind.ALTERED:
                entries[index] = replace(entries[index], hash=self.random.randbytes(32))
            elif kind is Kind.DUPLICATE:
                entries.insert(index + 1, entries[index])
            else:
                late = next(n for n, entry in enumerate(entries) if entry.at > entries[index].at + 2 * SKEW)
                entries.insert(late, entries.pop(index))

    def promises(self, oin: str) -> list[Signed]:
        """What the broker promised for what it logged as it should."""
        strange = {one.name for one in self.touched}
        found = []
        for index, entry in enumerate(self.logs[BROKER]):
            if entry.requester == oin and entry.hash not in strange and not index % 40:
                promised = PromisedEntry(question_hash=entry.hash, source=entry.source, index=index)
                message = InclusionPromise(
                    protocol_version=1, log_id=log_id(origin(BROKER)), requester=oin, time=entry.at, promised=[promised]
                )
                found.append(channel.sign_message(KEYS[BROKER], channel.LABEL_PROMISE, message))
        return found

    def exports(self) -> list[Export]:
        return [
            export(oin, self.logs[oin], self.since, self.until, promises=self.promises(oin)) for oin in (BROKER, *NODES)
        ]

    def findings(self) -> tuple[list[Finding], Reconciled]:
        """As `bekend log reconcile` finds them: over the files."""
        looked = [verified(one) for one in self.exports()]
        told = reconcile([one.export for one in looked if one.export], HONEST, self.since, self.until)
        return [finding for one in looked for finding in one.findings] + list(told.findings), told


def test_fg_29_ten_thousand_honest_lookups_raise_no_alarm() -> None:
    honest = Simulation(seed=20261126)
    findings, told = honest.findings()
    assert findings == []
    within = [one for one in honest.asked if one.admitted and honest.since <= one.at["broker"] < honest.until]
    assert told.questions == len(within) > 10_000
    assert told.unanswered == sum(not one.answered for one in within)
    assert told.not_admitted > 100


@pytest.mark.parametrize("seed", [1, 2])
def test_fg_29_ten_thousand_lookups_are_reconciled_without_a_miss_or_a_false_alarm(seed: int) -> None:
    simulation = Simulation(seed)
    for kind in (Kind.HIDDEN, Kind.ALTERED, Kind.DUPLICATE, Kind.REORDERED):
        simulation.spoil(kind, 30)
    findings, _ = simulation.findings()
    assert {(one.kind, one.log, one.hash) for one in findings} == simulation.truth
    assert len(findings) == len(simulation.truth) == 120


def small(*, count: int = 12) -> dict[str, list[Entry]]:
    """One requester, one source, so many questions answered."""
    logs: dict[str, list[Entry]] = {BROKER: [], NODES[0]: [], NODES[1]: []}
    for number in range(count):
        name, at = random.Random(number).randbytes(32), NOW - DAY + 60_000 * number
        for oin, kind, later in (
            (NODES[0], "asked", 0),
            (BROKER, "question", 1),
            (NODES[1], "answered", 2),
            (NODES[0], "told", 3),
        ):
            logs[oin].append(Entry(kind, name, at + later, NODES[0], NODES[1]))
    return logs


def reconciled(exports: Iterable[Export]) -> Reconciled:
    return reconcile(list(exports), HONEST, NOW - DAY, NOW)


def exports_of(logs: dict[str, list[Entry]]) -> dict[str, Export]:
    return {oin: export(oin, entries, NOW - DAY, NOW) for oin, entries in logs.items()}


def seen_by(other: Export, log: Export, size: int) -> Export:
    """As if `other` had seen this log at a size."""
    head = Checkpoint(log.log, size, log.roots([size])[size])
    return replace(other, seen=(head.sign(KEYS[log.owner]),))


@pytest.mark.parametrize("oin", [BROKER, NODES[0], NODES[1]])
def test_fg_29_a_history_that_was_rewritten_is_found_by_what_others_saw(oin: str) -> None:
    honest = exports_of(small())
    witness = NODES[1] if oin != NODES[1] else BROKER
    size = len(honest[oin].entries)
    honest[witness] = seen_by(honest[witness], honest[oin], size)
    assert reconciled(honest.values()).findings == ()
    logs = small()
    # Two neighbours change places, seconds apart, and the file is signed anew: only a witness can tell.
    logs[oin][4], logs[oin][5] = logs[oin][5], logs[oin][4]
    rewritten = {**honest, oin: export(oin, logs[oin], NOW - DAY, NOW)}
    assert {(one.kind, one.log) for one in reconciled(rewritten.values()).findings} == {(Kind.REWRITTEN, origin(oin))}
    shrunk = {**honest, oin: export(oin, small()[oin][:-2], NOW - DAY, NOW)}
    assert (Kind.REWRITTEN, origin(oin)) in {(one.kind, one.log) for one in reconciled(shrunk.values()).findings}


def test_fg_29_a_promise_that_was_not_kept_is_found() -> None:
    logs = small()
    exports = exports_of(logs)
    for index, kept in ((4, True), (5, False), (99, False)):
        entry = logs[BROKER][4]
        message = InclusionPromise(
            protocol_version=1, log_id=log_id(origin(BROKER)), requester=NODES[0], time=entry.at,
            promised=[PromisedEntry(question_hash=entry.hash, source=entry.source, index=index)],
        )  # fmt: skip
        signed = channel.sign_message(KEYS[BROKER], channel.LABEL_PROMISE, message)
        found = reconciled({**exports, NODES[0]: replace(exports[NODES[0]], promises=(signed,))}.values())
        assert kinds(found) == (set() if kept else {Kind.PROMISE})


def test_a_forged_promise_is_said_to_be_one() -> None:
    message = InclusionPromise(protocol_version=1, log_id=log_id(origin(BROKER)), requester=NODES[0], time=NOW)
    forged = channel.sign_message(KEYS[NODES[0]], channel.LABEL_PROMISE, message)
    made = export(NODES[0], [], NOW - DAY, NOW, promises=[forged])
    assert kinds(verified(made)) == {Kind.SIGNATURE}


def test_other_parties_or_another_time_than_the_others_say_is_found() -> None:
    # The second time lies outside the period: the others say that it is of within.
    for oin, index, change in (
        (BROKER, 6, {"source": NODES[3]}),
        (BROKER, 6, {"at": NOW - DAY - MARGIN // 2}),
        (NODES[1], 6, {"at": NOW - DAY + 3_000_000}),
        (NODES[0], 12, {"at": NOW - DAY + 3_000_000}),
    ):
        logs = small()
        entry = logs[oin][index] = replace(logs[oin][index], **change)
        found = reconciled(exports_of(logs).values())
        assert {(one.kind, one.log, one.hash) for one in found.findings} == {
            (Kind.ALTERED, origin(oin), entry.hash.hex())
        }


def test_exports_that_do_not_reach_over_the_period_are_refused() -> None:
    exports = list(exports_of(small()).values())
    with pytest.raises(MalformedError, match="does not reach"):
        reconcile(exports, HONEST, NOW - DAY, NOW + 2)
    with pytest.raises(MalformedError, match="within two minutes"):
        reconcile([replace(one, made=NOW + 1) for one in exports], HONEST, NOW - DAY, NOW)
    with pytest.raises(MalformedError, match="of a node"):
        reconcile(exports[:1], HONEST, NOW - DAY, NOW)
    with pytest.raises(MalformedError, match="one of each"):
        reconcile([*exports, exports[0]], HONEST, NOW - DAY, NOW)


def test_the_same_question_at_two_replicas_is_found() -> None:
    logs = small()
    exports = exports_of(logs)
    second = make_export(
        log_of(logs[BROKER][3:4]),
        log_origin(BROKER, "second"),
        KEYS[BROKER],
        since=NOW - DAY,
        until=NOW,
        made=NOW + SKEW,
    )
    found = reconciled([*exports.values(), second])
    assert {one.kind for one in found.findings} == {Kind.DUPLICATE}
