"""What the broker keeps and says: nothing about a person, nothing that can be joined (FG-14, FG-42; must-list 12)."""

import base64
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from secrets import token_bytes

import pytest
from bekend_deploy.partners import VEILIG_THUIS, ZSM_CONTEXT
from bekend_policy.manifest import KeyManifest
from bekend_proto.channel import question_hash
from bekend_proto.collecting import COLLECT_BOX, FIRST_COLLECT, release_box
from bekend_proto.errors import BekendError
from bekend_proto.v1 import broker_pb2, signed_pb2
from prometheus_client import generate_latest

from tests.support.federation import PEOPLE, Federation, Party, until


async def ask_twice(federation: Federation, om: Party, politie: Party) -> list[broker_pb2.RoutedQuestion]:
    """Two lookups about one person; the questions as the broker got them."""
    sent = []
    async with federation.broker():
        await politie.enrol(ZSM_CONTEXT, "politiegegevens-8-13", PEOPLE[:1])
        async with politie.attached():
            for _ in range(2):
                lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
                routed = lookup.question(politie.oin)
                sent.append(routed)
                await lookup.ask(routed)
                answer = (await lookup.replies())[politie.oin]
                assert isinstance(answer, broker_pb2.SealedAnswer)
                assert lookup.open(answer) == [True]
    return sent


