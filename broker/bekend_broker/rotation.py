"""`bekend broker rotate`: other keys in the place of these, without a pause. What is done, what waits, what comes next.

    roots -> manifest signed -> every partner enrols beside (the gate) -> the roots before: left out, destroyed

For the next quarter and month, or (emergency, ADR 0038) within the present quarter after a theft. It may be run again
at any time: each step looks at what is there.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from bekend_policy.manifest import KeyManifest, closed_logs, parse_manifest
from bekend_policy.model import Covenant, Mode
from bekend_policy.sign import write_atomic
from bekend_proto import signing_rotation
from bekend_proto.clock import Clock, day_of, epoch_of, epoch_start, next_epoch
from bekend_proto.epochs import AHEAD, OVERLAP, enrolled_epochs, quarter_of, renewed, replaced
from bekend_proto.errors import BekendError, KeysError
from bekend_proto.findings import Finding, ok, warn
from bekend_proto.identity import pinned_keys
from bekend_proto.note import parse_note
from bekend_proto.secret_files import create_secret

from bekend_broker.backups import closed_here
from bekend_broker.checks import next_manifest_number
from bekend_broker.config import BrokerConfig
from bekend_broker.covenants import in_service
from bekend_broker.keys import (
    create_missing,
    destroy_over,
    destroy_root,
    draft_manifest,
    evaluation_root,
    roots_at_hand,
)
from bekend_broker.store import Store


def rotate(config: BrokerConfig, clock: Clock, *, emergency: bool = False) -> list[Finding]:
    """Do what can be done now; one finding per step, up to the first that somebody has to take.

    `emergency`: the roots may be known to others; goes on with a rotation that is under way. Raises BekendError and
    YamlFaults when keys, covenant or database cannot be used.
    """
    return list(_steps(config, clock.now(), emergency=emergency))


def rotate_signing(config: BrokerConfig, clock: Clock, *, emergency: bool = False) -> list[Finding]:
    """The same for the key that signs. Raises as `rotate`."""
    now = clock.now()
    present = _present(config)
    named = present.signing_keys if present else ()

    def draft(what: str) -> Finding:
        return _to_sign(config, make_draft(config, now), what)

    return list(
        signing_rotation.rotate_signing(config.keys, named, today=day_of(now), draft=draft, emergency=emergency)
    )


def make_draft(config: BrokerConfig, now: datetime, leaving: Collection[str] = ()) -> KeyManifest:
    """The next manifest for the operator's signature. `leaving`: epochs whose keys it names no more."""
    versions = [version.covenant for version in in_service(config, now)]
    return draft_manifest(
        config.keys,
        versions[0],
        config.oin,
        next_manifest_number(config),
        now,
        others=versions[1:],
        logs=config.log_names,
        tls_keys=pinned_keys([config.tls.certificate, *config.tls.pinned]),
        closed=closed_logs(closed_here(config), config.log),
        leaving=leaving,
    )


def _steps(config: BrokerConfig, now: datetime, *, emergency: bool) -> Iterator[Finding]:
    made, gone = create_missing(config.keys, now), destroy_over(config.keys, now)
    yield ok("roots", _told(made, gone))
    target = _target(config, now, emergency=emergency)
    if target is not None and not evaluation_root(config.keys, target).exists():
        create_secret(evaluation_root(config.keys, target))
        yield ok(f"root of {target}", "made; give it to the other replicas")
    signed = list(_signed(config, now))
    yield from signed
    if not all(one.good for one in signed):
        return
    if target is None:
        opens = epoch_start(next_epoch(epoch_of(now))) - AHEAD
        yield ok("keys", f"{epoch_of(now)} is in use; partners enrol the next quarter from {opens:%Y-%m-%d}")
        return
    waiting = waiting_for(config, target, now)
    yield from _gate(target, waiting)
    yield from _before(config, target, now, waits=bool(waiting))


def _told(made: Sequence[Path], gone: Sequence[Path]) -> str:
    told = [f"made {path.name}" for path in made] + [f"destroyed {path.name}, which was over" for path in gone]
    return ", ".join(told) or "everything is there, and nothing that is over"


def _target(config: BrokerConfig, now: datetime, *, emergency: bool) -> str | None:
    """The epoch that partners go over to; None when there is nothing to do now."""
    own = [epoch for epoch in roots_at_hand(config.keys)[0] if quarter_of(epoch) == epoch_of(now)]
    if len(own) > 1:
        return own[-1]
    if emergency:
        try:
            return renewed(own[-1])
        except ValueError as error:
            raise KeysError(f"{error}: suspend the federation until the next quarter") from None
    coming = enrolled_epochs(now)[-1]
    return coming if coming != epoch_of(now) else None


