"""May this purpose be answered now, and from what: the conditions that a filter rests on.

Every named register has a generation in the epoch and is young enough, `afgeschermd` is at hand if it ever held
somebody, and the epoch's key and canary are there. Anything else is `geen antwoord`, never a smaller set (must-list
23).

Where a purpose is answered by combinations too, each class of identifier has its conditions and its filter. A filter
holds the kinds that every named register was enrolled with, and its header says which: a kind that one of them lacks
would miss its people, and somebody who is shielded by one kind must not be found by another.

By machine or by hand (section 9) is decided when a filter is built: a standing decision that ends, or comes, changes it
from the next switch. One that ended is `geen antwoord` until then.
"""

from dataclasses import dataclass
from datetime import date, datetime

from bekend_policy.model import Covenant, Source
from bekend_proto.clock import day_of
from bekend_proto.epochs import is_served, served_epochs
from bekend_proto.errors import NotReadyError

from bekend_node.classes import CERTAIN, FilterId, KindClass
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
    kinds: tuple[str, ...]
    """By which it may be asked: every register holds them. None where no register was enrolled with a combination."""
    by_hand: bool
    """A colleague decides: the mode says so, or no standing decision is in force."""


def inputs_of(id_: FilterId, rules: Rules, registers: Registers, keys: NodeKeys, now: datetime) -> Inputs:
    """The newest served epoch for which everything is there. Raises NotReadyError with the reason and the remedy."""
    source, purpose = _source(id_, rules), id_.purpose
    by_hand = not rules.by_machine(source, id_, now)
    if by_hand and not keys.has_desk:
        raise NotReadyError(f"{id_} is answered by hand, and the desk has no key: run `bekend node desk init`")
    mine = [g for g in registers.generations() if g.purpose == purpose]
    shielding = registers.is_shielding()
    fault: NotReadyError | None = None
    for epoch in served_epochs(now, keys.epochs()):
        try:
            here = _Enrolled(epoch, tuple(g for g in mine if g.epoch == epoch), shielding=shielding)
            inputs = _of_epoch(here, source, id_.kind_class, now, by_hand=by_hand)
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
    source = _source(serving.id, rules)
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
    if source is None or not source.kinds_of(serving.id.kind_class):
        raise NotReadyError(f"{serving.id} is not answered under the covenant of the question")
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
    if not set(serving.header.kinds) <= source.kinds_of(serving.id.kind_class):
        raise NotReadyError(
            f"the filter for {serving.id} holds a kind that the covenant does not list: see next switch"
        )
    if serving.by_hand:
        if source.term_of(serving.id.kind_class) is None:
            raise NotReadyError(f"{serving.purpose} is not answered by hand: the next switch brings another filter")
    elif not rules.by_machine(source, serving.id, now):
        raise NotReadyError(
            f"no standing decision is in force for {serving.purpose}: a colleague decides from the next switch on"
        )


def _source(id_: FilterId, rules: Rules) -> Source:
    source = rules.source_of(id_)
    if source is None:
        raise NotReadyError(f"{id_} is not answered by this node under this covenant")
    return source


@dataclass(frozen=True)
class _Enrolled:
    """What of a purpose's registers is there in one epoch; `shielding`: whether `afgeschermd` must be."""

    epoch: str
    generations: tuple[Generation, ...]
    shielding: bool

    def of(self, register: str) -> tuple[Generation, ...]:
        return tuple(g for g in self.generations if g.register == register)


def _of_epoch(here: _Enrolled, source: Source, kind_class: KindClass, now: datetime, *, by_hand: bool) -> Inputs:
    # Who was shielded last epoch, or under other purposes, is not to be known here because a list was forgotten.
    needed = [*source.registers, *([SHIELDED] if here.shielding or here.of(SHIELDED) else [])]
    for register in needed:
        if not here.of(register):
            raise NotReadyError(f"the register {register} was not imported in {here.epoch}: run `bekend node enrol`")
        for generation in here.of(register):
            _check_not_restored(generation)
    held = [{g.kind for g in here.of(register)} for register in needed]
    # A question by a kind that one register lacks would find nobody of it: a silent miss.
    kinds = source.kinds_of(kind_class).intersection(*held)
    if not kinds and kind_class == CERTAIN:
        raise NotReadyError(
            "the registers of this purpose, and `afgeschermd`, share no kind of identifier that the covenant lists: "
            "import them with one that all have"
        )
    used = [g for g in here.generations if g.register in needed and g.kind in kinds]
    named = tuple(g for g in used if g.register != SHIELDED)
    shielded = tuple(g for g in used if g.register == SHIELDED)
    # No combination is enrolled: a header that says so, about the lists as they are.
    dated = named or tuple(g for g in here.generations if g.register in source.registers)
    for generation in dated:
        if _is_old(generation.as_of, source, now):
            raise NotReadyError(
                f"the register {generation.register} is older than the covenant allows: import a newer list"
            )
    as_of = min(g.as_of for g in dated)
    return Inputs(here.epoch, named, shielded, as_of, tuple(sorted(map(str, kinds))), by_hand)


def _check_not_restored(generation: Generation) -> None:
    if generation.restored:
        raise NotReadyError(
            f"the register {generation.register} came back from a backup, and who changed since is not in it: "
            "import it anew"
        )


def _is_old(as_of: date, source: Source, now: datetime) -> bool:
    """Counted in whole days of the calendar, as the header states the date (FG-25)."""
    return day_of(now) - as_of > source.max_list_age
