"""What `bekend node enrol` says of an import and of a dry run: counts and reasons, never anything of a person."""

from collections.abc import Iterator, Mapping

from bekend_node.enrol.dry_run import DryRun
from bekend_node.enrol.plan import LeftOut, Report

WHY_LEFT_OUT: Mapping[LeftOut, str] = {
    LeftOut.ENDED: "the registration has ended",
    LeftOut.MARKED: "the person is marked as shielded",
    LeftOut.NO_LABEL: "the row names no ground, and the covenant asks for one",
    LeftOut.OTHER_LABEL: "the covenant does not let this node load persons with this label",
    LeftOut.INCOMPLETE: "the data do not make a combination",
    LeftOut.OTHER_KIND: "no number of a kind that the covenant admits here",
}


def facts_of(register: str, report: Report) -> dict[str, object]:
    """What was read, in words for a machine; never anything of a person."""
    return {
        "register": register,
        "rows": report.rows,
        "persons": report.persons,
        "merged": report.merged,
        "refused": report.refused,
        **_counted(report),
        "refusals": [{"line": one.line, "reason": one.reason} for one in report.lines],
    }


def dry_facts(done: DryRun) -> dict[str, object]:
    """A dry run for a machine."""
    return {
        **facts_of(done.register, done.found.whole),
        "dry_run": True,
        "stopped": done.stopped or None,
        "counts": [
            {"purpose": purpose, "mode": done.modes[purpose, kind], "kind": kind, "numbers": count}
            for (purpose, kind), count in done.found.counts.items()
        ],
        "purposes": {purpose: _counted(report) for purpose, report in done.reports.items()},
    }


def _counted(report: Report) -> dict[str, object]:
    return {
        "numbers": dict(sorted(report.numbers.items())),
        "left_out": {str(why): report.left_out[why] for why in LeftOut},
        "lacking": [
            {"kind": kind, "reason": reason, "rows": rows} for (kind, reason), rows in report.lacking.most_common()
        ],
    }


def lines_of(register: str, report: Report) -> Iterator[str]:
    """What was read, for people."""
    yield f"{register}: {report.rows} rows read, {report.persons} persons enrolled"
    yield from _why_lines(report)
    yield "In service from the next switch (the first one of a quarter: at once)."


def dry_lines(done: DryRun) -> Iterator[str]:
    """A dry run for people: a table, and why rows are left out of each purpose."""
    whole = done.found.whole
    yield f"DRY RUN of {done.register}: {whole.rows} rows read; nothing was sent, nothing was written"
    rows = [("purpose", "mode", "kind", "numbers")]
    rows += [
        (purpose, done.modes[purpose, kind], kind, str(count)) for (purpose, kind), count in done.found.counts.items()
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for *words, count in rows:
        yield "  ".join(("", *map(str.ljust, words, widths), count.rjust(9)))
    for purpose, report in done.reports.items():
        if lines := list(_left_out_lines(report)):
            yield f"{purpose}:"
            yield from lines
    yield from _refused_lines(whole)
    yield f"An import would STOP: {done.stopped}" if done.stopped else "No guard would stop this import."


def _why_lines(report: Report) -> Iterator[str]:
    if report.merged:
        yield f"  {report.merged} rows merged: the same person more than once"
    if len(report.numbers) > 1:
        yield "  by " + ", ".join(f"{kind}: {count}" for kind, count in sorted(report.numbers.items()))
    yield from _left_out_lines(report)
    yield from _refused_lines(report)


def _left_out_lines(report: Report) -> Iterator[str]:
    for why, count in report.left_out.most_common():
        if count:
            yield f"  {count} rows left out: {WHY_LEFT_OUT[why]}"
    for (kind, reason), count in report.lacking.most_common():
        yield f"  {count} rows without {kind}: {reason}"


def _refused_lines(report: Report) -> Iterator[str]:
    for reason, count in report.reasons.most_common():
        yield f"  {count} rows refused: {reason}"
    for one in report.lines:
        yield f"    line {one.line}: {one.reason}"
