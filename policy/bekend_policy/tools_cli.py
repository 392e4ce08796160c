"""`bekend policy show, matrix, diff, simulate, explain, test, report, schema`: lezen en uitproberen."""

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_proto.clock import SystemClock

from bekend_policy.decide import Asked, Decision
from bekend_policy.diff import compare, diff_lines, route_sentences
from bekend_policy.explain import explain_draft, explain_lines
from bekend_policy.load import load_covenant
from bekend_policy.matrix import matrix_csv, matrix_facts, matrix_lines
from bekend_policy.model import Covenant
from bekend_policy.routes import POSSIBLE, Route, day_within, noon
from bekend_policy.schemas import write_schemas
from bekend_policy.show import purpose_facts, show_covenant, show_purpose
from bekend_policy.signatures import signatures
from bekend_policy.simulate import read_questions, simulate, simulation_lines
from bekend_policy.terminal import FAULT, OK, AsJson, faults_shown, must_be_oins, must_exist, say, wrong_use
from bekend_policy.trial import by_table, read_tables, run_tables, trial_lines
from bekend_policy.words import IdentifierKind, class_of_kind

app = typer.Typer()

Folder = Annotated[Path, typer.Argument(metavar="MAP", help="Map van een convenant.")]
OnDay = Annotated[
    str | None,
    typer.Option("--op", help="Dag waarop wordt beslist (jjjj-mm-dd); anders vandaag, binnen de geldigheid."),
]


@app.command()
def show(
    folder: Folder,
    purpose: Annotated[str | None, typer.Option("--doel", help="Eén doel; anders alles.")] = None,
    as_json: AsJson = False,
) -> None:
    """Toon een convenant, of één doel, zoals een mens het leest."""
    with faults_shown(as_json):
        covenant = _load(folder)
        wanted = [covenant.purposes[_purpose(covenant, purpose)]] if purpose else list(covenant.purposes.values())
        lines = [] if purpose else [*show_covenant(covenant)]
        for one in wanted:
            lines += [*([""] if lines else []), *(["=" * 80] if not purpose else []), *show_purpose(covenant, one)]
        say(as_json, {**_version(covenant), "purposes": [purpose_facts(covenant, it) for it in wanted]}, *lines)


@app.command()
def matrix(
    folder: Folder,
    html: Annotated[Path | None, typer.Option("--html", help="Schrijf een pagina om te lezen of te printen.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Schrijf een tabel: één regel per combinatie.")] = None,
    on_day: OnDay = None,
    as_json: AsJson = False,
) -> None:
    """Wie mag wie wat vragen, en hoe antwoordt die? Alsof iedereen heeft getekend."""
    with faults_shown(as_json):
        covenant = _load(folder)
        day = _day(covenant, on_day)
        written = []
        if html is not None:
            from bekend_policy.report import matrix_page  # noqa: PLC0415 - templates are for pages alone

            html.write_text(matrix_page(covenant, day), "utf-8")
            written.append(html)
        if csv is not None:
            csv.write_text(matrix_csv(covenant, day), "utf-8", newline="")
            written.append(csv)
        facts = {**_version(covenant), "day": day.isoformat(), "files": [str(path) for path in written]}
        if as_json and not written:
            facts["routes"] = matrix_facts(covenant, day)
        lines = [f"Geschreven: {path}" for path in written] or list(matrix_lines(covenant, day))
        say(as_json, facts, *lines)


@app.command()
def diff(
    old_folder: Annotated[Path, typer.Argument(metavar="OUD", help="Map van de oude versie.")],
    new_folder: Annotated[Path, typer.Argument(metavar="NIEUW", help="Map van de nieuwe versie.")],
    on_day: OnDay = None,
    as_json: AsJson = False,
) -> None:
    """Wat verandert een nieuwe versie? In zinnen, en voor elke combinatie van vrager, bron en doel."""
    with faults_shown(as_json):
        old, new = _load(old_folder), _load(new_folder)
        found = compare(old, new, _day(new, on_day))
        facts = {
            "from": _version(old),
            "to": _version(new),
            "changes": [asdict(change) for change in found.changes],
            "sentences": list(route_sentences(old, new, found.routes)),
            "routes": [
                {**_route(it.route), "before": _decision(it.before), "after": _decision(it.after)}
                for it in found.routes
            ],
            "routes_tried": found.tried,
            "questions_changed": found.questions_changed,
            "questions_tried": found.questions_tried,
        }
        say(as_json, facts, *diff_lines(old, new, found))


