"""Plays the part of the demo where colleagues decide: officers ask, colleagues decide, answers come.

    ask()       every lookup of the script, consents before it
    decide()    at each desk what waits is looked at, and done with what the script says; a consent is withdrawn
    finish()    when the last term is over: what every officer has been told by now

All of it over the control sockets of the nodes, as the commands do.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bekend_node.schedule import next_switch

from bekend_deploy.answered import Answered
from bekend_deploy.building import COLLEAGUE
from bekend_deploy.federation import COLLECT_SECONDS, Federation
from bekend_deploy.partners import Partner, by_oin
from bekend_deploy.processes import ProcessFailed
from bekend_deploy.questions import INCONCLUSIVE, KNOWN, PENDING
from bekend_deploy.release_script import Act, ByHand, script

PATIENCE = 60.0
"""Seconds to wait for what has to come, on a busy machine."""
JUSTIFICATION = "nodig: om te weten wie erbij hoort; middel: alleen deze vraag; minder: kan hier niet"

Told = dict[tuple[int, str], dict[str, Any]]


@dataclass(frozen=True)
class Played:
    """One lookup of the script, what its officer was told first, and in the end."""

    by_hand: ByHand
    answered: Answered
    later: Told

    def first(self) -> dict[tuple[int, str], str]:
        """What the lookup itself told."""
        return {(int(one["person"]), str(one["oin"])): str(one["outcome"]) for one in self.answered.outcomes}

    def in_the_end(self) -> dict[tuple[int, str], str]:
        """What was told by the end, where a colleague decided."""
        return {place: str(one["outcome"]) for place, one in self.later.items()}

    def correct(self, federation: Federation) -> bool:
        """Whether both are the truth, and who withdrew sees that."""
        truth, expected = federation.truth, self.by_hand.later(federation.truth)
        says_so = all("ingetrokken" in str(one["reason"]) for one in self.later.values())
        is_told = not self.by_hand.withdrawn or says_so
        return self.first() == self.by_hand.first(truth) and self.in_the_end() == expected and is_told


class ReleaseRun:
    """The script against a running federation. The methods are called in their order, once."""

    def __init__(self, federation: Federation) -> None:
        self._federation = federation
        self._script = script(federation.truth)
        self._partners = by_oin(federation.members)
        self._asked: list[tuple[ByHand, Answered]] = []

    @property
    def count(self) -> int:
        """Lookups in the script."""
        return len(self._script)

    def ask(self, on_done: Callable[[], None] = lambda: None) -> None:
        """Put consents on record and ask."""
        for one in self._script:
            question = one.question
            if one.consents:
                self._consent(one)
            answered = self._federation.lookup(
                question.requester,
                question.purpose,
                question.persons,
                sources=one.sources(self._federation.truth),
                case=one.case,
                justification=JUSTIFICATION,
            )
            self._asked.append((one, answered))
            on_done()

    def decide(self) -> None:
        """Play the colleagues until nothing of the script is left to do. Raises ProcessFailed."""
        todo = sum(one.items(self._federation.truth) for one in self._script)
        done: set[tuple[str, str]] = set()
        deadline = time.monotonic() + PATIENCE
        while len(done) < todo:
            for source, one, item in self._waiting():
                if (source.oin, item) not in done:
                    self._act(source, one, item)
                    done.add((source.oin, item))
            _check(deadline, f"{todo - len(done)} of {todo} items did not reach a desk")
            time.sleep(0.1)
        for one in self._script:
            if one.withdrawn:
                self._withdraw(one)

    def finish(self) -> list[Played]:
        """Wait until nothing is pending any more, whatever that takes of each term. Raises ProcessFailed."""
        deadline = time.monotonic() + PATIENCE
        played = []
        for one, answered in self._asked:
            later = self._later(one)
            while PENDING in {it["outcome"] for it in later.values()}:
                _check(deadline, f"{one.question.title}: still pending")
                time.sleep(0.1)
                later = self._later(one)
            played.append(Played(one, answered, later))
        return played

    # --- the requester

    def _later(self, one: ByHand) -> Told:
        return self._federation.later(one.question.requester, one.case)

    def _consent(self, one: ByHand) -> None:
        self._federation.call(
            one.question.requester,
            op="consent",
            purpose=one.question.purpose,
            case=one.case,
            partners=sorted(one.consents),
            giver="zelf",
            date=self._federation.population.today.isoformat(),
            scope="deze organisaties vragen of zij mij kennen",
            born="1980-02-29",
        )

    def _withdraw(self, one: ByHand) -> None:
        """After `bekend` was there to see: it is destroyed, and at the source nothing is left to undo."""
        deadline = time.monotonic() + PATIENCE
        while {it["outcome"] for it in self._later(one).values()} != {KNOWN}:
            _check(deadline, f"{one.question.title}: no `bekend` to withdraw")
            time.sleep(0.05)
        self._federation.call(one.question.requester, op="withdraw", case=one.case)
        while {it["outcome"] for it in self._later(one).values()} != {INCONCLUSIVE}:
            _check(deadline, f"{one.question.title}: what was withdrawn is still there")
            time.sleep(0.05)

    # --- the colleagues

    def _waiting(self) -> Iterator[tuple[Partner, ByHand, str]]:
        """What waits at any desk and has a part in the script."""
        for oin in sorted({oin for one in self._script for oin, act in one.acts.items() if act is not Act.LEAVE}):
            source = self._partners[oin]
            for item in self._desk(source, act="list")["items"]:
                for one in self._script:
                    fits = item["state"] == "wacht" and item["purpose"] == one.question.purpose
                    if fits and one.acts.get(oin, Act.LEAVE) is not Act.LEAVE:
                        yield source, one, item["item"]

    def _act(self, source: Partner, one: ByHand, item: str) -> None:
        seen = self._desk(source, act="show", item=item)
        if seen["person"]["value"] not in one.question.persons:
            raise ProcessFailed(f"{source.name}: an item is about somebody who was not asked about")
        release = {"act": "release", "item": item, "ground": min(seen["release_grounds"], key=_usual)}
        refuse = {"act": "refuse", "item": item, "ground": "geheim"}
        match one.acts[source.oin]:
            case Act.RECONSIDER:
                self._wait_for_calm(one.question.requester)
                self._desk(source, **refuse)
                self._desk(source, act="undo", item=item)
                self._desk(source, **release)
            case Act.HAND_OVER:
                self._desk(source, act="ask", item=item, to=COLLEAGUE)
                self._desk(source, **release)
            case Act.REFUSE:
                self._desk(source, **refuse)
            case _:
                self._desk(source, **release)

    def _wait_for_calm(self, requester: Partner) -> None:
        """Until the collect of a moment is over: a decision can be undone until the next one."""
        now = datetime.now(UTC).timestamp()
        moment = next_switch(requester.oin, timedelta(seconds=COLLECT_SECONDS), int(now))
        time.sleep(moment - now + COLLECT_SECONDS / 2)

    def _desk(self, source: Partner, **request: Any) -> dict[str, Any]:
        return self._federation.call(source, op="desk", **request)


def _usual(ground: str) -> bool:
    return ground not in {"nodig", "toestemming"}


def _check(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise ProcessFailed(f"after {PATIENCE:.0f} s: {what}")
