"""`bekend node rotate`: other keys in the place of these, without a pause. What is done, what waits, what comes next.

    root -> manifest signed -> broker has its half -> every list enrolled beside the present ones -> in service
         -> the keys before: left out of the manifest, destroyed

For a quarter that begins soon, or (emergency, ADR 0038) within the present one after a theft. Nothing is decided here
that cannot be run again: each step looks at what is there. The filters go over by themselves, each purpose when all of
its lists are there; until then it is answered under the keys before.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bekend_policy.manifest import KeyManifest, parse_manifest
from bekend_proto import signing_rotation
from bekend_proto.clock import Clock, day_of, epoch_of, epoch_start, next_epoch
from bekend_proto.epochs import AHEAD, OVERLAP, age_of, enrolled_epochs, quarter_of, renewed
from bekend_proto.errors import KeysError, UnreachableError
from bekend_proto.findings import Finding, ok, warn
from bekend_proto.note import parse_note

from bekend_node.config import SHIELDED, NodeConfig
from bekend_node.control_client import ControlClient
from bekend_node.keys import NodeKeys
from bekend_node.rules import Rules, load_rules
from bekend_node.setup import write_draft
from bekend_node.store import Store
from bekend_node.store_registers import Registers


@dataclass(frozen=True)
class _Present:
    """What there is now."""

    config: NodeConfig
    keys: NodeKeys
    rules: Rules
    broker: KeyManifest | None
    now: datetime

    @property
    def own(self) -> tuple[str, ...]:
        """Epochs of the present quarter of which a root is at hand, oldest first."""
        return tuple(epoch for epoch in self.keys.epochs() if quarter_of(epoch) == epoch_of(self.now))

    def offered(self) -> tuple[str, ...]:
        """Epochs of the present quarter for which the broker has a key for this node, oldest first."""
        rows = self.broker.evaluation_keys if self.broker else {}
        found = {epoch for source, _, epoch in rows if source == self.config.oin}
        return tuple(sorted((e for e in found if quarter_of(e) == epoch_of(self.now)), key=age_of))

    def lacks(self, manifest: KeyManifest | None, epoch: str) -> list[str]:
        """Purposes of which a manifest names no key in an epoch."""
        named = manifest.evaluation_keys if manifest else {}
        return [purpose for purpose in self.rules.answered() if (self.config.oin, purpose, epoch) not in named]


def rotate(config: NodeConfig, clock: Clock, *, emergency: bool = False) -> list[Finding]:
    """Do what can be done now; one finding per step, up to the first that somebody has to take.

    `emergency`: the present keys may be known to others; goes on with a rotation that is under way. Raises BekendError
    when the node's own keys, covenant or manifest cannot be used.
    """
    keys = NodeKeys.load(config.keys, config.oin)
    with closing(Store.open(config.data)) as store:
        rules = load_rules(config, keys, store, clock)
        note = store.manifests().get(rules.covenant.broker_oin)
    broker = parse_manifest(parse_note(note[1]).text) if note else None
    present = _Present(config, keys, rules, broker, clock.now())
    target = _target(present, emergency=emergency)
    if target is None:
        opens = epoch_start(next_epoch(epoch_of(present.now))) - AHEAD
        told = f"{epoch_of(present.now)} is in use; those of the next quarter are made from {opens:%Y-%m-%d}"
        return [ok("keys", told)]
    return list(_steps(present, target))


def rotate_signing(config: NodeConfig, clock: Clock, *, emergency: bool = False) -> list[Finding]:
    """The same for the key that signs. Raises as `rotate`."""
    keys, now = NodeKeys.load(config.keys, config.oin), clock.now()
    with closing(Store.open(config.data)) as store:
        named = load_rules(config, keys, store, clock).manifest.signing_keys

    def draft(what: str) -> Finding:
        made, path = write_draft(config, now)
        told = f"the ondertekenaar has to sign number {made.number}, {what}"
        return warn("own manifest", told, _to_sign(config, path))

    return list(
        signing_rotation.rotate_signing(config.keys, named, today=day_of(now), draft=draft, emergency=emergency)
    )


def _target(present: _Present, *, emergency: bool) -> str | None:
    """The epoch to go over to; None when there is nothing to do now."""
    own, offered = present.own, present.offered()
    newest = max((*own, *offered, epoch_of(present.now)), key=age_of)
    if len(own) > 1 or (own and age_of(newest) > age_of(own[-1])):
        # Under way, or begun by the operator of the broker.
        return newest
    if emergency:
        try:
            return renewed(newest)
        except ValueError as error:
            raise KeysError(f"{error}: suspend this node until the next quarter") from None
    coming = enrolled_epochs(present.now)[-1]
    return coming if coming != epoch_of(present.now) else None


def _steps(present: _Present, target: str) -> Iterator[Finding]:
    if target in present.keys.epochs():
        yield ok("own key", f"the root of {target} is at hand")
    else:
        present.keys.ensure_epoch(target)
        yield ok("own key", f"the root of {target} was made")
    waits = [*_signed(present, target), *_offered(present, target)]
    yield from waits
    if not all(one.good for one in waits):
        return
    lists = list(_lists(present, target))
    yield from lists
    if not all(one.good for one in lists):
        return
    if quarter_of(target) != epoch_of(present.now):
        begins = epoch_start(target)
        yield ok("in service", f"by itself from {begins:%Y-%m-%d} 00:00 UTC")
        yield ok("the keys before", f"the node destroys them by itself on {begins + OVERLAP:%Y-%m-%d}")
        return
    served = list(_in_service(present, target))
    yield from served
    if all(one.good for one in served):
        yield from _before(present, target)


def _signed(present: _Present, target: str) -> Iterator[Finding]:
    if not (lacking := present.lacks(present.rules.manifest, target)):
        yield ok("own manifest", f"number {present.rules.manifest.number} names the keys of {target}")
        return
    draft, path = write_draft(present.config, present.now)
    yield warn(
        "own manifest",
        f"the ondertekenaar has to sign number {draft.number}, with keys of {target} for {len(lacking)} purposes",
        _to_sign(present.config, path),
    )


def _to_sign(config: NodeConfig, path: Path) -> str:
    return (
        f"Off line: bekend policy sign {path.name} --sleutel ondertekenaar.key. Then put {path.name}.note in the place "
        f"of {config.manifest}, send the node SIGHUP, and run this again."
    )


def _offered(present: _Present, target: str) -> Iterator[Finding]:
    if lacking := present.lacks(present.broker, target):
        yield warn(
            "key of the broker",
            f"its manifest, as this node knows it, has no key of {target} for {', '.join(lacking)}",
            "Ask its operator to run `bekend broker rotate`"
            + ("." if quarter_of(target) == target else " --emergency, and say why."),
        )
        return
    assert present.broker is not None
    yield ok("key of the broker", f"manifest {present.broker.number} of the broker has it for every purpose")


def _lists(present: _Present, target: str) -> Iterator[Finding]:
    with closing(Registers.open(present.config.data)) as registers:
        here = {(one.register, one.purpose) for one in registers.generations() if one.epoch == target}
        shielding = registers.is_shielding()
    named: dict[str, list[str]] = {SHIELDED: list(present.rules.answered())} if shielding else {}
    for purpose, source in present.rules.answered().items():
        for register in source.registers:
            named.setdefault(register, []).append(purpose)
    for register, purposes in sorted(named.items()):
        lacking = [purpose for purpose in purposes if (register, purpose) not in here]
        if not lacking:
            yield ok(f"list {register}", f"enrolled in {target}")
            continue
        how = f"bekend node enrol --register {register} --file FILE --epoch {target}"
        if register == SHIELDED:
            how += ", or bekend node shield --all"
        yield warn(f"list {register}", f"not enrolled in {target} for {', '.join(lacking)}", f"Run {how}.")


def _in_service(present: _Present, target: str) -> Iterator[Finding]:
    try:
        with ControlClient(present.config.socket) as client:
            purposes = client.call({"op": "status"}).get("purposes", {})
    except UnreachableError as fault:
        yield warn("in service", fault.detail, "Start the node, and run this again.")
        return
    for purpose, facts in purposes.items():
        if facts["epoch"] == target:
            yield ok(f"in service: {purpose}", f"answered under {target}")
        else:
            told = f"answered under {facts['epoch']}" if facts["ready"] else str(facts["reason"])
            yield warn(f"in service: {purpose}", told, "Its filter is being built: wait a minute, and run this again.")


def _before(present: _Present, target: str) -> Iterator[Finding]:
    """Every purpose went over: nothing needs the keys before any more."""
    old = [epoch for epoch in present.own if epoch != target]
    announced = {epoch for _, _, epoch in present.rules.manifest.evaluation_keys}
    if left := [epoch for epoch in old if epoch in announced]:
        draft, path = write_draft(present.config, present.now, leaving=left)
        yield warn(
            "the keys before",
            f"the ondertekenaar has to sign number {draft.number}, which names those of {', '.join(left)} no more",
            _to_sign(present.config, path),
        )
    elif old:
        yield warn("the keys before", f"{', '.join(old)} still at hand", "Send the node SIGHUP: it destroys them.")
    else:
        yield ok("the keys before", "destroyed; destroy every backup of them too")
