"""`bekend receipt`: check an answer receipt off line, from the file and the covenant (or one public key) alone."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import (
    BekendError,
    KeysError,
    MalformedError,
    ProofError,
    SignatureError,
    code_name,
)
from bekend_proto.note import parse_vkey

from bekend_node import receipt
from bekend_node.lookup_view import PROVES_NOTHING, word

GOOD: Final = 0
FAULT: Final = 1
USAGE: Final = 2
BAD: Final = 3

app = typer.Typer(
    add_completion=False, rich_markup_mode="markdown", pretty_exceptions_show_locals=False, no_args_is_help=True
)

_WHY: Final[dict[type[BekendError], str]] = {
    MalformedError: "Het bestand is beschadigd of is geen ontvangstbewijs. Vraag de organisatie die het gaf, om een "
    "nieuw exemplaar.",
    SignatureError: "De handtekening hoort er niet bij: er is iets veranderd, of het bewijs is niet van deze vrager. "
    "Vertrouw het niet.",
    KeysError: "De sleutels van de vrager horen niet bij de ondertekenaar die u opgaf, of golden toen niet. Controleer "
    "--anchor of --covenant.",
    ProofError: "Een uitkomst past niet bij haar zegel: zij is veranderd, of staat er twee keer. Vertrouw het niet.",
}
"""What is wrong, and what to do, by what `receipt.verify` raises."""


@app.callback()
def _receipt() -> None:
    """Controleer het ontvangstbewijs van een bevraging."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="Het ontvangstbewijs.")],
    anchor: Annotated[str | None, typer.Option(help="Openbare sleutel van de ondertekenaar van de vrager.")] = None,
    covenant: Annotated[Path | None, typer.Option(help="Map van het convenant: die noemt de ondertekenaars.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Schrijf een JSON-object.")] = False,
) -> None:
    """Controleer een ontvangstbewijs, zonder netwerk.

    Het bewijs noemt geen persoon. Het zegt wie onder welk doel welke partners vroeg, en wat zij antwoordden.

    **Voorbeeld**

        bekend receipt verify bon.json --covenant convenant

    **Exitcodes**: 0 het bewijs klopt; 1 een bestand kan niet worden gelezen; 2 verkeerd gebruik; 3 het klopt niet.
    """
    if (anchor is None) == (covenant is None):
        _stop(USAGE, "Geef --anchor of --covenant: een van de twee.")
    if anchor is not None:
        _check_anchor(anchor)
    rules = _covenant(covenant)
    anchors = {oin: one.signer for oin, one in rules.participants.items()} if rules else {"*": anchor or ""}
    try:
        data = file.read_bytes()[: receipt.MAXIMUM_SIZE + 1]
    except OSError as error:
        _stop(FAULT, f"{file} kan niet worden gelezen: {error.strerror}.")
    try:
        found = receipt.verify(receipt.parse(data), anchors)
    except BekendError as error:
        if as_json:
            facts = {"valid": False, "code": code_name(error.code), "reason": error.detail}
            sys.stdout.write(json.dumps(facts) + "\n")
        _stop(BAD, f"Dit ontvangstbewijs klopt NIET. {_why(error)}")
    if as_json:
        sys.stdout.write(json.dumps(_to_json(found, rules), ensure_ascii=False) + "\n")
    else:
        _show(found, rules)


def _check_anchor(text: str) -> None:
    try:
        parse_vkey(text)
    except MalformedError:
        _stop(USAGE, "--anchor is geen openbare sleutel. Neem de hele regel over: naam+getal+sleutel.")


def _why(error: BekendError) -> str:
    return next((text for kind, text in _WHY.items() if isinstance(error, kind)), _WHY[MalformedError])


def _covenant(folder: Path | None) -> Covenant | None:
    """The covenant in a folder that the reader trusts as it is. Ends the command when it has faults."""
    if folder is None:
        return None
    try:
        return load_covenant(folder)
    except (BekendError, OSError) as error:
        _stop(FAULT, f"Het convenant in {folder} kan niet worden gelezen: {error}")


def _to_json(found: receipt.Verified, rules: Covenant | None) -> dict[str, Any]:
    return {
        "valid": True,
        "requester": found.requester,
        "on_behalf_of": found.on_behalf_of,
        "purpose": found.purpose,
        "covenant_hash": found.covenant_hash.hex(),
        "same_covenant": None if rules is None else found.covenant_hash == rules.hash,
        "time": found.time.isoformat(),
        "expires": found.expires.isoformat(),
        "persons": found.persons,
        "asked": list(found.asked),
        "not_asked": list(found.not_asked),
        "outcomes": [{"oin": one.oin, "person": one.person, "outcome": one.outcome} for one in found.openings],
        "unopened": found.unopened,
        "note": PROVES_NOTHING,
    }


def _show(found: receipt.Verified, rules: Covenant | None) -> None:
    lines = [
        "Dit ontvangstbewijs klopt.",
        f"  Vrager       {_name(found.requester, rules)}",
        *([f"  Namens       {_name(found.on_behalf_of, rules)}"] if found.on_behalf_of else []),
        f"  Doel         {found.purpose}",
        f"  Gevraagd op  {_moment(found.time)}",
        f"  Geldig tot   {_moment(found.expires)}",
        f"  Personen     {found.persons} (het bewijs noemt geen persoon)",
        f"  Convenant    {found.covenant_hash.hex()}",
    ]
    if rules is not None and found.covenant_hash != rules.hash:
        lines.append("  Let op: dit is een andere versie van het convenant dan die in de map.")
    for one in found.openings:
        person = f" (persoon {one.person + 1})" if found.persons > 1 else ""
        lines.append(f"  {_name(one.oin, rules)}{person}: {word(one.outcome)}")
    if found.unopened:
        lines.append(f"  Van {found.unopened} uitkomsten is alleen het zegel te zien: de opening ontbreekt.")
    lines.append(PROVES_NOTHING)
    sys.stdout.write("\n".join(lines) + "\n")


def _name(oin: str, rules: Covenant | None) -> str:
    participant = rules.participants.get(oin) if rules else None
    return f"{participant.name} ({oin})" if participant else oin


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(AMSTERDAM):%d-%m-%Y %H:%M:%S}"


def _stop(code: int, text: str) -> NoReturn:
    sys.stderr.write(text + "\n")
    raise typer.Exit(code)
