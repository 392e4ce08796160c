"""`bekend log`: export a log, verify exports from files alone, and compare those of several parties.

Beside it, in Dutch, what privacy officers and auditors read of a running node: `ldv`, `adl`, `lezers`.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_node import log_export_cli
from bekend_policy.faults import YamlFaults
from bekend_policy.sign import write_atomic
from bekend_proto.clock import SystemClock, from_milliseconds, milliseconds
from bekend_proto.errors import BekendError, MalformedError
from bekend_proto.ledger.exported import Export
from bekend_proto.ledger.findings import Finding
from bekend_proto.ledger.keys import Keys
from bekend_proto.ledger.reconcile import MARGIN, reconcile
from bekend_proto.ledger.verify import SKEW, Verified, verify

FAULT: Final = 1
NOT_GOOD: Final = 3
_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

EPILOG = """
**Examples**

    bekend log keys --node node.yaml > keys.txt            public keys, for whoever verifies

    bekend log export --node node.yaml --from 2026-11-16 --until 2026-11-23 --out om.export

    bekend log export --broker broker.yaml --from 2026-11-16 --until 2026-11-23 --out makelaar.export

    bekend log verify om.export makelaar.export --keys keys.txt

    bekend log reconcile exports/ --keys keys.txt          broker and nodes, over the period that they were made for

**Exit codes**

    0   everything holds

    1   a fault: a file that cannot be read, keys, exports that do not fit together; the message says what to do

    2   wrong use of the command line

    3   something is wrong with a log; each finding names the log and the entry
"""

app = typer.Typer(
    name="log",
    help="Read the logs of a node; export, verify and compare logs, trusting nobody but the public keys that you give.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)

app.add_typer(log_export_cli.ldv)
app.add_typer(log_export_cli.adl)
app.command("lezers")(log_export_cli.readings)

Node = Annotated[Path | None, typer.Option("--node", metavar="FILE", help="Configuration of a node.")]
Broker = Annotated[Path | None, typer.Option("--broker", metavar="FILE", help="Configuration of a broker's replica.")]
Files = Annotated[list[Path], typer.Argument(help="Exports, or folders of nothing else.")]
KeyFile = Annotated[Path, typer.Option("--keys", metavar="FILE", help="Public keys, a line each (`bekend log keys`).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
Since = Annotated[datetime | None, typer.Option("--from", formats=_FORMATS, help="Begin of the period, UTC.")]
Until = Annotated[datetime | None, typer.Option("--until", formats=_FORMATS, help="End of the period, UTC.")]


@app.command()
def export(  # noqa: PLR0917 - options have names on the command line
    out: Annotated[Path, typer.Option("--out", help="The file to write; it must not exist.")],
    since: Annotated[datetime, typer.Option("--from", formats=_FORMATS, help="Begin of the period, UTC.")],
    until: Annotated[datetime, typer.Option("--until", formats=_FORMATS, help="End of the period, UTC.")],
    node: Node = None,
    broker: Broker = None,
    records: Annotated[
        bool, typer.Option("--records", help="Of a node: with the Questions answered and their sealed records.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the log of a period to one signed file. The node or broker may go on running.

    Entries are hashes with the two organisations and the time: nothing in them is about a person. With `--records` they
    come with what a privacy officer can open: for an auditor whom the covenant names, and nobody else.
    """
    from bekend_deploy import log_export  # noqa: PLC0415 - both rooms, that the other commands do not need

    with _faults(as_json):
        now = SystemClock().now()
        period = since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)
        if out.exists():
            raise MalformedError(f"{out} exists: name a file that does not")
        if _one_of(node, broker) is node:
            octets = log_export.export_node(_one_of(node, broker), *period, now, records=records)
        else:
            octets = log_export.export_broker(_one_of(node, broker), *period, now)
        write_atomic(out, octets)
        _say(as_json, {"file": str(out), "bytes": len(octets)}, f"{out}: {len(octets)} bytes")


@app.command()
def keys(node: Node = None, broker: Broker = None, as_json: AsJson = False) -> None:
    """Print the public keys of all logs and witnesses, from the key manifests that a node or broker holds.

    Each manifest is verified under the key that the signed covenant pins for its owner. Keep the output with the
    exports of its time: keys are renewed.
    """
    from bekend_deploy import log_export  # noqa: PLC0415

    with _faults(as_json):
        path, now = _one_of(node, broker), SystemClock().now()
        found = log_export.keys_of_node(path, now) if path is node else log_export.keys_of_broker(path, now)
        _say(as_json, {"keys": [one for one in found if not one.startswith("#")]}, *found)


