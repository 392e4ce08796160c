"""The partners and the agreements of the demo federation: seven organisations, three purposes, twelve questions to ask;
with release five purposes more, where colleagues decide.

This table says who is asked what, through which registers and how, and so what every outcome must be. The covenant
that the federation runs under is written from it (covenant.py); none of the federation's own code is used here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bekend_proto.shape import MAX_SOURCES

from bekend_deploy.population import Clients

BROKER_OIN = "00000099000000900000"
"""The operator of the federation, who runs the broker."""

COVENANT = "demo"
ZSM_CONTEXT = "demo/zsm-context"
ZSM_LOCAL = "demo/zsm-lokale-context"
ZVH_WEIGHING = "demo/zvh-weging-betrokkenheid"
SOCIAL = "demo/sociaal-domein-betrokkenheid"
VT_TRIAGE = "demo/vt-triage"
CONFUSED = "demo/verward-gedrag"
RADICAL = "demo/radicalisering-casusoverleg"
ZSM_CONSENT = "demo/zsm-lokale-context-toestemming"


def demo_oin(number: int) -> str:
    """A test OIN (prefix 00000099, free for trials)."""
    return f"00000099{number:09d}000"


@dataclass(frozen=True)
class Partner:
    """One organisation of the demo. `kind` is its `soort` in the covenant, `slug` the name of its folder."""

    oin: str
    name: str
    kind: str
    slug: str
    registers: tuple[str, ...]

    @property
    def clients(self) -> Clients:
        """What the generator of people needs to know."""
        return Clients(self.oin, self.registers)


@dataclass(frozen=True)
class Pair:
    """How one partner answers under one purpose: the covenant's `modus`, and the registers that count."""

    purpose: str
    oin: str
    mode: str
    registers: tuple[str, ...] = ()

    @property
    def answers(self) -> bool:
        """Whether the partner answers by machine."""
        return self.mode in {"automatisch", "standaardbesluit"}

    @property
    def by_hand(self) -> bool:
        """Whether a colleague at the partner decides about each question."""
        return self.mode in {"handmatig", "toestemming"}


_MUNICIPAL = ("veiligheid", "nazorg", "leerplicht", "wmo")

OM = Partner(demo_oin(1), "OM/ZSM Noord-Holland (demo)", "om", "om-zsm", ("zaken",))
POLITIE = Partner(demo_oin(2), "Politie Noord-Holland (demo)", "politie", "politie", ("politiegegevens-8-13",))
RECLASSERING = Partner(demo_oin(3), "Reclassering (demo)", "reclassering", "reclassering", ("clienten",))
HAARLEM = Partner(demo_oin(4), "Gemeente Haarlem (demo)", "college_bw", "haarlem", _MUNICIPAL)
VELSEN = Partner(demo_oin(5), "Gemeente Velsen (demo)", "college_bw", "velsen", _MUNICIPAL)
VEILIG_THUIS = Partner(demo_oin(6), "Veilig Thuis Kennemerland (demo)", "veilig_thuis", "veilig-thuis", ("dossiers",))
ZVH = Partner(demo_oin(7), "Zorg- en Veiligheidshuis Kennemerland (demo)", "zvh", "zvh", ("casussen",))

SEVEN = (OM, POLITIE, RECLASSERING, HAARLEM, VELSEN, VEILIG_THUIS, ZVH)


def partners(count: int) -> tuple[Partner, ...]:
    """The seven, and more municipalities past them. Raises ValueError below seven, and for too many."""
    most = len(SEVEN) + MAX_SOURCES
    if not len(SEVEN) <= count <= most:
        raise ValueError(f"A federation of this kind takes {len(SEVEN)} to {most} partners.")
    more = (
        Partner(demo_oin(number), f"Demogemeente {number} (demo)", "college_bw", f"gemeente-{number}", _MUNICIPAL)
        for number in range(len(SEVEN) + 1, count + 1)
    )
    return (*SEVEN, *more)


def agreements(members: Sequence[Partner], *, with_release: bool = False) -> tuple[Pair, ...]:
    """Every purpose and source of the demo covenant: twelve for the seven, two more for each further municipality.

    With release also those of the purposes where colleagues decide.
    """
    municipalities = [member for member in members if member.kind == "college_bw"]
    return (
        Pair(ZSM_CONTEXT, POLITIE.oin, "automatisch", POLITIE.registers),
        Pair(ZSM_CONTEXT, RECLASSERING.oin, "standaardbesluit", RECLASSERING.registers),
        Pair(ZSM_CONTEXT, VEILIG_THUIS.oin, "handmatig", VEILIG_THUIS.registers),
        Pair(ZSM_CONTEXT, ZVH.oin, "handmatig", ZVH.registers),
        *(
            Pair(ZSM_LOCAL, one.oin, "standaardbesluit", ("veiligheid", "nazorg", "leerplicht"))
            for one in municipalities
        ),
        Pair(ZVH_WEIGHING, OM.oin, "standaardbesluit", OM.registers),
        Pair(ZVH_WEIGHING, RECLASSERING.oin, "standaardbesluit", RECLASSERING.registers),
        *(Pair(ZVH_WEIGHING, one.oin, "standaardbesluit", ("veiligheid", "nazorg", "wmo")) for one in municipalities),
        Pair(ZVH_WEIGHING, POLITIE.oin, "handmatig", POLITIE.registers),
        Pair(ZVH_WEIGHING, VEILIG_THUIS.oin, "handmatig", VEILIG_THUIS.registers),
        *(_by_hand(municipalities) if with_release else ()),
    )


def _by_hand(municipalities: Sequence[Partner]) -> Iterator[Pair]:
    yield Pair(SOCIAL, VEILIG_THUIS.oin, "handmatig", VEILIG_THUIS.registers)
    for one in (POLITIE, RECLASSERING, ZVH):
        yield Pair(VT_TRIAGE, one.oin, "handmatig", one.registers)
    yield Pair(CONFUSED, POLITIE.oin, "handmatig", POLITIE.registers)
    for one in (POLITIE, RECLASSERING):
        yield Pair(RADICAL, one.oin, "handmatig", one.registers)
    for one in municipalities:
        yield Pair(SOCIAL, one.oin, "toestemming", ("wmo",))
        yield Pair(RADICAL, one.oin, "handmatig", ("veiligheid",))
        yield Pair(ZSM_CONSENT, one.oin, "toestemming", ("wmo",))


def served(pairs: Iterable[Pair], oin: str) -> dict[str, tuple[str, ...]]:
    """Purposes for which a partner is a source, by machine or by hand, with their registers."""
    return {pair.purpose: pair.registers for pair in pairs if pair.oin == oin}


def registers_in_use(pairs: Iterable[Pair], oin: str) -> tuple[str, ...]:
    """Registers that a partner has to enrol, in a fixed order."""
    return tuple(sorted({register for registers in served(pairs, oin).values() for register in registers}))


def by_oin(members: Iterable[Partner]) -> Mapping[str, Partner]:
    """Partners by their OIN."""
    return {member.oin: member for member in members}
