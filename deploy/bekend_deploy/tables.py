"""What the demo prints for people: outcomes per question, who holds what, and how to ask by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bekend_deploy.answered import Answered
from bekend_deploy.federation import Federation
from bekend_deploy.holdings import PSEUDONYMS, TAGS, Holding
from bekend_deploy.partners import HAARLEM, OM, VELSEN, ZSM_CONTEXT, ZSM_LOCAL
from bekend_deploy.questions import CASES, CONDITIONS, INCONCLUSIVE, KNOWN, NO_ANSWER, NOT_ASKED, PENDING, Question
from bekend_deploy.release_run import Played

_LOOKS = {
    KNOWN: "[bold green]● bekend[/]",
    INCONCLUSIVE: "[blue]○ geen uitsluitsel[/]",
    NO_ANSWER: "[bold yellow]⚠ geen antwoord[/]",
    NOT_ASKED: "[dim]– niet bevraagd[/]",
    PENDING: "[magenta]◔ in behandeling[/]",
}
"""Colour, sign and words: never colour alone."""
_SHORT = {
    KNOWN: "[bold green]● bekend[/]",
    INCONCLUSIVE: "[blue]○ geen u.[/]",
    NO_ANSWER: "[bold yellow]⚠ geen a.[/]",
    NOT_ASKED: "[dim]– niet b.[/]",
    PENDING: "[magenta]◔ in beh.[/]",
}
"""The same, where several people stand side by side."""


_TOLD = {
    PSEUDONYMS: PSEUDONYMS,
    TAGS: TAGS,
    "log": "log entries",
    "sealed": "sealed records",
    "own_record": "own records, sealed",
}
"""Kinds of row that the table names; `--json` has every table."""


def print_question(out: Console, federation: Federation, number: int, question: Question, answer: Answered) -> None:
    """The table partner x outcome of one question, each outcome compared with the truth, and the reasons."""
    asker = question.requester.name + (f" namens {question.on_behalf_of.name}" if question.on_behalf_of else "")
    people = "1 person" if len(question.persons) == 1 else f"{len(question.persons)} people"
    out.print(f"[bold]{number}. {question.title}[/]\n   [dim]{question.purpose}; {escape(asker)}; {people}[/]")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("partner")
    for index in range(len(question.persons)):
        table.add_column("outcome" if len(question.persons) == 1 else f"person {index + 1}", no_wrap=True)
    table.add_column("list of", no_wrap=True)
    table.add_column("true?", no_wrap=True)
    expected = federation.truth.expected(question)
    reasons: dict[str, set[int]] = {}
    for place, oin in enumerate(federation.truth.sources(question.requester), 1):
        rows = sorted((one for one in answer.outcomes if one["oin"] == oin), key=lambda one: int(one["person"]))
        right = bool(rows) and all(one["outcome"] == expected[int(one["person"]), oin] for one in rows)
        for one in rows:
            reasons.setdefault(_reason(one), set()).add(place)
        table.add_row(
            f"{place} {escape(_short(federation.name_of(oin)))}",
            *(_looks(one, several=len(rows) > 1) for one in rows),
            str(rows[0]["as_of"] or "") if rows else "",
            "[green]✓[/]" if right else "[bold red]✗ wrong[/]",
        )
    out.print(table)
    if answer.refused:
        out.print(f"[bold]Geweigerd:[/] {escape(answer.refused)}")
    else:
        for reason, places in reasons.items():
            out.print(f"[dim]{', '.join(map(str, sorted(places)))}: {escape(reason)}[/]")
    out.print(f"[dim]{answer.seconds * 1000:.0f} ms[/]\n")


def print_release(out: Console, federation: Federation, number: int, one: Played) -> None:
    """The table partner x person of one lookup with partners where colleagues decide: told first, and in the end."""
    question, truth = one.by_hand.question, federation.truth
    ending = "; consent withdrawn after `bekend`" if one.by_hand.withdrawn else ""
    out.print(f"[bold]{number}. {question.title}[/]\n   [dim]{question.purpose}; {escape(question.requester.name)}[/]")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("partner", "colleague", "first", "in the end", "true?"):
        table.add_column(name, no_wrap=name != "partner")
    first, later = one.first(), one.in_the_end()
    expected = {**one.by_hand.first(truth), **one.by_hand.later(truth)}
    for (person, oin), told in sorted(first.items(), key=lambda item: (item[0][1], item[0][0])):
        if told == NOT_ASKED and oin not in one.by_hand.acts:
            continue
        right = later.get((person, oin), told) == expected[person, oin]
        act = one.by_hand.acts.get(oin)
        table.add_row(
            escape(_short(federation.name_of(oin))) + (f" {person + 1}" if len(question.persons) > 1 else ""),
            "" if act is None else "gone" if oin == one.by_hand.stops else str(act),
            _SHORT[told],
            _SHORT[later[person, oin]] if (person, oin) in later else "",
            "[green]✓[/]" if right else "[bold red]✗ wrong[/]",
        )
    out.print(table)
    out.print(f"[dim]{one.answered.seconds * 1000:.0f} ms{ending}[/]\n")


def _short(name: str) -> str:
    """A partner's name without the mark that every partner of the demo carries."""
    return name.removesuffix(" (demo)")


