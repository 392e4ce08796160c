"""`bekend bulletin samen`: the partners' files into one bulletin."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.errors import MalformedError

from bekend_policy.bulletin import Joint, join, read_bulletin
from bekend_policy.load import load_covenant
from bekend_policy.sign import write_atomic
from bekend_policy.terminal import AsJson, faults_shown, must_exist, say

LONGEST = 1 << 20


def join_files(
    files: Annotated[list[Path], typer.Argument(metavar="BESTANDEN", help="De bulletins van de partners.")],
    *,
    covenant: Annotated[Path, typer.Option("--convenant", metavar="MAP", help="Het convenant, voor de namen.")],
    out: Annotated[Path, typer.Option("--uit", metavar="NAAM", help="Schrijft NAAM.txt, NAAM.csv en NAAM.html.")],
    as_json: AsJson = False,
) -> None:
    """Voeg de bulletins van partners samen tot tekst, CSV en één pagina. Ook van meer kwartalen."""
    with faults_shown(as_json):
        from bekend_policy.bulletin_page import bulletin_csv, bulletin_page, bulletin_text  # noqa: PLC0415 - templates

        must_exist(covenant)
        named = load_covenant(covenant)
        joint = joined(files)
        if joint.covenant != named.id:
            raise MalformedError(f"deze bulletins zijn van {joint.covenant}, niet van {named.id}")
        made = {".txt": bulletin_text, ".csv": bulletin_csv, ".html": bulletin_page}
        written = {out.with_name(out.name + suffix): make(joint, named) for suffix, make in made.items()}
        for path, text in written.items():
            write_atomic(path, text.encode())
        say(
            as_json,
            {"files": [str(path) for path in written], "quarters": [str(one) for one in joint.quarters]},
            *(f"Geschreven: {path}" for path in written),
        )


def joined(files: list[Path]) -> Joint:
    """The bulletins in these files, added up. Raises MalformedError, OSError."""
    return join([read_bulletin(_read(path), path.name) for path in files])


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LONGEST)
