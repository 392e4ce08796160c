"""What the protocol prescribes, counted: operations per lookup, per enrolled person, per rebuilt tag.

The counts follow protocol section 7 step by step and RFC 9497; they hold for one person per lookup. A proof over
one element costs its maker three multiplications and one by the base point, and its verifier five and one. Received
points are checked where they are multiplied: that costs nothing more.
"""

from collections import Counter
from dataclasses import asdict

from bekend_bench.floor import Floor

PROVE = Counter(multiply=3, multiply_base=1)
VERIFY = Counter(multiply=5, multiply_base=1, add=2)

BEGIN: Counter[str] = (
    # (2) the requester hashes and blinds the person, signs Begin
    Counter(hash_to_group=1, multiply=1, sign=1)
    # (3) the broker verifies, logs, evaluates under the month's key, proves
    + Counter(verify=1, durable_insert=1, multiply=1)
    + PROVE
    # (4) the requester verifies and unblinds
    + VERIFY
    + Counter(multiply=1)
    # its own record is durable before the questions go out, and again with the outcomes
    + Counter(seal=2, durable_insert=2)
    # (6) one durable entry for the questions of the lookup, and a signed promise of where they stand in the log
    + Counter(durable_insert=1, sign=1)
    # (11) the receipt
    + Counter(sign=1)
    # Begin, Begun, Ask
    + Counter(message=3)
)
"""Once per lookup."""

FURTHER_ASK = Counter(message=1, seal=1, durable_insert=2, sign=1)
"""Once per Ask after the first: requesters choose how many. Its record and entries durable at both ends, a promise."""

PER_SOURCE: Counter[str] = (
    # (5) blind, record, channel keys, signature
    Counter(multiply=1, exchange_keypair=1, exchange=1, box=1, kem_keypair=1, sign=1)
    # the sealed record's ephemeral key
    + Counter(exchange_keypair=1)
    # (6) the broker verifies the signature and the ratio, evaluates, proves
    + Counter(verify=1, multiply=2)
    + PROVE
    # (7) the source verifies the signature and the proof
    + Counter(verify=1)
    + VERIFY
    # (8) durable before the reply
    + Counter(durable_insert=1)
    # (9) evaluate, prove, sign, seal
    + Counter(multiply=1, sign=1, exchange_keypair=1, exchange=1, kem_encapsulate=1, box=1)
    + PROVE
    # (10) open, verify, unblind, tag
    + Counter(exchange=1, kem_decapsulate=1, box=1, verify=1, multiply=1, blake2b=1)
    + VERIFY
    # question to the source, answer to the broker, answer to the requester
    + Counter(message=3)
)
"""Once per source that is asked."""

PER_ENROLLED: Counter[str] = (
    # node: hash, blind; verify two terms of the batched proof; unblind and multiply by k in one
    Counter(hash_to_group=1, multiply=4, add=2)
    # broker: evaluate, one term of the batched proof
    + Counter(multiply=2, add=1)
)
"""Once per person and purpose."""

PER_TAG = Counter(multiply=1, blake2b=1)
"""Once per pseudonym in a rebuilt filter."""


def lookup(sources: int, asks: int = 1) -> Counter[str]:
    """Operations of one lookup about one person at so many sources, whose Questions leave in so many Asks."""
    return BEGIN + _times(FURTHER_ASK, asks - 1) + _times(PER_SOURCE, sources)


def _times(operations: Counter[str], times: int) -> Counter[str]:
    return Counter({name: count * times for name, count in operations.items()})


def seconds(operations: Counter[str], floor: Floor) -> float:
    """Seconds of one core for these operations at the raw speed of their libraries."""
    costs: dict[str, float] = asdict(floor)
    return sum(count * costs[name] for name, count in operations.items())


def work_seconds(operations: Counter[str], floor: Floor) -> float:
    """Seconds of processor time for these operations: without waiting for the disk."""
    work = Counter(operations)
    work["durable_insert_cpu"] = work.pop("durable_insert", 0)
    return seconds(work, floor)


def bulk_seconds(operations: Counter[str], floor: Floor, cores: int) -> float:
    """Seconds for these operations spread over all cores, at the speed that the cores reach together.

    Others work while one waits for the disk.
    """
    # Cores that work together are never faster than one that works alone: below one is noise.
    slowdown = max(1.0, floor.multiply_all_cores * cores / floor.multiply)
    return work_seconds(operations, floor) * slowdown / cores
