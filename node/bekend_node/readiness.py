"""May this purpose be answered now, and from what: the conditions that a filter rests on.

Every named register has a generation in the epoch and is young enough, `afgeschermd` is at hand if it ever held
somebody, and the epoch's key and canary are there. Anything else is `geen antwoord`, never a smaller set (must-list
23).

By machine or by hand (section 9) is decided when a filter is built: a standing decision that ends, or comes, changes it
from the next switch. One that ended is `geen antwoord` until then.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from bekend_policy.model import Covenant, Source
from bekend_proto.clock import day_of
from bekend_proto.epochs import is_served, served_epochs
from bekend_proto.errors import NotReadyError

from bekend_node.config import SHIELDED
from bekend_node.keys import NodeKeys
from bekend_node.rules import Rules
from bekend_node.serving import Serving
from bekend_node.store_registers import Generation, Registers

OVERDUE_GRACE = 60
"""Seconds that a filter goes on after its end while its successor is late."""


@dataclass(frozen=True)
class Inputs:
    """What a filter would be built from now."""

    epoch: str
    generations: tuple[Generation, ...]
    shielded: tuple[Generation, ...]
    as_of: date
    by_hand: bool
    """A colleague decides: the mode says so, or no standing decision is in force."""


def inputs_of(purpose: str, rules: Rules, registers: Registers, keys: NodeKeys, now: datetime) -> Inputs:
    """The newest served epoch for which everything is there. Raises NotReadyError with the reason and the remedy."""
    source = _source(purpose, rules)
    by_hand = not rules.by_machine(source, purpose, now)
    if by_hand and not keys.has_desk:
        raise NotReadyError(f"{purpose} is answered by hand, and the desk has no key: run `bekend node desk init`")
    mine = [g for g in registers.generations() if g.purpose == purpose]
    shielding = registers.is_shielding()
    fault: NotReadyError | None = None
    for epoch in served_epochs(now, keys.epochs()):
        try:
            inputs = _of_epoch(epoch, source, mine, now, shielding=shielding, by_hand=by_hand)
            if epoch not in keys.epochs() or registers.canary(purpose, epoch) is None:
                raise NotReadyError(f"the key or the canary of {epoch} for {purpose} is missing: import again")
        except NotReadyError as error:
            fault = fault or error
        else:
            return inputs
    assert fault is not None
    raise fault


def check_still(serving: Serving, rules: Rules, now: datetime) -> None:
    """Raise NotReadyError when a filter that is in service may not answer any more."""
    source = _source(serving.purpose, rules)
    _check_mode(serving, source, rules, now)
    if _registers_behind(serving, rules) != set(source.registers):
        raise NotReadyError("the filter was built under another covenant: the next switch brings a new one")
    if _is_old(serving.as_of, source, now):
        raise NotReadyError(f"a register for {serving.purpose} is older than the covenant allows: import a newer list")
    if not is_served(serving.header.epoch, now):
        raise NotReadyError(f"epoch {serving.header.epoch} is over: import the registers for this one")
    if now.timestamp() >= serving.end + OVERDUE_GRACE:
        raise NotReadyError(f"the filter for {serving.purpose} has ended and its successor is late")


def check_under(serving: Serving, rules: Rules, covenant: Covenant, now: datetime) -> None:
    """Raise NotReadyError when a filter may not answer a question under this version of the covenant.

    A filter is the union of certain registers. Under a version that names others it would say too much or too little:
    a register too few would make a miss of somebody who is known.
    """
    source = covenant.sources(serving.purpose).get(rules.oin)
    if source is None:
        raise NotReadyError(f"{serving.purpose} is not answered under the covenant of the question")
    _check_mode(serving, source, rules, now)
    if _registers_behind(serving, rules) != set(source.registers):
        raise NotReadyError(f"the covenant of the question names other registers for {serving.purpose} than the filter")
    if _is_old(serving.as_of, source, now):
        raise NotReadyError(f"a register for {serving.purpose} is older than the covenant of the question allows")


def _registers_behind(serving: Serving, rules: Rules) -> set[str] | None:
    """The registers that a filter was built from: those of the version under which it was, if that is still held."""
    for covenant in rules.covenants:
        if covenant.hash == serving.header.covenant_hash:
            source = covenant.sources(serving.purpose).get(rules.oin)
            return set(source.registers) if source else None
    return None


def _check_mode(serving: Serving, source: Source, rules: Rules, now: datetime) -> None:
    """A filter with tags answers by machine, and needs what that needs; one without is for a colleague with a term."""
    if serving.by_hand:
        if source.reply_term is None:
            raise NotReadyError(f"{serving.purpose} is not answered by hand: the next switch brings another filter")
    elif not rules.by_machine(source, serving.purpose, now):
        raise NotReadyError(
            f"no standing decision is in force for {serving.purpose}: a colleague decides from the next switch on"
        )


def _source(purpose: str, rules: Rules) -> Source:
    source = rules.answered().get(purpose)
    if source is None:
        raise NotReadyError(f"{purpose} is not answered by this node under this covenant")
    return source


def _of_epoch(
    epoch: str, source: Source, mine: Sequence[Generation], now: datetime, *, shielding: bool, by_hand: bool
) -> Inputs:
    here: dict[str, dict[str, Generation]] = {}
    for g in mine:
        if g.epoch == epoch:
            here.setdefault(g.register, {})[g.kind] = g
    for register in source.registers:
        if register not in here:
            raise NotReadyError(f"the register {register} was not imported in {epoch}: run `bekend node enrol`")
    # Who was shielded last epoch, or under other purposes, is not to be known here because a list was forgotten.
    if shielding and SHIELDED not in here:
        raise NotReadyError(f"the register {SHIELDED} was not imported in {epoch}: run `bekend node enrol`")
    named, shielded = _in_common(here, source)
    for g in (*named, *shielded):
        _check_not_restored(g)
    for g in named:
        if _is_old(g.as_of, source, now):
            raise NotReadyError(f"the register {g.register} is older than the covenant allows: import a newer list")
    return Inputs(epoch, named, shielded, min(g.as_of for g in named), by_hand)


def _in_common(
    here: Mapping[str, Mapping[str, Generation]], source: Source
) -> tuple[tuple[Generation, ...], tuple[Generation, ...]]:
    """Generations of the kinds of identifier that every register holds, and those of `afgeschermd`.

    By a kind that one of the registers lacks its clients would be missed in silence; by one that `afgeschermd` lacks
    its persons would be known. Such a kind is not asked by: the header does not name it.
    """
    registers = [here[register] for register in source.registers]
    shielded = here.get(SHIELDED, {})
    kinds = set.intersection(*map(set, registers), *([set(shielded)] if shielded else []))
    if not kinds:
        raise NotReadyError(
            "the registers of this purpose, and `afgeschermd`, share no kind of identifier: import them with one that "
            "all have"
        )
    named = tuple(register[kind] for register in registers for kind in sorted(kinds))
    return named, tuple(shielded[kind] for kind in sorted(kinds) if shielded)


def _check_not_restored(generation: Generation) -> None:
    if generation.restored:
        raise NotReadyError(
            f"the register {generation.register} came back from a backup, and who changed since is not in it: "
            "import it anew"
        )


def _is_old(as_of: date, source: Source, now: datetime) -> bool:
    """Counted in whole days of the calendar, as the header states the date (FG-25)."""
    return day_of(now) - as_of > source.max_list_age