@app.command("verify")
def verify_files(files: Files, key_file: KeyFile, as_json: AsJson = False) -> None:
    """Does each export hold? Signature, entries, tree, checkpoints, witnesses, records: from the files alone."""
    with _faults(as_json):
        looked = _verify_all(files, key_file)
        good = not any(one.findings for one in looked)
        facts = {"good": good, "files": [_facts(one) for one in looked]}
        _say(as_json, facts, *(line for one in looked for line in _lines(one)))
    raise typer.Exit(0 if good else NOT_GOOD)


@app.command("reconcile")
def reconcile_files(
    files: Files, key_file: KeyFile, since: Since = None, until: Until = None, as_json: AsJson = False
) -> None:
    """Do the logs of broker, requesters and sources tell of the same questions?

    Give the exports of every replica of the broker and of any number of nodes, all made for one period. Every export is
    verified first.
    """
    with _faults(as_json):
        looked = _verify_all(files, key_file)
        exports = [one.export for one in looked if one.export is not None]
        if not exports:
            raise MalformedError("no file is an export that its owner signed: see `bekend log verify`")
        period = _period(exports, since, until)
        told = reconcile(exports, _keys(key_file), *period)
        findings = sorted({*told.findings, *(finding for one in looked for finding in one.findings)})
        counts = {
            "questions": told.questions,
            "answered": told.answered,
            "unanswered": told.unanswered,
            "not_admitted": told.not_admitted,
        }
        facts = {"good": not findings, **counts, "findings": [one.to_json() for one in findings]}
        _say(as_json, facts, *_summary(exports, period, counts), *map(str, findings), _verdict(findings))
    raise typer.Exit(NOT_GOOD if findings else 0)


def _one_of(node: Path | None, broker: Path | None) -> Path:
    if (node is None) == (broker is None):
        raise MalformedError("give either --node or --broker")
    return node or broker or Path()


def _keys(path: Path) -> Keys:
    return Keys.parse(path.read_text(encoding="utf-8").splitlines())


def _verify_all(files: Sequence[Path], key_file: Path) -> list[Verified]:
    known = _keys(key_file)
    paths = [path for one in files for path in (sorted(one.iterdir()) if one.is_dir() else [one])]
    if not paths:
        raise MalformedError("these folders are empty")
    return [verify(path.name, path.read_bytes(), known) for path in paths]


def _period(exports: Sequence[Export], since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """What was asked for, or what all exports were made for, up to two minutes before the first was made."""
    first = max(0 if one.since == 0 else one.since + MARGIN for one in exports)
    end = min(min(one.until - MARGIN, one.made - SKEW) for one in exports)
    if since is not None:
        first = milliseconds(since.replace(tzinfo=UTC))
    if until is not None:
        end = milliseconds(until.replace(tzinfo=UTC))
    return first, end


def _facts(one: Verified) -> dict[str, Any]:
    export = one.export
    facts: dict[str, Any] = {"file": one.name, "findings": [finding.to_json() for finding in one.findings]}
    if export is not None:
        facts |= {
            "log": export.log,
            "size": export.size,
            "first": export.first,
            "end": export.end,
            "witnesses": sorted(one.witnesses),
        }
    return facts


def _lines(one: Verified) -> Iterator[str]:
    export = one.export
    if export is not None:
        witnesses = f", cosigned by {', '.join(sorted(one.witnesses))}" if one.witnesses else ""
        yield f"{one.name}: {export.log}, entries {export.first} to {export.end} of {export.size}{witnesses}"
    else:
        yield f"{one.name}:"
    yield from (f"  {finding}" for finding in one.findings)
    if not one.findings:
        yield "  holds"


def _summary(exports: Sequence[Export], period: tuple[int, int], counts: dict[str, int]) -> Iterator[str]:
    first, end = (from_milliseconds(one).strftime("%Y-%m-%d %H:%M") for one in period)
    yield f"{len(exports)} logs, {first} to {end} UTC"
    yield f"{counts['questions']} questions at the broker; {counts['answered']} were answered"
    yield f"{counts['unanswered']} were not, {counts['not_admitted']} were asked and not admitted: no fault by itself"


def _verdict(findings: Sequence[Finding]) -> str:
    return f"{len(findings)} findings" if findings else "The logs agree."


def _say(as_json: bool, facts: dict[str, Any], *lines: str) -> None:
    sys.stdout.write((json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines)) + "\n")


@contextmanager
def _faults(as_json: bool) -> Iterator[None]:
    try:
        yield
    except (YamlFaults, BekendError) as fault:
        detail = str(fault)
    except OSError as fault:
        detail = f"{fault.filename or ''}: {fault.strerror}: check path and rights"
    else:
        return
    if as_json:
        _say(True, {"fault": detail})
    else:
        sys.stderr.write(detail + "\n")
    raise typer.Exit(FAULT)