@app.command("simulate")
def simulate_command(
    folder: Annotated[Path, typer.Argument(metavar="NIEUW", help="Map van de nieuwe versie.")],
    questions: Annotated[
        Path, typer.Argument(metavar="VRAGEN", help="Van 'bekend node questions': één JSON per regel.")
    ],
    old_folder: Annotated[Path | None, typer.Option("--was", help="Map van de versie waaronder is gevraagd.")] = None,
    on_day: OnDay = None,
    as_json: AsJson = False,
) -> None:
    """Wat was er van de vragen van vorige maand geworden onder een nieuwe versie?"""
    with faults_shown(as_json):
        new = _load(folder)
        old = _load(old_folder) if old_folder is not None else None
        must_exist(questions)
        with questions.open(encoding="utf-8") as lines:
            asked = read_questions(lines, str(questions))
        found = simulate(new, asked, _day(new, on_day), old=old)
        facts = {
            **_version(new),
            "questions": found.questions,
            "changed": sum(it.questions for it in found.changed),
            "effects": [
                {
                    **_route(it.route),
                    "questions": it.questions,
                    "persons": it.persons,
                    "kind_class": "possible" if it.kind_class == POSSIBLE else "certain",
                    "before": _decision(it.before) if it.before else None,
                    "after": _decision(it.after),
                }
                for it in found.effects
            ],
            "overruns": [{**asdict(it), "day": it.day.isoformat()} for it in found.overruns],
        }
        say(as_json, facts, *simulation_lines(new, found))


@app.command()
def explain(  # noqa: PLR0917 - options have names on the command line
    folder: Folder,
    requester: Annotated[str, typer.Option("--van", help="OIN van wie vraagt.")],
    source: Annotated[str, typer.Option("--aan", help="OIN van wie wordt gevraagd.")],
    purpose: Annotated[str, typer.Option("--doel", help="Doel: convenant/doel, of alleen de naam.")],
    on_behalf_of: Annotated[str | None, typer.Option("--namens", help="OIN namens wie wordt gevraagd.")] = None,
    persons: Annotated[int, typer.Option("--personen", min=1)] = 1,
    sources: Annotated[int | None, typer.Option("--bronnen", help="Aantal partners in de vraag.")] = None,
    role: Annotated[str | None, typer.Option("--rol", help="Rol van de medewerker.")] = None,
    kind: Annotated[IdentifierKind | None, typer.Option("--kenmerk", help="Soort kenmerk.")] = None,
    case: Annotated[str | None, typer.Option("--zaak", help="Zaaknummer, of een voorbeeld ervan.")] = None,
    attested: Annotated[
        list[str] | None, typer.Option("--bevestig", help="Voorwaarde, of voorwaarde=waarde; herhaalbaar.")
    ] = None,
    justification: Annotated[str | None, typer.Option("--motivering", help="Tekst; nooit met een naam.")] = None,
    reasons: Annotated[
        list[str] | None, typer.Option("--motivering-persoon", help="Tekst per persoon, in hun volgorde; herhaalbaar.")
    ] = None,
    on_day: OnDay = None,
    as_json: AsJson = False,
) -> None:
    """Leg één vraag uit, regel voor regel, alsof iedereen heeft getekend. Code 0: mag; 1: mag niet."""
    with faults_shown(as_json):
        covenant = _load(folder)
        must_be_oins(van=requester, aan=source, namens=on_behalf_of)
        asked = Asked(
            requester=requester,
            source=source,
            purpose=_purpose(covenant, purpose, must=False),
            on_behalf_of=on_behalf_of,
            persons=persons,
            kind_class=class_of_kind(kind or IdentifierKind.BSN),
            covenant_hash=covenant.hash,
            role=role,
            kind=kind,
            case_reference=case,
            attested=frozenset(attested) if attested else None,
            sources=sources,
            justification=justification,
            reasons=tuple(reasons or ()),
        )
        found = explain_draft(covenant, asked, noon(_wanted(on_day) or _day(covenant, None)))
        facts = {
            **_decision(found.decision),
            "reason": found.decision.reason,
            "remedy": found.decision.remedy,
            "article": found.decision.article,
            "nearest": found.decision.nearest,
            "attests": list(found.decision.attests),
            "steps": [asdict(step) for step in found.steps],
        }
        say(as_json, facts, *explain_lines(covenant, asked, found))
    raise typer.Exit(OK if found.decision.allowed else FAULT)


