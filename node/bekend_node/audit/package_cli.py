"""`bekend audit pakket`: what the AP or an auditor asks for, made or checked. Off line; in Dutch."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.keys import open_signing_key
from bekend_policy.package import COVENANT, PARTS, Checked, check_package, make_package
from bekend_proto.clock import SystemClock
from bekend_proto.errors import MalformedError

from bekend_node.records.terminal import NOT_GOOD, AsJson, PassphraseFile, anchor_of, faults, passphrase, say


def package(  # noqa: PLR0917 - options have names on the command line
    folder: Annotated[Path, typer.Argument(metavar="MAP", help="Nieuwe map voor het pakket; met --toets het pakket.")],
    anchor: Annotated[
        str, typer.Option("--anker", help="Sleutel die u al vertrouwt, van een ondertekenaar, of een bestand ermee.")
    ],
    check: Annotated[bool, typer.Option("--toets", help="Ga een pakket na in plaats van het te maken.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--uit", metavar="MAP", help=f"Map met de mappen {COVENANT} en, voor zover u ze hebt, {', '.join(PARTS)}."
        ),
    ] = None,
    key_file: Annotated[Path | None, typer.Option("--sleutel", help="Onderteken de index met deze sleutel.")] = None,
    passphrase_file: PassphraseFile = None,
    signer: Annotated[
        str | None, typer.Option("--ondertekenaar", help="Met --toets: wie de index getekend moet hebben.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", help="Sleutels van logboeken van voor de manifesten (bekend log keys).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bundel wat een toezichthouder of auditor vraagt: convenant, logboeken, cijfers, overeenkomsten, met een index."""
    with faults(as_json):
        if check == (source is not None):
            raise MalformedError("geef --uit MAP om een pakket te maken, of --toets om er een na te gaan")
        lines = keys.read_text("utf-8").splitlines() if keys else []
        if source is None:
            vkey = anchor_of(signer) if signer else None
            found = check_package(folder, anchor=anchor_of(anchor), key_lines=lines, signer=vkey)
        else:
            key = open_signing_key(key_file, passphrase(passphrase_file)) if key_file else None
            found = make_package(
                folder,
                source / COVENANT,
                {name: source / name for name in PARTS if (source / name).exists()},
                anchor=anchor_of(anchor),
                key_lines=lines,
                signer=key,
                now=SystemClock().now(),
            )
        facts = {"good": not found.faults, "files": found.files, "faults": found.faults, "missing": found.missing}
        say(as_json, facts, *_lines(found, made=source is not None))
    raise typer.Exit(NOT_GOOD if found.faults else 0)


def _lines(found: Checked, *, made: bool) -> list[str]:
    verdict = "Het pakket klopt." if not made else "Het pakket is gemaakt."
    if found.faults:
        verdict = "Er is niets geschreven." if made else "Het pakket klopt niet."
    return [*found.faults, *(f"Ontbreekt: {one}" for one in found.missing), f"{found.files} bestanden. {verdict}"]
