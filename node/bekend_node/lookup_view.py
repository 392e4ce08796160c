"""How outcomes look to an officer: a table that fills as answers come, or plain lines where there is no screen.

Never colour alone: every outcome has its own sign and word, and `geen antwoord` looks like no other (it says nothing
about the person).
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from bekend_proto.clock import AMSTERDAM
from bekend_proto.identifiers import POSSIBLE_KINDS
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bekend_node.ask.hint import next_step

PROVES_NOTHING: Final = "'Geen uitsluitsel' bewijst niets: de persoon kan bij die partner toch bekend zijn."
NOT_A_MISS: Final = "'Geen antwoord' is geen 'geen uitsluitsel': vraag het later opnieuw."

NOT_CERTAIN: Final = "'Mogelijk bekend' is niet zeker: het kan een ander zijn. Stel eerst vast om wie het gaat."

_LOOKS: Final = {
    "bekend": ("●", "*", "bekend", "bold green"),
    "mogelijk_bekend": ("◐", "?", "mogelijk bekend", "bold cyan"),
    "geen_uitsluitsel": ("○", "o", "geen uitsluitsel", "default"),
    "geen_antwoord": ("✕", "x", "geen antwoord", "bold yellow"),
    "niet_bevraagd": ("–", "-", "niet bevraagd", "dim"),
    "in_behandeling": ("…", "...", "in behandeling", "bold"),
}


def show(outcomes: Iterable[dict[str, Any]], persons: int) -> None:
    """Show outcomes on stdout as they come, and what they do not prove at the end."""
    console = Console(highlight=False)
    seen = _live(console, outcomes, persons) if console.is_terminal else _plain(outcomes, persons)
    if seen:
        print_notes(console, seen)


def word(outcome: str) -> str:
    """Sign and word of an outcome; the sign in ASCII where the screen knows no other."""
    sign, plain, text, _ = _LOOKS[outcome]
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        sign = plain
    return f"{sign} {text}"


def print_notes(console: Console, seen: list[dict[str, Any]]) -> None:
    """Who answered, and what the outcomes do not prove (FG-27)."""
    asked = {one["oin"] for one in seen if one["outcome"] != "niet_bevraagd"}
    silent = {one["oin"] for one in seen if one["outcome"] == "geen_antwoord"}
    waiting = {one["oin"] for one in seen if one["outcome"] == "in_behandeling"}
    console.print(f"{len(asked - silent - waiting)} van {len(asked)} gevraagde partners hebben geantwoord.")
    if waiting:
        console.print(f"Van {len(waiting)} komt het antwoord later. Kijk met: bekend antwoorden.")
    kinds = {one["outcome"] for one in seen}
    if "mogelijk_bekend" in kinds:
        console.print(NOT_CERTAIN)
    if "geen_uitsluitsel" in kinds:
        console.print(PROVES_NOTHING)
    if "geen_antwoord" in kinds:
        console.print(NOT_A_MISS)


def left_line(budget: dict[str, Any]) -> str:
    """What the officer may still ask today, as a sentence or two."""
    one, all_ = budget["purpose"], budget["all"]
    text = (
        f"U kunt vandaag nog naar {one['left']} van {one['limit']} personen vragen voor dit doel, "
        f"en naar {all_['left']} van {all_['limit']} voor al uw doelen samen."
    )
    if one["raised_until"]:
        until = datetime.fromisoformat(one["raised_until"]).astimezone(AMSTERDAM)
        text += f" Uw grens voor dit doel is verhoogd tot {until:%d-%m-%Y %H:%M}."
    return text


def when_lines(purpose: dict[str, Any], answers: dict[str, dict[str, str | None]], kind: str = "") -> Iterator[str]:
    """Before a person is named: which partner answers at once, and until when a colleague elsewhere may take.

    `kind`: by which is asked; a combination always goes to a colleague.
    """
    names = {one["oin"]: one["name"] for one in purpose["sources"]}
    if kind in POSSIBLE_KINDS:
        yield "Zonder nummer hoort u hoogstens 'mogelijk bekend': bij elke partner vergelijkt eerst een collega."
    for oin, one in answers.items():
        ends = one["possible_until"] if kind in POSSIBLE_KINDS else one["until"]
        if ends is None:
            at_once = "ander nummer nodig" if kind in POSSIBLE_KINDS else "antwoordt direct"
            yield f"{names[oin]}: {at_once}."
            continue
        until = datetime.fromisoformat(ends).astimezone(AMSTERDAM)
        hours = f" Bereikbaar: {one['opening_hours']}." if one["opening_hours"] else ""
        yield f"{names[oin]}: een collega beslist, uiterlijk {until:%d-%m-%Y %H:%M}.{hours}"


def print_standing(purpose: dict[str, Any], seen: list[dict[str, Any]]) -> None:
    """On what footing was answered: standing decisions, and grounds that no lawyer has tested yet."""
    console = Console(highlight=False, soft_wrap=True)
    by_decision = {one["oin"] for one in purpose["sources"] if one["mode"] == "standaardbesluit"}
    answers = [one for one in seen if one["outcome"] in {"bekend", "geen_uitsluitsel"} and one["oin"] in by_decision]
    if answers:
        names = ", ".join(dict.fromkeys(one["name"] for one in answers))
        console.print(f"Direct geantwoord volgens een eigen, getekend standaardbesluit: {names}.", markup=False)
    if purpose.get("trial_until"):
        until = purpose["trial_until"]
        console.print(f"De grondslag van dit doel is niet (geheel) getoetst: op proef tot en met {until}.")
        if purpose.get("open_question"):
            console.print(f"Open vraag: {purpose['open_question']}", markup=False)
    _print_informing(console, purpose)


def _print_informing(console: Console, purpose: dict[str, Any]) -> None:
    """When the person is told, and whether that may wait (AVG 13 and 14; FG-34)."""
    if purpose.get("informing"):
        console.print(f"De persoon informeren: {purpose['informing']}", markup=False)
    if found := purpose.get("deferral"):
        text = f"Uitstel kan ({found['ground']}), hoogstens {found['days']} dagen: bekend inzage uitstel."
        console.print(text, markup=False)


def print_hints(purpose: dict[str, Any], seen: list[dict[str, Any]], persons: int) -> None:
    """The next lawful step per person, as text, once something was answered; computed here and kept nowhere."""
    kinds = {one["oin"]: one["kind"] for one in purpose["sources"]}
    console = Console(highlight=False, soft_wrap=True)
    for person in range(persons):
        found = [(kinds[it["oin"]], it["outcome"]) for it in seen if it["person"] == person and it["oin"] in kinds]
        lines = next_step(purpose["frame"], found, purpose.get("route_map"))
        if lines:
            console.print(f"Persoon {person + 1}, volgende stap:" if persons > 1 else "Volgende stap:")
        for line in lines:
            console.print(f"  {line}", markup=False)


def _plain(outcomes: Iterable[dict[str, Any]], persons: int) -> list[dict[str, Any]]:
    seen = []
    for one in outcomes:
        seen.append(one)
        person = f"persoon {one['person'] + 1}: " if persons > 1 else ""
        line = f"{one['name']} ({one['oin']}): {person}{word(one['outcome'])}. {_remark(one)}".rstrip()
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return seen


def _live(console: Console, outcomes: Iterable[dict[str, Any]], persons: int) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    # Nothing else writes meanwhile, and a redirected stdout no longer knows its encoding.
    with Live(console=console, refresh_per_second=12, redirect_stdout=False, redirect_stderr=False) as live:
        for one in outcomes:
            seen.append(one)
            live.update(_table(seen, persons))
    return seen


def _table(seen: list[dict[str, Any]], persons: int) -> Table:
    table = Table(title="Welke partners kennen deze persoon?" if persons == 1 else "Welke partners kennen wie?")
    table.add_column("Partner")
    for person in range(persons):
        table.add_column("Uitkomst" if persons == 1 else f"Persoon {person + 1}", no_wrap=True)
    table.add_column("Toelichting")
    # Who was not asked is known first and matters least.
    ordered = sorted(seen, key=lambda one: one["outcome"] == "niet_bevraagd")
    for oin in dict.fromkeys(one["oin"] for one in ordered):
        rows = {one["person"]: one for one in seen if one["oin"] == oin}
        cells = [
            Text(word(rows[person]["outcome"]), style=_LOOKS[rows[person]["outcome"]][3])
            if person in rows
            else Text("")
            for person in range(persons)
        ]
        remarks = "\n".join(dict.fromkeys(_remark(one) for one in rows.values()))
        table.add_row(Text(next(iter(rows.values()))["name"]), *cells, Text(remarks))
    return table


def _remark(one: dict[str, Any]) -> str:
    desk = f" Contactpunt: {one['desk']}." if one.get("desk") else ""
    as_of = f" Lijst van {one['as_of']}." if one.get("as_of") else ""
    return f"{one['reason']}{desk}{as_of}"
