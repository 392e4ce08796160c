"""What the loss of a key or a file exposes: how it is said, and the rule behind it (FG-48, protocol section 2).

To find out from data at rest whether a person is in a node's set, one needs all three of the node's database, the
node's key, and the broker's key for that node. So one loss exposes nobody's name; what it does expose, and to what it
brings a thief nearer, is counted here from the logs. Dutch, for the privacy officer who has 72 hours (AVG 33).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bekend_proto.clock import AMSTERDAM

from bekend_policy.log_use import Days

NOTIFY: Final = timedelta(hours=72)
"""AVG 33(1)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is exposed, or was brought nearer: about which partners, and how many questions and persons.

    `persons` counts per question: who was asked about twice counts twice; nobody here knows better.
    """

    what: str
    partners: tuple[str, ...] = ()
    questions: int = 0
    persons: int = 0


@dataclass(frozen=True, slots=True)
class Safe:
    """Something that is not exposed, and why."""

    what: str
    why: str


@dataclass
class Exposure:
    """What a loss means. `lost`: names of what was lost; all else in Dutch."""

    oin: str
    lost: tuple[str, ...]
    days: Days
    found: datetime
    exposed: list[Finding] = field(default_factory=list)
    nearer: list[Finding] = field(default_factory=list)
    safe: list[Safe] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    @property
    def notify_by(self) -> datetime:
        """When the AP must know of it at the latest, where it must know."""
        return self.found + NOTIFY

    @property
    def partners(self) -> tuple[str, ...]:
        """Every partner about which something is exposed."""
        return tuple(sorted({oin for one in self.exposed for oin in one.partners}))

    def add_steps(self, steps: Iterable[str]) -> None:
        """Steps in their order, each once."""
        self.steps += [step for step in steps if step not in self.steps]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "oin": self.oin,
            "lost": list(self.lost),
            "from": self.days.first.isoformat(),
            "to": self.days.last.isoformat(),
            "notify_by": self.notify_by.isoformat(timespec="seconds"),
            "partners": list(self.partners),
            "exposed": [asdict(one) for one in self.exposed],
            "nearer": [asdict(one) for one in self.nearer],
            "not_exposed": [asdict(one) for one in self.safe],
            "steps": self.steps,
        }

    def lines(self, names: dict[str, str]) -> Iterator[str]:
        """For the privacy officer. `names` of the partners by OIN."""
        by = self.notify_by.astimezone(AMSTERDAM)
        yield f"Verlies van: {', '.join(self.lost)}."
        yield f"Over {self.days.first:%d-%m-%Y} tot en met {self.days.last:%d-%m-%Y}."
        yield ""
        yield "Dit ligt open:"
        yield from _listed(self.exposed, names)
        yield ""
        yield "Dit ligt niet open, maar een dief heeft er nu een deel van:"
        yield from _listed(self.nearer, names)
        yield ""
        yield "Dit ligt niet open:"
        yield from (f"  - {one.what}: {one.why}" for one in self.safe)
        yield ""
        yield f"Doe nu (melding bij de AP, als die moet, uiterlijk {by:%d-%m-%Y %H:%M}):"
        yield from (f"  {number}. {step}" for number, step in enumerate(self.steps, start=1))


NOTIFY_STEP: Final = (
    "Beoordeel met de FG of dit binnen 72 uur gemeld moet worden bij de AP (AVG 33), en of betrokkenen het moeten "
    "horen (AVG 34). Bewaar deze lijst bij het dossier."
)
SUSPEND_STEP: Final = (
    "Zet uw knooppunt stil zolang het niet zeker is: laat de ondertekenaar een stilzetting tekenen "
    "(bekend policy sign), en zet haar in werking met bekend node suspend."
)
RECONCILE_STEP: Final = (
    "Vergelijk uw log met dat van de makelaar en van de partners (bekend log reconcile): een vraag die u niet kent, "
    "is in uw naam gesteld."
)
NOTHING: Final = "  - niets"


def _listed(findings: Sequence[Finding], names: dict[str, str]) -> Iterator[str]:
    if not findings:
        yield NOTHING
    for one in findings:
        counts = [f"{one.questions} vragen"] if one.questions else []
        counts += [f"{one.persons} personen (per vraag geteld)"] if one.persons else []
        counts += [f"partners: {', '.join(names.get(it, it) for it in one.partners)}"] if one.partners else []
        yield f"  - {one.what}" + (f" ({'; '.join(counts)})" if counts else "")