def _reason(outcome: Mapping[str, object]) -> str:
    """The reason without the partner's name, so that partners with the same reason share a line."""
    reason, name = str(outcome["reason"]), str(outcome["name"])
    return reason.replace(name, "Deze partner" if reason.startswith(name) else "deze partner")


def _looks(outcome: Mapping[str, object], *, several: bool) -> str:
    kind = str(outcome["outcome"])
    return _SHORT[kind] if several else _LOOKS[kind]


def print_holdings(out: Console, holdings: Sequence[Holding]) -> None:
    """Who holds what now, as read back from disk and memory."""
    table = Table(title="Who holds what now", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("process")
    table.add_column("rows", ratio=1)
    for name in ("disk", "memory", "keys", "numbers"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in holdings:
        told = {name: one.rows[name] for name in _TOLD if one.rows.get(name)}
        other = sum(one.rows.values()) - sum(told.values())
        table.add_row(
            escape(_short(one.process)),
            ", ".join([*(f"{count:,} {_TOLD[name]}" for name, count in told.items()), f"{other} other"]),
            _size(one.disk_bytes),
            _size(one.resident_bytes) if one.pid else "stopped",
            str(len(one.keys)),
            "[green]0[/]" if not one.numbers_found else f"[bold red]{one.numbers_found}[/]",
        )
    out.print(table)
    out.print(
        "[dim]numbers: people whose number stands in any file of the process, the partner's own lists left out[/]"
    )


def print_summary(out: Console, timings: Mapping[str, float], *, correct: bool, kept: Path | None) -> None:
    """One line at the end."""
    took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
    verdict = "[bold green]Every outcome was right.[/]" if correct else "[bold red]Something differs from the truth.[/]"
    out.print(f"\n{verdict} [dim]{took}[/]")
    if kept:
        out.print(f"Everything is left in {escape(str(kept))}")


def print_how_to_ask(out: Console, federation: Federation) -> None:
    """Copy-paste commands, and one person for each outcome."""
    fixed = federation.population.fixed
    out.print("\n[bold]It stays up. One person per outcome:[/]\n")
    for person, purpose, partner, kind in (
        (fixed.everywhere, ZSM_LOCAL, _short(HAARLEM.name), KNOWN),
        (fixed.nowhere, ZSM_LOCAL, _short(HAARLEM.name), INCONCLUSIVE),
        (fixed.everywhere, ZSM_LOCAL, f"{_short(VELSEN.name)} (stopped)", NO_ANSWER),
        (fixed.everywhere, ZSM_CONTEXT, _short(HAARLEM.name), NOT_ASKED),
    ):
        out.print(f"  {person}  {purpose:<24} {partner:<26} {_LOOKS[kind]}", soft_wrap=True, highlight=False)
    pages = federation.built.nodes[OM.oin].pages
    if pages is not None:
        out.print(f"\nAsk as the OM in a browser: http://127.0.0.1:{pages}/\n", soft_wrap=True, highlight=False)
    out.print("\nOr on the command line. The command asks for the number: it never belongs on the command line.\n")
    for purpose in (ZSM_LOCAL, ZSM_CONTEXT):
        sources = " ".join(f"--partner {oin}" for oin in federation.truth.chosen(OM, purpose))
        confirmed = " ".join(f"--bevestig {name}" for name in CONDITIONS[purpose])
        out.print(
            f"{federation.command} lookup --config {federation.config_of(OM.oin)} --doel {purpose} "
            f"--soort {federation.population.kind} --zaak {CASES[purpose]} {confirmed} {sources}\n",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    velsen = federation.config_of(VELSEN.oin)
    out.print("Start the partner that was stopped, in another terminal:\n")
    out.print(f"{federation.command} node serve --config {velsen}\n", soft_wrap=True, highlight=False, markup=False)
    out.print("Ctrl-C stops everything.")


def _size(count: int) -> str:
    return f"{count / 1_000_000:,.1f} MB" if count >= 1_000_000 else f"{count / 1_000:,.0f} kB"