def _signed(config: BrokerConfig, now: datetime) -> Iterator[Finding]:
    """Whether the manifest in place names what the roots call for; what was left out on purpose is not missed."""
    present = _present(config)
    draft = make_draft(config, now)
    named = set(present.evaluation_keys) if present else set()
    known = {epoch for _, _, epoch in named}
    left_out = replaced({epoch for _, _, epoch in draft.evaluation_keys}, known)
    missing = {row for row in draft.evaluation_keys if row not in named and row[2] not in left_out}
    months = set(draft.record_keys) - set(present.record_keys if present else ())
    if present is not None and not missing and not months:
        yield ok("manifest", f"number {present.number} names every key")
        return
    yield _to_sign(config, draft, f"with {len(missing) + len(months)} keys that are new")


def _to_sign(config: BrokerConfig, draft: KeyManifest, what: str) -> Finding:
    path = config.manifest.with_name(f"manifest-{draft.number}")
    write_atomic(path, draft.text().encode())
    return warn(
        "manifest",
        f"the operator's off-line key has to sign number {draft.number}, {what}",
        f"Off line: bekend policy sign {path.name} --sleutel beheerder.key. Then put {path.name}.note in the place of "
        f"{config.manifest} on every replica, send each SIGHUP, and run this again.",
    )


def _present(config: BrokerConfig) -> KeyManifest | None:
    try:
        return parse_manifest(parse_note(config.manifest.read_bytes()).text)
    except OSError:
        return None


def waiting_for(config: BrokerConfig, epoch: str, now: datetime) -> dict[str, list[str]]:
    """The gate: per partner what it still has to do before it answers under these keys; empty when all are over."""
    covenants = [version.covenant for version in in_service(config, now)]
    with closing(Store.of(config)) as store:
        notes = store.manifests()
        enrolled = store.enrolled(epoch)
    found: dict[str, list[str]] = {}
    for source, purpose, registers in _sources(covenants):
        key = _key_of(notes.get(source), (source, purpose, epoch))
        lists = [name for name in registers if (source, purpose, name) not in enrolled]
        if not key:
            found.setdefault(source, []).append(f"no key for {purpose} in its manifest")
        elif lists:
            found.setdefault(source, []).append(f"{', '.join(lists)} not enrolled for {purpose}")
    return found


def _sources(covenants: Sequence[Covenant]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    seen: set[tuple[str, str]] = set()
    for covenant in covenants:
        for purpose in covenant.purposes:
            for source, terms in covenant.sources(purpose).items():
                if terms.mode is not Mode.NEVER and (source, purpose) not in seen:
                    seen.add((source, purpose))
                    yield source, purpose, tuple(terms.registers)


def _key_of(held: tuple[int, bytes] | None, row: tuple[str, str, str]) -> bool:
    try:
        return held is not None and row in parse_manifest(parse_note(held[1]).text).evaluation_keys
    except BekendError:
        return False


def _gate(target: str, waiting: dict[str, list[str]]) -> Iterator[Finding]:
    if not waiting:
        yield ok("partners", f"all have enrolled every list in {target}")
    for source, what in sorted(waiting.items()):
        yield warn(f"partner {source}", "; ".join(what), "Ask its operator to run `bekend node rotate`.")


def _before(config: BrokerConfig, target: str, now: datetime, *, waits: bool) -> Iterator[Finding]:
    if quarter_of(target) != epoch_of(now):
        ends = epoch_start(target) + OVERLAP
        yield ok("the roots before", f"destroyed by this command from {ends:%Y-%m-%d} on, whoever has enrolled by then")
        return
    if waits:
        yield warn(
            "the roots before",
            f"kept until every partner is over, and no longer than a week after {quarter_of(target)}",
            "A partner that will not be over is suspended, or waits for the next quarter.",
        )
        return
    old = [epoch for epoch in roots_at_hand(config.keys)[0] if quarter_of(epoch) == epoch_of(now) and epoch != target]
    present = _present(config)
    announced = {epoch for _, _, epoch in present.evaluation_keys} if present else set()
    if left := [epoch for epoch in old if epoch in announced]:
        yield _to_sign(config, make_draft(config, now, leaving=left), f"which names those of {', '.join(left)} no more")
        return
    for epoch in old:
        destroy_root(evaluation_root(config.keys, epoch))
    yield ok("the roots before", "destroyed; destroy them on every replica and in every backup of keys too")