@app.command("test")
def trial_command(
    folder: Folder,
    complete: Annotated[
        bool, typer.Option("--volledig", help="Ook fout als een regel door geen toets is geraakt.")
    ] = False,
    on_day: OnDay = None,
    as_json: AsJson = False,
) -> None:
    """Draai de tabellen in toetsen/: komt eruit wat er staat? Code 1 als iets anders uitkomt."""
    with faults_shown(as_json):
        covenant = _load(folder)
        found = run_tables(covenant, read_tables(folder, covenant), _day(covenant, on_day))
        facts = {
            **_version(covenant),
            "tables": [
                {"file": file, "cases": tried, "failed": failed} for file, (tried, failed) in by_table(found).items()
            ],
            "failures": [
                {
                    "file": it.file,
                    "line": it.line,
                    "requester": it.asked.requester,
                    "source": it.asked.source,
                    "expected": it.expected,
                    **_decision(it.decision),
                }
                for it in found.failures
            ],
            "rules": len(found.rules),
            "missing": list(found.missing),
        }
        tables = (f"{file}: {tried} toetsen, {failed} fout" for file, (tried, failed) in by_table(found).items())
        say(as_json, facts, *tables, *trial_lines(covenant, found))
    raise typer.Exit(FAULT if found.failures or (complete and found.missing) else OK)


@app.command()
def report(
    folder: Folder,
    file: Annotated[Path, typer.Argument(metavar="PAGINA", help="HTML-bestand om te schrijven.")],
    on_day: OnDay = None,
    as_json: AsJson = False,
) -> None:
    """Schrijf één pagina om te lezen, te printen en te tekenen: doelen, grondslagen, matrix, register, DPIA."""
    with faults_shown(as_json):
        from bekend_policy.report import report_page  # noqa: PLC0415 - templates are for pages alone

        covenant = _load(folder)
        file.write_text(report_page(covenant, _day(covenant, on_day)), "utf-8")
        signed = [it.participant.oin for it in signatures(covenant) if it.state == "getekend"]
        open_questions = [it.id for it in covenant.purposes.values() if it.open_question]
        untested = sum(len(it.untested) for it in covenant.purposes.values())
        say(
            as_json,
            {
                **_version(covenant),
                "file": str(file),
                "signed": signed,
                "open_questions": open_questions,
                "untested_grounds": untested,
            },
            f"Geschreven: {file}",
            f"{len(signed)} van {len(covenant.participants)} deelnemers tekenden deze versie; "
            f"{len(open_questions)} open vragen; {untested} grondslagen niet getoetst.",
        )


@app.command()
def schema(
    folder: Annotated[Path, typer.Argument(metavar="MAP", help="Map voor de schema's, buiten het convenant.")],
    as_json: AsJson = False,
) -> None:
    """Schrijf de JSON Schemas, zodat een editor sleutels aanvult en fouten onderstreept."""
    with faults_shown(as_json):
        paths = write_schemas(folder)
        say(as_json, {"files": [str(path) for path in paths]}, *(f"Geschreven: {path}" for path in paths))


# --- what they share -------------------------------------------------------------------------------------------


def _load(folder: Path) -> Covenant:
    must_exist(folder)
    return load_covenant(folder)


def _purpose(covenant: Covenant, name: str, *, must: bool = True) -> str:
    full = name if "/" in name else f"{covenant.id}/{name}"
    if must and full not in covenant.purposes:
        wrong_use(f"Doel '{name}' bestaat niet. Kies uit: {', '.join(sorted(covenant.purposes))}.")
    return full


def _day(covenant: Covenant, text: str | None) -> date:
    return day_within(covenant, _wanted(text), SystemClock().now())


def _wanted(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        wrong_use("--op is geen datum. Schrijf jjjj-mm-dd.")


def _version(covenant: Covenant) -> dict[str, Any]:
    return {"covenant": covenant.id, "version": covenant.version, "hash": covenant.hash.hex()}


def _route(route: Route) -> dict[str, Any]:
    return {**asdict(route), "on_behalf_of": route.on_behalf_of or None}


def _decision(decision: Decision) -> dict[str, Any]:
    return {"allowed": decision.allowed, "mode": decision.mode, "rule": decision.rule}
