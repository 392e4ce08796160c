"""`bekend inzage sleutel`: the privacy officer's key made, handed over, replaced after a loss. In Dutch."""

from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_policy.officer_key import (
    DEPUTY,
    OFFICER,
    OfficerKey,
    hand_over,
    holder_of,
    open_officer_key,
    write_officer_key,
)
from bekend_policy.sign import write_atomic
from bekend_proto.errors import KeysError

from bekend_node.records.exposure import exposure_of
from bekend_node.records.terminal import AsJson, PassphraseFile, faults, passphrase, say

app = typer.Typer(
    name="sleutel",
    help="De sleutel van de privacyfunctionaris en de plaatsvervanger.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
Folder = Annotated[Path, typer.Argument(metavar="MAP", help="Map voor de sleutelbestanden; nooit overschreven.")]
Oin = Annotated[str, typer.Option("--oin", help="OIN van uw organisatie, 20 tekens.")]
FirstFile = Annotated[Path | None, typer.Option("--wachtwoord-functionaris", help="Bestand met het wachtwoord.")]
SecondFile = Annotated[Path | None, typer.Option("--wachtwoord-plaatsvervanger", help="Bestand met het wachtwoord.")]


@app.command()
def maken(
    folder: Folder, oin: Oin, first: FirstFile = None, second: SecondFile = None, as_json: AsJson = False
) -> None:
    """Maak de sleutel, voor twee personen: elk een eigen bestand onder een eigen wachtwoord.

    Elk van beiden kan er alles mee. Bewaar de twee bestanden op twee plekken, buiten het netwerk. Het bestand
    `privacy-officer.pub` is openbaar: geef dat aan de beheerder, voor het sleuteloverzicht.
    """
    with faults(as_json):
        say(as_json, *_make(folder, oin, (first, second)))


@app.command()
def overdragen(  # noqa: PLR0917 - options have names on the command line
    own: Annotated[
        Path, typer.Option("--sleutel", help="Het bestand waarmee u opent: van wie gaat of van wie blijft.")
    ],
    old: Annotated[list[Path], typer.Option("--vernietig", help="Bestand van wie gaat. Mag vaker.")],
    new: Annotated[Path, typer.Option("--nieuw", help="Nieuw bestand, voor wie komt.")],
    passphrase_file: PassphraseFile = None,
    new_file: Annotated[Path | None, typer.Option("--nieuw-wachtwoord", help="Bestand met het wachtwoord.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draag de sleutel over aan een opvolger. De sleutel blijft dezelfde; het oude bestand wordt vernietigd.

    Kopieën op een andere plek vernietigt u zelf. Ging iemand met ruzie weg, of is een bestand kwijt? Gebruik dan
    `vervangen`: wie het oude bestand en het wachtwoord heeft, heeft de sleutel.
    """
    with faults(as_json):
        key = open_officer_key(own, passphrase(passphrase_file))
        holder = holder_of(old[0])
        hand_over(old, key, new, holder, passphrase(new_file, "Wachtwoord van de opvolger", new=True))
        say(
            as_json,
            {"new": str(new), "destroyed": [str(path) for path in old], "holder": holder},
            f"Overgedragen: {new} is het bestand van de nieuwe {holder}.",
            *(f"Vernietigd: {path}. Vernietig ook elke kopie ervan." for path in old),
        )


@app.command()
def vervangen(  # noqa: PLR0917 - options have names on the command line
    folder: Folder,
    own: Annotated[Path, typer.Option("--sleutel", help="De oude sleutel: die blijft nodig voor wat al is verzegeld.")],
    export: Annotated[
        Path | None, typer.Option("--export", help="Export van de node: dan staat erbij wat er open kan liggen.")
    ] = None,
    passphrase_file: PassphraseFile = None,
    first: FirstFile = None,
    second: SecondFile = None,
    as_json: AsJson = False,
) -> None:
    """Maak een nieuwe sleutel, omdat de oude in verkeerde handen kan zijn. De oude bestanden blijven staan.

    Tot het nieuwe sleuteloverzicht getekend is en de node het gebruikt, wordt nog met de oude verzegeld.
    """
    with faults(as_json):
        old = open_officer_key(own, passphrase(passphrase_file))
        exposed = exposure_of(export, old) if export else None
        lines = exposed.lines() if exposed else ["Geef --export om te zien wat er open kan liggen."]
        more = {"old": old.opening_public.hex(), "exposed": exposed.to_json() if exposed else None}
        facts, *made = _make(folder, old.oin, (first, second))
        say(as_json, {**facts, **more}, *made, *lines)


def _make(folder: Path, oin: str, files: tuple[Path | None, Path | None]) -> tuple[dict[str, Any], str, str]:
    """Make a key for two, whole or not at all; what to say of it."""
    officer, deputy, public = (
        folder / f"{OFFICER}.key",
        folder / f"{DEPUTY}.key",
        folder / "privacy-officer.pub",
    )
    for path in (officer, deputy, public):
        if path.exists():
            raise KeysError(f"{path} bestaat al: een sleutel wordt nooit overschreven; geef een andere map")
    key = OfficerKey.generate(oin)
    passphrases = [
        passphrase(files[0], "Wachtwoord van de privacyfunctionaris", new=True),
        passphrase(files[1], "Wachtwoord van de plaatsvervanger", new=True),
    ]
    if passphrases[0] == passphrases[1]:
        raise KeysError("twee personen kiezen elk een eigen wachtwoord: deze zijn gelijk")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        write_officer_key(officer, key, OFFICER, passphrases[0])
        write_officer_key(deputy, key, DEPUTY, passphrases[1])
        write_atomic(public, key.public_file.encode())
    except BaseException:
        # Half a key is none: the secret was on no other place yet.
        for path in (officer, deputy, public):
            path.unlink(missing_ok=True)
        raise
    return (
        {"files": [str(officer), str(deputy)], "public": str(public)},
        f"Sleutel gemaakt: {officer} en {deputy}. Bewaar ze op twee plekken, buiten het netwerk.",
        f"Geef de beheerder {public}; daarna tekent de ondertekenaar een nieuw sleuteloverzicht.",
    )
