"""`bekend policy openbaar`: what residents read about a federation, made from its covenant and bulletins."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.clock import SystemClock, day_of
from bekend_proto.errors import MalformedError

from bekend_policy.bulletin_cli import joined
from bekend_policy.load import load_covenant
from bekend_policy.sign import write_atomic
from bekend_policy.terminal import AsJson, faults_shown, must_exist, say


def write_public_page(
    folder: Annotated[Path, typer.Argument(metavar="MAP", help="Map van een convenant.")],
    *,
    file: Annotated[Path, typer.Option("--uit", metavar="PAGINA", help="HTML-bestand om te schrijven.")],
    bulletins: Annotated[
        list[Path] | None,
        typer.Option("--bulletin", metavar="BESTAND", help="Bulletin van een partner; mag vaker."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Schrijf de pagina voor inwoners: doelen, partners, cijfers, en hoe zij inzage vragen of bezwaar maken."""
    with faults_shown(as_json):
        from bekend_policy.public import public_page  # noqa: PLC0415 - templates are for pages alone

        must_exist(folder)
        covenant = load_covenant(folder)
        joint = joined(bulletins) if bulletins else None
        if joint is not None and joint.covenant != covenant.id:
            raise MalformedError(f"deze bulletins zijn van {joint.covenant}, niet van {covenant.id}")
        write_atomic(file, public_page(covenant, day_of(SystemClock().now()), joint).encode())
        say(as_json, {"file": str(file)}, f"Geschreven: {file}")