def tables(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table that the broker left behind."""
    with closing(sqlite3.connect(folder / "data" / "broker.db")) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


async def test_fg_14_two_checks_on_one_person_have_nothing_in_common_at_the_broker(
    federation: Federation, om: Party, politie: Party
) -> None:
    one, other = await ask_twice(federation, om, politie)
    first, second = (signed_pb2.Question.FromString(it.question.payload) for it in (one, other))
    # What passed the broker shares no octet string that depends on the person.
    for name in ("elements", "seal_hashes", "question_id", "x25519", "mlkem", "case_commitment"):
        assert getattr(first, name) != getattr(second, name)
    assert one.sealed_records[0] != other.sealed_records[0]
    assert one.ratios[0] != other.ratios[0]
    # What it kept is one hash each, and two that are not equal.
    log = [row for row in tables(federation.folder)["log"] if row[1] == "question"]
    assert [row[2] for row in log] == [question_hash(one.question), question_hash(other.question)]
    assert len({row[2] for row in log}) == 2


async def test_fg_42_nothing_at_the_broker_can_be_looked_up_by_person(
    federation: Federation, om: Party, politie: Party
) -> None:
    await ask_twice(federation, om, politie)
    with closing(sqlite3.connect(federation.folder / "data" / "broker.db")) as connection:
        columns = {
            (table, column)
            for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")
        }
    # The whole schema: whoever adds a column comes past this test, and asks what it says about a person.
    assert columns == {
        ("migrations", "number"),
        ("migrations", "name"),
        ("log", "seq"),
        ("log", "kind"),
        ("log", "hash"),
        ("log", "at"),
        # Between which organisations: every question's log entry says so, as the broker knows it anyhow.
        ("log", "requester"),
        ("log", "source"),
        ("tree", "position"),
        ("tree", "hash"),
        ("checkpoint", "size"),
        ("checkpoint", "at"),
        ("checkpoint", "note"),
        ("cosignature", "size"),
        ("cosignature", "name"),
        ("cosignature", "key_id"),
        ("cosignature", "signature"),
        ("log_seen", "origin"),
        ("log_seen", "size"),
        ("log_seen", "root"),
        ("log_seen", "note"),
        ("log_seen", "at"),
        ("alarm", "id"),
        ("alarm", "at"),
        ("alarm", "origin"),
        ("alarm", "kind"),
        ("alarm", "stops"),
        ("alarm", "detail"),
        ("alarm", "evidence"),
        # Of a log that a restore ended: its last size and root, as everybody saw them.
        ("log_closed", "origin"),
        ("log_closed", "size"),
        ("log_closed", "root"),
        ("log_closed", "taken"),
        ("log_closed", "at"),
        # Which machine of an organisation is the one in service.
        ("incarnation", "oin"),
        ("incarnation", "number"),
        ("incarnation", "instance"),
        ("alarm_cleared", "id"),
        ("alarm_cleared", "at"),
        ("alarm_cleared", "by"),
        ("alarm_cleared", "reason"),
        ("seen", "id"),
        ("seen", "until"),
        ("spent", "day"),
        ("spent", "requester"),
        ("spent", "budget"),
        ("spent", "count"),
        ("import", "source"),
        ("import", "purpose"),
        ("import", "register"),
        ("import", "import_id"),
        ("import", "epoch"),
        ("import", "kind"),
        ("import", "period"),
        ("import", "spent"),
        ("import", "at"),
        ("manifest", "oin"),
        ("manifest", "number"),
        ("manifest", "note"),
        ("covenant", "id"),
        ("covenant", "version"),
        ("suspension", "covenant"),
        ("suspension", "signer"),
        ("suspension", "what"),
        ("suspension", "about"),
        ("suspension", "number"),
        ("suspension", "note"),
        ("open_question", "question_id"),
        ("open_question", "requester"),
        ("open_question", "source"),
        ("open_question", "purpose"),
        ("open_question", "principal"),
        ("open_question", "persons"),
        ("open_question", "until"),
        ("open_question", "releases"),
        ("open_question", "sent"),
        ("open_question", "collected"),
        ("open_question", "left"),
        ("decision", "seq"),
        ("decision", "at"),
        ("decision", "trace"),
        ("decision", "requester"),
        ("decision", "purpose"),
        ("decision", "refused"),
        ("decision", "facts"),
        ("log_read", "at"),
        ("log_read", "user"),
        ("log_read", "log"),
        ("log_read", "used_for"),
        ("log_read", "first"),
        ("log_read", "until"),
        ("log_read", "detail"),
        ("retention_note", "number"),
        ("retention_note", "at"),
        ("retention_note", "note"),
    }


def forms(secret: bytes) -> Iterator[bytes]:
    """How a value might have been written."""
    yield from (secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret))
    yield from (base64.urlsafe_b64encode(secret).rstrip(b"="), str(list(secret)).encode(), repr(secret)[2:-1].encode())


async def test_must_12_no_element_identifier_or_key_in_logs_database_and_metrics(
    federation: Federation, om: Party, politie: Party, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = await ask_twice(federation, om, politie)
    async with federation.broker() as broker, politie.attached():
        # Refusals too: their details are what tempts one to quote the input.
        for change in ({"elements": [bytes(32)]}, {"covenant_hash": bytes(32)}, {"broker_manifest": 7}):
            lookup = om.lookup(ZSM_CONTEXT, PEOPLE[:1])
            with pytest.raises(BekendError):
                await lookup.begin(lookup.make_begin(**change))
        lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
        routed = lookup.question(politie.oin)
        sent.append(routed)
        routed.ratios[0] = token_bytes(31) + b"\xff"
        await lookup.ask(routed)
        assert await lookup.replies() == {politie.oin: "malformed"}
        metrics = generate_latest(broker.registry)
    secrets = [PEOPLE[0].value.encode(), PEOPLE[0].value[::-1].encode()]
    for routed in sent:
        question = signed_pb2.Question.FromString(routed.question.payload)
        secrets += [*question.elements, *routed.ratios, *routed.sealed_records]
    secrets += [bytes.fromhex(path.read_text("ascii")) for path in (federation.folder / "keys").iterdir()]
    left = [path.read_bytes() for path in (federation.folder / "data").iterdir()]
    said = capsys.readouterr()
    left += [said.out.encode(), said.err.encode(), metrics]
    for secret in secrets:
        for form in forms(secret):
            assert not any(form in text for text in left)


async def test_must_12_nothing_of_a_release_or_its_reply_in_logs_database_and_metrics(
    federation: Federation, om: Party, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names, then a withdrawal; refusals too, of boxes that do not fit: the broker keeps that something was sent."""
    vt = federation.parties[VEILIG_THUIS.oin]
    secrets = [token_bytes(release_box(1)) for _ in range(2)]
    replies = []
    async with federation.broker() as broker, vt.attached():
        lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
        name = token_bytes(16)
        await lookup.ask(lookup.question(vt.oin, question_id=name))
        await lookup.replies()
        replies += [await om.release(name, box) for box in secrets]
        for number in range(FIRST_COLLECT, FIRST_COLLECT + 3):
            secrets.append(token_bytes(COLLECT_BOX))
            replies.append(await om.collect(name, number, secrets[-1]))
        secrets += [token_bytes(100), token_bytes(release_box(1))]
        for box in secrets[-2:]:
            with pytest.raises(BekendError):
                await om.release(name, box)
        metrics = generate_latest(broker.registry)
        left = [path.read_bytes() for path in (federation.folder / "data").iterdir() if path.is_file()]
    left += [path.read_bytes() for path in (federation.folder / "data").iterdir() if path.is_file()]
    said = capsys.readouterr()
    left += [said.out.encode(), said.err.encode(), metrics]
    # No part of them either: a piece from the middle will do.
    pieces = [box[16:32] for box in (*secrets, *replies)]
    for secret in (*secrets, *replies, *pieces, PEOPLE[0].value.encode()):
        for form in forms(secret):
            assert not any(form in text for text in left)
    # Nor is any log line about it: calls that were refused say whose they were and why.
    events = [json.loads(line) for line in said.err.splitlines()]
    about = [one for one in events if one.get("method", "").endswith(("Release", "Collect"))]
    assert {(one["event"], one["code"]) for one in about} == {("call-refused", "malformed"), ("call-refused", "stale")}


async def test_must_09_two_releases_of_other_content_leave_the_same_behind(federation: Federation, om: Party) -> None:
    """The same counters go up, and the rows differ in id and fingerprint alone."""
    vt = federation.parties[VEILIG_THUIS.oin]
    shown = []
    async with federation.broker() as broker, vt.attached():
        for _ in range(2):
            lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
            name = token_bytes(16)
            await lookup.ask(lookup.question(vt.oin, question_id=name))
            await lookup.replies()
            # Its duration is counted when the stream has ended at the broker too.
            await until(lambda: "bekend_broker_lookups_running 0.0" in generate_latest(broker.registry).decode())
            before = generate_latest(broker.registry).decode()
            await om.release(name)
            await om.collect(name, FIRST_COLLECT)
            text = generate_latest(broker.registry).decode()
            shown.append({line for line in _changed(before, text) if "bekend_broker" in line})
            assert _naming(federation, _changed(before, text)) == set()
    assert shown[0] == shown[1]
    one, other = tables(federation.folder)["open_question"]
    assert one[1:7] + one[8:] == other[1:7] + other[8:]
    assert len(one[7]) == len(other[7]) == 16  # type: ignore[arg-type]


async def test_no_metric_tells_partners_or_answers_apart(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker() as broker:
        await politie.enrol(ZSM_CONTEXT, "politiegegevens-8-13", PEOPLE[:1])
        async with politie.attached():
            shown = []
            for person in (0, 1):
                before = generate_latest(broker.registry).decode()
                lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[person : person + 1]).begin()
                assert await lookup.outcomes(politie.oin) == {politie.oin: [person == 0]}
                shown.append(_grown(before, generate_latest(broker.registry).decode()))
        assert shown[0] == shown[1]
        text = generate_latest(broker.registry).decode()
        assert _naming(federation, _changed(before, text)) == set()


async def test_labels_come_from_closed_sets_whatever_is_asked(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        for number in range(3):
            lookup = om.lookup(f"demo/verzonnen-{number}")
            with pytest.raises(BekendError):
                await lookup.begin()
        text = generate_latest(broker.registry).decode()
    assert "verzonnen" not in text
    assert 'bekend_broker_begins_total{decision="refused",purpose="other"} 3.0' in text


def _naming(federation: Federation, lines: Iterable[str]) -> set[str]:
    """Lines of the metrics that name a partner, of those that a question or release changed."""
    return {line for line in lines if any(oin in line for oin in federation.parties)}


def _grown(before: str, after: str) -> set[str]:
    """Names of the counters of questions and replies that went up."""
    counted = ("bekend_broker_questions_total", "bekend_broker_replies")
    return {line for line in _changed(before, after) if line.startswith(counted)}


def _changed(before: str, after: str) -> set[str]:
    """Names of the series that have another value than before."""
    old = set(before.splitlines())
    return {line.rsplit(" ", 1)[0] for line in after.splitlines() if line not in old}


def test_the_manifest_holds_public_halves_only(federation: Federation) -> None:
    manifest: KeyManifest = federation.broker_manifest
    text = manifest.text()
    for path in (federation.folder / "keys").iterdir():
        assert path.read_text("ascii").strip() not in text
