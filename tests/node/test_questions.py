"""`bekend node questions`: what was asked, never about whom, in the form that `bekend policy simulate` reads."""

import asyncio
import secrets
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path

from bekend_node import questions_cli
from bekend_node.questions_cli import question_lines
from bekend_node.store import AnsweredQuestion, Store
from bekend_policy.log_use import INTERNAL_CONTROL
from bekend_policy.simulate import read_questions
from bekend_proto.clock import milliseconds
from bekend_proto.read_table import reads_between
from bekend_proto.v1 import signed_pb2
from typer.testing import CliRunner

OM, POLITIE, ZVH = "00000099000000001000", "00000099000000002000", "00000099000000007000"
PURPOSE = "kennemerland/zsm-context"


def answered(at: datetime, requester: str, persons: int, namens: str = "") -> AnsweredQuestion:
    asked = signed_pb2.Question(
        protocol_version=1,
        question_id=secrets.token_bytes(16),
        requester=requester,
        source=POLITIE,
        on_behalf_of=namens,
        purpose=PURPOSE,
        time=milliseconds(at),
        elements=[secrets.token_bytes(32) for _ in range(persons)],
    )
    return AnsweredQuestion(
        question_id=asked.question_id,
        question_hash=secrets.token_bytes(32),
        requester=requester,
        source=POLITIE,
        purpose=PURPOSE,
        record_month="2026-11",
        payload=asked.SerializeToString(deterministic=True),
        signature=bytes(64),
        sealed=(),
    )


async def test_questions_of_a_month_without_persons_and_without_answers(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    moments = (
        (datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC), OM, 1, ""),
        (datetime(2026, 11, 3, 23, 30, tzinfo=UTC), OM, 2, ""),
        (datetime(2026, 11, 4, 9, tzinfo=UTC), POLITIE, 1, ""),
        (datetime(2026, 11, 5, 9, tzinfo=UTC), ZVH, 1, OM),
        (datetime(2026, 12, 1, tzinfo=UTC), OM, 1, ""),
    )
    for at, requester, persons, namens in moments:
        await store.admit_answer(answered(at, requester, persons, namens), (), at)
    lines = list(question_lines(store, "2026-11"))
    store.close()
    asked = read_questions(lines, "vragen")
    assert [(it.route.requester, it.persons, it.route.on_behalf_of, it.day) for it in asked] == [
        (OM, 2, "", date(2026, 11, 4)),  # after midnight in Amsterdam
        (ZVH, 1, OM, date(2026, 11, 5)),
    ]
    assert all(set(line.split('"')[1::2]) & {"elements", "time", "question_id"} == set() for line in lines)


async def test_fg_30_writing_the_questions_of_a_month_is_itself_on_the_record(tmp_path: Path) -> None:
    config = tmp_path / "node.yaml"
    sample = files("bekend_node").joinpath("node.example.yaml").read_text("utf-8")
    config.write_text(sample)
    ran = await asyncio.to_thread(
        CliRunner().invoke, questions_cli.app, ["--month", "2026-11", "--config", str(config)]
    )
    assert ran.exit_code == 0, ran.output
    store = Store.open(tmp_path / "data")
    try:
        (read,) = store.database.read(lambda conn: reads_between(conn, 0, 1 << 62))
        assert (read.log, read.used_for) == ("questions", INTERNAL_CONTROL)
        assert store.counts()["log"] == 1
    finally:
        store.close()
