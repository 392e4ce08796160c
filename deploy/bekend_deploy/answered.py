"""One lookup over a node's control socket, as the demo, the tests and the bench ask."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bekend_node.control_client import ControlClient

from bekend_deploy.processes import ProcessFailed


@dataclass(frozen=True)
class Answered:
    """A lookup that has ended. `refused` is the Dutch reason when the own rules admitted nothing of it."""

    outcomes: tuple[dict[str, Any], ...]
    refused: str | None
    receipt: dict[str, Any] | None
    seconds: float

    def outcome(self, oin: str, person: int = 0) -> str:
        """The outcome at one partner. Raises StopIteration when there is none."""
        return next(str(one["outcome"]) for one in self.outcomes if (one["oin"], one["person"]) == (oin, person))

    def reason(self, oin: str, person: int = 0) -> str:
        """Its reason, in Dutch."""
        return next(str(one["reason"]) for one in self.outcomes if (one["oin"], one["person"]) == (oin, person))


def ask(
    socket: Path,
    request: dict[str, Any],
    requester: str,
    names: Mapping[str, str],
    on_outcome: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Answered:
    """Ask, and stay to the end. `names`: partners, by OIN, that a refusal is shown for.

    Raises ProcessFailed when the node replies with an error of its own, UnreachableError when it does not run.
    """
    begin = time.monotonic()
    outcomes: list[dict[str, Any]] = []
    with ControlClient(socket) as client:
        for reply in client.ask(request):
            if reply["type"] == "outcome":
                outcomes.append(reply)
                on_outcome(reply)
    seconds = time.monotonic() - begin
    if reply["type"] == "refused":
        none = _not_asked(names, len(request["identifiers"]), reply["reason"])
        return Answered(none, f"{reply['reason']} ({reply['rule']})", None, seconds)
    if reply["type"] != "receipt":
        raise ProcessFailed(f"{requester}: {reply}")
    return Answered(tuple(outcomes), None, reply["receipt"], seconds)


def _not_asked(names: Mapping[str, str], persons: int, reason: str) -> tuple[dict[str, Any], ...]:
    """A refusal as a whole, per partner: nobody was asked."""
    return tuple(
        {
            "person": person,
            "oin": oin,
            "name": name,
            "outcome": "niet_bevraagd",
            "as_of": None,
            "reason": reason,
        }
        for oin, name in names.items()
        for person in range(persons)
    )
