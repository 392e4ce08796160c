"""`bekend log adl replay`: decide recorded decisions again, off line, from the records and the covenant alone."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_proto.clock import SystemClock
from bekend_proto.errors import MalformedError

from bekend_policy.decision_log import Replayed, Verdict, replay
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.sign import verify_covenant
from bekend_policy.terminal import faults_shown, must_exist

DIFFERENT: Final = 3


def replay_file(
    file: Annotated[Path, typer.Argument(metavar="BESTAND", help="Besluiten, zoals `adl export --jsonl` ze schreef.")],
    covenant: Annotated[
        list[Path], typer.Option("--convenant", metavar="MAP", help="Map van een versie van het convenant. Mag vaker.")
    ],
    anchor: Annotated[str, typer.Option("--anker", help="Openbare sleutel die u al vertrouwt.")],
    opened: Annotated[
        Path | None,
        typer.Option(
            "--vastlegging",
            metavar="BESTAND",
            help="Eigen vastleggingen die de privacy officer opende, één JSON-object per regel. Dan tellen ook de "
            "teksten mee.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Eén JSON-object.")] = False,
) -> None:
    """Neem vastgelegde besluiten opnieuw, met het convenant van toen. Elk verschil wordt getoond."""
    for path in (file, *covenant):
        must_exist(path)
    with faults_shown(as_json):
        covenants = {one.hash.hex(): one for one in (_verified(folder, anchor) for folder in covenant)}
        own = {one["begin_id"]: one for one in _lines(opened)} if opened is not None else {}
        found = [replay(record, covenants, own) for record in _lines(file)]
        counts = Counter(one.verdict for one in found)
        _show(found, counts, as_json)
        if counts[Verdict.DIFFERENT] or counts[Verdict.UNKNOWN]:
            raise typer.Exit(DIFFERENT)


def _verified(folder: Path, anchor: str) -> Covenant:
    """A version, verified at a moment at which it held: it may be over by now."""
    read = load_covenant(folder)
    now = min(max(SystemClock().now(), read.valid_from), read.valid_until - timedelta(seconds=1))
    return verify_covenant(read, anchor, now)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except ValueError:
                raise MalformedError(f"{file}, regel {number}: geen JSON") from None
            if not isinstance(record, dict):
                raise MalformedError(f"{file}, regel {number}: geen JSON-object")
            yield record


def _show(found: Sequence[Replayed], counts: Counter[Verdict], as_json: bool) -> None:
    differing = [one for one in found if one.verdict in {Verdict.DIFFERENT, Verdict.UNKNOWN}]
    if as_json:
        rows = [
            {"trace_id": it.trace_id, "span_id": it.span_id, "verdict": it.verdict, "recorded": it.recorded,
             "again": it.again}
            for it in differing
        ]  # fmt: skip
        sys.stdout.write(json.dumps({"counts": counts, "differing": rows}, ensure_ascii=False) + "\n")
        return
    for it in differing:
        again = "niet te bepalen" if it.again is None else _said(it.again)
        sys.stdout.write(f"{it.trace_id}: vastgelegd {_said(it.recorded)}, nu {again} ({it.verdict})\n")
    sys.stdout.write(f"{len(found)} besluiten: {', '.join(f'{n} {v}' for v, n in sorted(counts.items())) or 'geen'}.\n")


def _said(decision: tuple[bool, str]) -> str:
    return f"{'mag' if decision[0] else 'mag niet'} (regel {decision[1]})"
