"""Two officers at one node under a covenant that asks four eyes, and one who is the first again in disguise."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from bekend_node.ask.asker import Asker
from bekend_node.ask.four_eyes import AtScreen
from bekend_node.ask.rules import Inquiry
from bekend_node.ask.signals import Signals
from bekend_node.config import LogReader, Officer, SignalTerms
from bekend_node.signal_reading import SignalReading
from bekend_node.store_colleagues import Colleagues
from bekend_node.store_decisions import Decisions
from bekend_node.store_signals import Signal, SignalStore
from bekend_proto.clock import day_of

from tests.support.asking import CANARY, DIRECTOR, PERSON, Stage, weighing
from tests.support.covenants import HAARLEM, edit

ROLE = DIRECTOR.role
FIRST = AtScreen(DIRECTOR.user, (DIRECTOR.name,), (ROLE,), "first")
SECOND = AtScreen("smit", ("B. Smit",), (ROLE,), "second")
WHY = "Iemand loopt nu gevaar en er is geen collega"
NOT = "Dit hoort niet onder dit doel"
KEY = b"c" * 32
PRIVACY = Officer(user="prins", name="P. Prins", role="privacy-officer")


def four_eyes(folder: Path) -> None:
    """The weighing needs a second officer, and no less at once."""
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", r"vier_ogen: nee", "vier_ogen: ja")


def with_emergency(folder: Path) -> None:
    """The same, but in an emergency."""
    text = 'vier_ogen: ja\nnoodgreep: "Alleen bij acuut gevaar, als niemand anders bereikbaar is."'
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", r"vier_ogen: nee", text)


def emergency_alone(folder: Path) -> None:
    """No second officer by the purpose, an emergency all the same: for who is on the own list."""
    text = 'vier_ogen: nee\nnoodgreep: "Alleen bij acuut gevaar."'
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", r"vier_ogen: nee", text)


class EyesStage(Stage):
    """A stage whose node keeps signals and a list of own colleagues."""

    key: bytes | None = KEY

    def make_asker(self) -> Asker:
        self.kept = SignalStore(self.store.database, b"k" * 32, self.state)
        self.colleagues = Colleagues(self.store.database, lambda: self.key)
        self.signals = Signals(self.kept, SignalTerms(), self.clock)
        return Asker(
            self.asking,
            self.lines,
            [CANARY],
            self.clock,
            self.something_came,
            signals=self.signals,
            listed=self.colleagues.include,
        )

    @property
    def reading(self) -> SignalReading:
        readers = [LogReader(user=PRIVACY.user, name=PRIVACY.name)]
        decisions = Decisions(self.store.database)
        return SignalReading(self.kept, decisions, lambda: self.covenant, readers=readers, clock=self.clock)

    async def noticed(self) -> list[Signal]:
        await self.signals.settle()
        today = day_of(self.clock.now())
        return self.kept.between(today - timedelta(days=30), today + timedelta(days=1))

    @property
    def asked(self) -> int:
        """How many lookups left the node."""
        return len(self.line.begins)


def staged(folder: Path, change: Callable[[Path], object] = with_emergency) -> EyesStage:
    return EyesStage(folder, change)


def question(*sources: str) -> Inquiry:
    return weighing(sources or (HAARLEM,), (PERSON,))
