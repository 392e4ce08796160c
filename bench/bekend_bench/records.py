"""Sealed records opened for an access request: 200,000 of them, read from an export as a privacy officer gets it.

Questions hold random elements and keys, since nobody evaluates them here; their form, their sealed records and the
node's log are real, and one in a thousand is about the person of the request.
"""

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from bekend_node.records.opening import open_all
from bekend_node.store import AnsweredQuestion, Store
from bekend_node.store_export import write_export
from bekend_proto.channel import question_hash
from bekend_proto.clock import milliseconds, month_of
from bekend_proto.records import record_context, record_value, seal_hash
from bekend_proto.v1 import signed_pb2
from nacl.public import PrivateKey, PublicKey, SealedBox

from bekend_bench.figures import Figure, at_most
from bekend_bench.floor import Floor

PART: Final = "records"
RECORDS: Final = 200_000
SECONDS: Final = 20.0
"""What an access request may take over these."""
EVERY: Final = 1_000
"""One record in so many is about the person."""
REQUESTER, SOURCE, PURPOSE = "00000099000000001000", "00000099000000002000", "demo/zsm-context"

Row = tuple[bytes, bytes, bytes, bytes]
"""Question id, payload, signature, sealed record."""


def measure(base: Floor, count: int = RECORDS) -> Iterator[Figure]:
    """Open `count` records with all cores. Raises AssertionError when not exactly the planted ones are found."""
    cores = os.cpu_count() or 1
    officer, u_value = PrivateKey.generate(), secrets.token_bytes(64)
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="bekend-bench-") as folder:
        path = Path(folder) / "export.db"
        began = time.monotonic()
        _write(Path(folder), path, officer, u_value, now, count)
        written = time.monotonic() - began
        began = time.monotonic()
        found = open_all(path, [officer], {month_of(now): u_value}, SOURCE, kept_since=0)
        opened = time.monotonic() - began
    assert (len(found.matches), found.faults) == (count // EVERY, []), "the planted records were not found"
    ideal = count * (base.exchange + base.box) / cores
    bar = at_most(SECONDS) if count == RECORDS else None
    yield Figure(PART, f"access request over {count:,} records", opened, "s", ideal / opened, bar)
    yield Figure(PART, f"making the records and their export, {count:,}", written, "s")


def _write(  # noqa: PLR0917 - one step of measure
    folder: Path, path: Path, officer: PrivateKey, u_value: bytes, now: datetime, count: int
) -> None:
    cores, public, at = os.cpu_count() or 1, bytes(officer.public_key), milliseconds(now)
    shares = [range(start, min(start + 5_000, count)) for start in range(0, count, 5_000)]
    store = Store.open(folder / "data")
    try:
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
            for rows in pool.map(_rows, shares, [public] * len(shares), [u_value] * len(shares), [at] * len(shares)):
                asyncio.run(_insert(store, rows, now))
        write_export(store, path, {})
    finally:
        store.close()


def _rows(numbers: range, public: bytes, u_value: bytes, at: int) -> list[Row]:
    box = SealedBox(PublicKey(public))
    return [_row(box, u_value if number % EVERY == 0 else secrets.token_bytes(64), at) for number in numbers]


def _row(box: "SealedBox[PublicKey]", u_value: bytes, at: int) -> Row:
    id_ = secrets.token_bytes(16)
    sealed = box.encrypt(record_value(u_value, record_context(REQUESTER, SOURCE, PURPOSE, id_, 0)))
    moment = datetime.fromtimestamp(at / 1000, UTC)
    question = signed_pb2.Question(
        protocol_version=1,
        question_id=id_,
        requester=REQUESTER,
        source=SOURCE,
        purpose=PURPOSE,
        covenant_hash=bytes(32),
        epoch="2026Q4",
        record_month=month_of(moment),
        requester_manifest=1,
        source_manifest=1,
        broker_manifest=1,
        time=at,
        kind_class=signed_pb2.KIND_CLASS_CERTAIN,
        elements=[secrets.token_bytes(32)],
        seal_hashes=[seal_hash(sealed)],
        x25519=secrets.token_bytes(32),
        mlkem=secrets.token_bytes(1184),
        checkpoint=bytes(72),
        case_commitment=secrets.token_bytes(32),
    )
    return id_, question.SerializeToString(deterministic=True), secrets.token_bytes(64), sealed


async def _insert(store: Store, rows: list[Row], now: datetime) -> None:
    """As if the node had answered them: each durable, many in one commit."""
    questions = [
        AnsweredQuestion(
            id_,
            question_hash(signed_pb2.Signed(payload=payload, signature=signature)),
            REQUESTER,
            SOURCE,
            PURPOSE,
            month_of(now),
            payload,
            signature,
            (sealed,),
        )
        for id_, payload, signature, sealed in rows
    ]
    await asyncio.gather(*(store.admit_answer(question, (), now) for question in questions))
