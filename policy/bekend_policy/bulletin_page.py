"""The joined bulletin as text, as CSV and as a page with plots. Dutch, B1: residents read it too."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from bekend_policy.bulletin import STEP, THRESHOLD, WITHOUT_NUMBER, Cell, Joint, Quarter, Topic
from bekend_policy.model import Covenant
from bekend_policy.pages import environment
from bekend_policy.wording import WIDTH, count, listed

TITLES = {
    Topic.ASKED: "Hoe vaak is gevraagd",
    Topic.REFUSED: "Welke regel hield vragen tegen",
    Topic.LATE: "Welke partner gaf geen antwoord",
    Topic.STALE: "Welke partner kon niet worden gevraagd",
    Topic.CHANGED: "Wanneer veranderde een besluit",
    Topic.UNCHANGED: "Wanneer bleef een besluit gelijk",
}
MEANINGS = {
    Topic.ASKED: "Bevragingen per doel. Eén bevraging kan naar meer partners gaan.",
    Topic.REFUSED: "Bevragingen waarin een regel van het convenant een bron of de hele vraag tegenhield.",
    Topic.LATE: "Vragen die wel weggingen, maar waarop geen antwoord kwam. Dit zegt niets over een persoon.",
    Topic.STALE: "Keren dat er niets wegging: de lijst was te oud of ontbrak, of er was geen verbinding.",
    Topic.CHANGED: "Zaken waarin een medewerker meldde: wat ik zag, veranderde mijn besluit.",
    Topic.UNCHANGED: "Zaken waarin een medewerker meldde: wat ik zag, veranderde mijn besluit niet.",
}
HOW = (
    f"Een aantal onder de {THRESHOLD} staat er niet in. Elk ander aantal is afgerond op {STEP}, per partner.",
    "Een totaal is de som van wat er staat. Wat is weggelaten, telt daarin niet mee.",
    "Er staat niets in over personen, medewerkers, wijken of antwoorden.",
)


@dataclass(frozen=True)
class Line:
    """One label of a table: its name, and a cell per quarter."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """One topic over all quarters. `largest`: the longest bar."""

    topic: Topic
    title: str
    meaning: str
    lines: tuple[Line, ...]
    totals: tuple[Cell, ...]
    largest: int


def tables(joint: Joint, covenant: Covenant) -> list[Table]:
    """The tables, in the words of this covenant."""
    return [_table(joint, covenant, topic) for topic in Topic]


def _table(joint: Joint, covenant: Covenant, topic: Topic) -> Table:
    lines = tuple(
        Line(name_of(covenant, topic, label), tuple(joint.cell(one, topic, label) for one in joint.quarters))
        for label in joint.labels(topic)
    )
    totals = tuple(joint.total(one, topic) for one in joint.quarters)
    largest = max((cell.count for line in lines for cell in line.cells), default=0)
    return Table(topic, TITLES[topic], MEANINGS[topic], lines, totals, largest)


def name_of(covenant: Covenant, topic: Topic, label: str) -> str:
    """A purpose's title, a partner's name or a rule's id."""
    if topic is Topic.REFUSED:
        return label
    if topic in {Topic.LATE, Topic.STALE}:
        return covenant.participants[label].name if label in covenant.participants else label
    purpose = label.removesuffix(WITHOUT_NUMBER)
    return covenant.purposes[purpose].title + label[len(purpose) :] if purpose in covenant.purposes else label


def said(cell: Cell) -> str:
    """A figure in words: about 45; withheld counts are not nought."""
    if not cell.count:
        return "weggelaten" if cell.withheld else "geen cijfer"
    return f"ongeveer {thousands(cell.count)}"


def apart(cell: Cell) -> str:
    """How many partners' counts are not in a figure."""
    return f"zonder {count(cell.withheld, 'partner', 'partners')}" if cell.withheld and cell.count else ""


def share(joint: Joint, quarter: Quarter) -> int | None:
    """The share of cases in which a decision changed, in percent rounded to 5; None when nothing stands there."""
    yes, no = (joint.total(quarter, topic) for topic in (Topic.CHANGED, Topic.UNCHANGED))
    told = yes.count + no.count
    return None if not told else round(20 * yes.count / told) * 5


def thousands(number: int) -> str:
    """1.043, as a Dutch reader writes it."""
    return f"{number:,}".replace(",", ".")


def bulletin_text(joint: Joint, covenant: Covenant) -> str:
    """The bulletin to read, also aloud: one line a figure."""
    return "\n".join(_text(joint, covenant)) + "\n"


def _text(joint: Joint, covenant: Covenant) -> Iterator[str]:
    yield f"Bulletin over het gebruik van bekend: {covenant.name}"
    yield "=" * WIDTH
    yield from HOW
    for number, quarter in enumerate(joint.quarters):
        yield ""
        yield f"Kwartaal {quarter}: cijfers van {_of_partners(joint, covenant, quarter)}"
        for one in tables(joint, covenant):
            yield ""
            yield one.title
            yield one.meaning
            yield from (f"  {line.name}: {_told(line.cells[number])}" for line in one.lines)
            yield f"  Samen, van wat hier staat: {said(one.totals[number])}"
        found = share(joint, quarter)
        yield ""
        yield (
            "Over het gevolg is te weinig gemeld voor een cijfer."
            if found is None
            else f"In ongeveer {found} procent van de zaken waarover is gemeld, veranderde een besluit."
        )


def _told(cell: Cell) -> str:
    return f"{said(cell)}, {apart(cell)}" if apart(cell) else said(cell)


def _of_partners(joint: Joint, covenant: Covenant, quarter: Quarter) -> str:
    names = [covenant.participants[oin].name for oin in joint.partners[quarter] if oin in covenant.participants]
    return listed(sorted(names)) if names else count(len(joint.partners[quarter]), "partner", "partners")


def bulletin_csv(joint: Joint, covenant: Covenant) -> str:
    """One line a figure; a field without a number is withheld."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\n")
    writer.writerow(["kwartaal", "tabel", "kenmerk", "naam", "ongeveer", "partners_weggelaten"])
    for quarter in joint.quarters:
        for topic in Topic:
            for label in joint.labels(topic):
                cell = joint.cell(quarter, topic, label)
                figure = cell.count or ("" if cell.withheld else 0)
                name = name_of(covenant, topic, label)
                writer.writerow([quarter, topic.value, label, name, figure, cell.withheld])
    return out.getvalue()


def bulletin_page(joint: Joint, covenant: Covenant) -> str:
    """The bulletin as one page."""
    found = tables(joint, covenant)
    made = environment(covenant)
    made.globals.update(said=said, apart=apart, share=share, thousands=thousands)
    return made.get_template("bulletin.html.j2").render(
        covenant=covenant,
        joint=joint,
        how=HOW,
        tables=found,
        asked=found[0].totals,
        partners={one: _of_partners(joint, covenant, one) for one in joint.quarters},
    )
