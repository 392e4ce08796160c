"""The drill: a broker that lost its roots and has no backup. What does it cost to find everybody again?

    1  a register is enrolled; the broker's keys are lost, all of them
    2  new roots, a manifest with the next number, signed; the broker serves     (made and signed here, by hand in life)
    3  the partner enrols its register again, over the wire, with its own command

Every pseudonym of the quarter was made with the lost root: each partner does step 3 for each register, and until then
nobody is found. With T = 4 hours and a rate r of persons and purposes per second, T * r persons and purposes come back
in time. What the lost month keys covered, no access request can open again, ever: time does not heal that.
"""

import shutil
import time
from collections.abc import Iterator
from typing import Final

from bekend_broker import keys
from bekend_deploy.federation import Federation
from bekend_deploy.partners import BROKER_OIN
from bekend_policy.load import load_covenant
from bekend_policy.manifest import parse_manifest
from bekend_proto.clock import Clock
from bekend_proto.note import parse_note, sign_note

from bekend_bench.figures import Figure, at_most
from bekend_bench.ground import Ground

PART: Final = "recovery"
HOURS: Final = 4
"""The recovery time that is asked for."""
FEDERATION: Final = 1_000_000
"""Persons and purposes that a federation has enrolled together: a region's."""


def measure(field: Ground, clock: Clock) -> Iterator[Figure]:
    """Enrol, lose the keys, bring the broker back and enrol again."""
    federation, work = field.federation, field.import_of(field.sources[0])
    federation.enrol(work)
    began = time.monotonic()
    _lose_and_renew(federation, clock)
    renewed = time.monotonic() - began
    done = federation.enrol(work)
    rate = done.persons / done.seconds
    yield Figure(PART, "new roots, manifest and broker, without the people who sign", renewed, "s")
    yield Figure(PART, f"enrolled again without a backup, {done.persons:,}", rate, "persons/s and purpose")
    yield Figure(
        PART, f"comes back within {HOURS} h: {HOURS} * 3,600 s * rate", HOURS * 3_600 * rate, "persons*purposes"
    )
    yield Figure(
        PART,
        f"a federation of {FEDERATION:,} persons*purposes: {FEDERATION:,} / rate",
        (FEDERATION / rate + renewed) / 3_600,
        "h",
        None,
        at_most(HOURS),
    )


def _lose_and_renew(federation: Federation, clock: Clock) -> None:
    """What the operator has left: configuration, covenant, database. Everything that was a key is made anew."""
    assert federation.broker is not None
    federation.broker.stop()
    built = federation.built
    folder, note = built.broker_config.parent / "keys", built.broker_config.parent / "manifest.note"
    number = parse_manifest(parse_note(note.read_bytes()).text).number + 1
    shutil.rmtree(folder)
    keys.create_missing(folder, clock.now())
    covenant = load_covenant(built.covenant)
    draft = keys.draft_manifest(folder, covenant, BROKER_OIN, number, clock.now())
    note.write_bytes(sign_note(draft.text(), built.operator.name, built.operator.seed))
    federation.start_broker()
