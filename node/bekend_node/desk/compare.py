"""(R4) Whose W made this locator? In a process of its own with low priority: `python -m bekend_node.desk.compare`.

The node writes one JSON object to its standard input and reads one from its standard output. Every D is hashed against
every client's W of its filter, always the whole file; two processes share the chunks. What a D names is opened here and
goes back sealed: the serving node never has it in memory for this.
"""

import base64
import hashlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bekend_proto import logs
from bekend_proto.errors import MalformedError
from bekend_proto.group import multiply, scalar_invert
from bekend_proto.release import LOCATOR_PERSON, check_named, open_release
from nacl.secret import SecretBox

from bekend_node import client_file
from bekend_node.desk.matter import Matter, Stage
from bekend_node.desk.record import seal_desk_record

NICENESS = 19
"""Questions come first: nothing is nicer."""


@dataclass(frozen=True)
class Named:
    """One D, in hex, with what belongs to its person: context, A of the Question, the own Z, facts for the record."""

    context: str
    message: str = field(repr=False)
    element: str
    evaluated: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Order:
    """What to compare: the clients' file with its key, m, desk key, privacy officer's key, all in hex."""

    file: str
    key: str = field(repr=False)
    m: str = field(repr=False)
    desk_key: str = field(repr=False)
    privacy_officer: str
    workers: int
    named: list[Named]

    def to_json(self) -> bytes:
        """As it is written to the process's standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Order":
        """As the process reads it."""
        found = json.loads(text)
        return cls(**found | {"named": [Named(**one) for one in found["named"]]})


@dataclass(frozen=True)
class Compared:
    """What became of one D: a sealed matter; with it P of the client that it names, or the record of a misnamed.

    `fault`: the class of what went wrong with this one alone; nothing else is said of it then.
    """

    stage: str
    sealed: str
    pseudonym: str = field(default="", repr=False)
    record: str = ""
    fault: str = ""


def compare(order: Order) -> list[Compared]:
    """One result per D. Raises StorageError when the file does not open from its first chunk to its last."""
    path, key = Path(order.file), bytes.fromhex(order.key)
    count = client_file.count_chunks(path)
    wanted = [(bytes.fromhex(one.context), bytes.fromhex(one.message)[:32]) for one in order.named]
    # (R4): every D against every client's W: no end before the end of the file, whatever is found.
    find = partial(_find, path, key, count, wanted)
    if order.workers == 1 or count == 1:
        found = [find(number) for number in range(count)]
    else:
        # One thread and no connections: forking is safe, and costs no start-up per worker.
        with get_context("fork").Pool(order.workers) as pool:
            found = pool.map(find, range(count), chunksize=-(-count // (2 * order.workers)))
    matches: dict[int, bytes] = {}
    for chunk in found:
        matches.update(chunk)
    return [_judge_alone(order, one, matches.get(place)) for place, one in enumerate(order.named)]


def _find(path: Path, key: bytes, count: int, wanted: Sequence[tuple[bytes, bytes]], number: int) -> dict[int, bytes]:
    """The W in one chunk that made these locators, by place."""
    clients = client_file.read_chunk(path, key, number, count)
    blake2b = hashlib.blake2b
    found = {}
    for place, (context, locator) in enumerate(wanted):
        for w in clients:
            if blake2b(context, digest_size=32, key=w, person=LOCATOR_PERSON).digest() == locator:
                found[place] = w
    return found


def _judge_alone(order: Order, named: Named, w: bytes | None) -> Compared:
    """Whatever one of them brings about, the others are told what became of theirs."""
    try:
        return _judge(order, named, w)
    except Exception as fault:
        # No text, which might quote a person, and no place, which might tell whether one was found.
        return Compared(Stage.FAILED, "", fault=type(fault).__name__)


def _judge(order: Order, named: Named, w: bytes | None) -> Compared:
    box = SecretBox(bytes.fromhex(order.desk_key))
    if w is None:
        return Compared(Stage.NOTHING, Matter(Stage.NOTHING).seal(box).hex())
    payload = b""
    try:
        payload = open_release(w, bytes.fromhex(named.context), bytes.fromhex(named.message))
        check_named(payload, bytes.fromhex(named.element), bytes.fromhex(named.evaluated), w)
    except MalformedError as fault:
        # Keyed for an own client, and naming somebody else or nobody: whoever made it knows more than it should.
        facts = {**named.facts, "what": "misnamed", "why": type(fault).__name__}
        facts["payload"] = base64.b64encode(payload).decode()
        record = seal_desk_record(bytes.fromhex(order.privacy_officer), facts)
        return Compared(Stage.MISNAMED, Matter(Stage.MISNAMED).seal(box).hex(), record=record.hex())
    pseudonym = multiply(scalar_invert(bytes.fromhex(order.m)), w)
    matter = Matter(Stage.OPEN, bytes(box.encrypt(payload)), pseudonym)
    return Compared(Stage.OPEN, matter.seal(box).hex(), pseudonym.hex())


def main() -> None:
    """Read an Order from standard input, write a list of Compared to standard output."""
    os.nice(NICENESS)
    # Ctrl-C in the node's terminal is for the node, which ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        results = compare(Order.from_json(sys.stdin.buffer.read()))
    except Exception as fault:
        # Its text might quote what it was given.
        sys.stderr.write(f"compare: {type(fault).__name__} at {logs.place_of(fault.__traceback__)}\n")
        sys.exit(1)
    sys.stdout.write(json.dumps([asdict(one) for one in results]))


if __name__ == "__main__":
    main()
