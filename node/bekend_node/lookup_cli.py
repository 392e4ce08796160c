"""`bekend lookup`: an officer asks which partners know a person, over the running node's control socket.

Numbers of persons come from a prompt or from stdin, never from the command line, where other users could read them.
"""

import itertools
import json
import os
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from bekend_policy.justification import warnings
from bekend_policy.strict_yaml import YamlFaults
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import BekendError, UnreachableError

from bekend_node.config import load_config
from bekend_node.control_client import ControlClient
from bekend_node.lookup_persons import UnfitError, read_persons
from bekend_node.lookup_view import PROVES_NOTHING, left_line, print_hints, print_standing, show, when_lines

ANSWERED: Final = 0
USAGE: Final = 2
NO_ANSWER: Final = 3
REFUSED: Final = 4
UNREACHABLE: Final = 5
WAITS: Final = 7
CONSEQUENCE: Final = "Veranderde dit uw besluit? Meld het één keer: bekend zaak gevolg --zaak ZAAKNUMMER ja (of nee)"

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_show_locals=False)


@app.command()
def lookup(
    *,
    config: Annotated[Path, typer.Option(help="Configuratie van de node.")] = Path("node.yaml"),
    doel: Annotated[str, typer.Option(help="Het doel, zoals het convenant het noemt. Zonder doel: een lijst.")] = "",
    zaak: Annotated[str, typer.Option(help="Zaaknummer waaronder u vraagt.")] = "",
    partner: Annotated[list[str] | None, typer.Option(help="OIN van een partner die u vraagt. Mag vaker.")] = None,
    namens: Annotated[str | None, typer.Option(help="OIN van de organisatie namens wie u vraagt.")] = None,
    bevestig: Annotated[list[str] | None, typer.Option(help="Voorwaarde die u bevestigt. Mag vaker.")] = None,
    motivering: Annotated[str | None, typer.Option(help="Waarom u vraagt. Zonder namen en nummers.")] = None,
    motivering_persoon: Annotated[
        list[str] | None, typer.Option(help="Waarom u ook de tweede persoon vraagt, en de volgende. Mag vaker.")
    ] = None,
    soort: Annotated[
        str, typer.Option(help="Waarmee u vraagt: bsn, skn, of een combinatie zoals naam-geboortedatum.")
    ] = "bsn",
    as_json: Annotated[bool, typer.Option("--json", help="Schrijf een JSON-object.")] = False,
    bon: Annotated[Path | None, typer.Option(help="Schrijf het ontvangstbewijs naar dit nieuwe bestand.")] = None,
) -> None:
    """Vraag welke partners een persoon kennen.

    Typ het nummer als erom gevraagd wordt, of geef een nummer per regel op stdin. Zet het nooit achter het commando.
    Zonder nummer (`--soort naam-geboortedatum`) vraagt het commando naam en geboortedatum; op stdin een regel per
    persoon: geslachtsnaam;voorvoegsel;voornamen;geboortedatum;postcode;huisnummer.
    Geldt bij een partner een leeftijd, dan vraagt het commando ook de gecontroleerde geboortedatum; op stdin staat zij
    achter het nummer: nummer;geboortedatum. Zij wordt niet bewaard en niet verstuurd.

    **Voorbeeld**

        bekend lookup --doel zsm/zsm-context --zaak 01/234567-26 --partner 00000099000000001000

    **Uitkomsten**: bekend; mogelijk bekend (zonder nummer gevraagd: het kan een ander zijn); geen uitsluitsel (bewijst
    niets); geen antwoord (vraag het later opnieuw); niet bevraagd; in behandeling (een collega bij de partner beslist:
    kijk later met bekend antwoorden).

    **Exitcodes**: 0 alle gevraagde partners antwoordden, of beslissen nog; 2 verkeerd gebruik; 3 van minstens een
    partner kwam geen antwoord; 4 geweigerd volgens een regel; 5 de node is niet bereikbaar of kan nu niet vragen; 7 de
    vraag wacht op een tweede medewerker (zie bekend vierogen).
    """
    if bon is not None and (bon.exists() or not bon.parent.is_dir()):
        stop(USAGE, f"{bon}: dit bestand bestaat al, of de map bestaat niet. Kies een nieuw bestand.")
    path = socket_of(config)
    request = {
        "op": "ask",
        "purpose": doel,
        "sources": partner or [],
        "kind": soort,
        "case": zaak,
        "attested": bevestig or [],
        "justification": motivering,
        "on_behalf_of": namens,
    }
    for line in warnings(" ".join([motivering or "", *(motivering_persoon or [])])):
        sys.stderr.write(f"Let op: {line}\n")
    try:
        with ControlClient(path) as client:
            purpose = _purpose(client, doel)
            _check_choice(purpose, partner or [])
            # Before a person is named: the timing of the filters tells nothing about one.
            opened = client.call({"op": "open", "purpose": doel, "sources": partner or [], "on_behalf_of": namens})
            if not as_json and opened["type"] == "result":
                sys.stderr.write("".join(f"{line}\n" for line in when_lines(purpose, opened["answers"], soort)))
                sys.stderr.write(left_line(opened["budget"]) + "\n")
            with_birth = any(one["ages"] for one in purpose["sources"] if one["oin"] in (partner or []))
            persons = read_persons(soort, int(purpose["max_persons"]), with_birth=with_birth)
            count = len(persons.get("identifiers") or persons["described"])
            request["reasons"] = _reasons(purpose, motivering_persoon or [], count)
            code = ask(client, request | persons, purpose, persons=count, receipt=bon, as_json=as_json)
            raise typer.Exit(code)
    except UnfitError as error:
        stop(USAGE, str(error))
    except UnreachableError as error:
        stop(UNREACHABLE, f"De node is niet bereikbaar. {error.detail}")


def socket_of(config: Path) -> Path:
    """The control socket of the node that this configuration names. Ends the command when it cannot be read."""
    try:
        return load_config(config).socket
    except (YamlFaults, BekendError, OSError) as error:
        stop(USAGE, f"De configuratie {config} kan niet worden gelezen: {error}")


def _purpose(client: ControlClient, wanted: str) -> dict[str, Any]:
    """The purpose, if this officer's role may use it. Ends the command when not."""
    reply = client.call({"op": "purposes"})
    if reply["type"] != "result":
        end_with(reply)
    found: dict[str, Any] | None = next((one for one in reply["purposes"] if one["id"] == wanted), None)
    if found is None:
        _no_purpose(client, wanted, reply)
    return found


def _no_purpose(client: ControlClient, wanted: str, reply: dict[str, Any]) -> NoReturn:
    """Say why not, in the covenant's words, and what else there is."""
    if wanted:
        refusal = client.call({"op": "open", "purpose": wanted, "sources": []})
        if refusal["type"] == "refused":
            end_with(refusal)
    choices = "\n".join(f"  {one['id']}  {one['title']}" for one in reply["purposes"]) or "  (geen)"
    stop(USAGE, f"Kies een doel met --doel. U ({reply['officer']}) kunt kiezen uit:\n{choices}")


def _check_choice(purpose: dict[str, Any], partners: list[str]) -> None:
    """FG-09: the officer chooses; "all" is no default."""
    if partners:
        return
    lines = "\n".join(f"  --partner {one['oin']}  {one['name']} ({_mode(one)})" for one in purpose["sources"])
    stop(USAGE, f"Kies zelf welke partners u vraagt. Voor dit doel kunt u kiezen uit:\n{lines}")


def _mode(source: dict[str, Any]) -> str:
    """How a source answers, and what it takes to ask it."""
    consent = ["alleen met toestemming"] if source["consent"] else []
    ages = [f"alleen als (uit de geboortedatum): {text}" for text in source["ages"]]
    return ", ".join([str(source["mode"]), *consent, *ages])


def _reasons(purpose: dict[str, Any], further: list[str], persons: int) -> list[str]:
    """The texts per person: what was given is about the second and those after it. Ends the command for too many."""
    if len(further) > persons - 1:
        stop(USAGE, "Er zijn meer motiveringen dan personen na de eerste.")
    if not further and not purpose["own_reasons"]:
        return []
    return ["", *further, *[""] * (persons - 1 - len(further))]


def ask(
    client: ControlClient,
    request: dict[str, Any],
    purpose: dict[str, Any],
    *,
    persons: int,
    receipt: Path | None,
    as_json: bool,
) -> int:
    """Ask, show, keep the receipt; returns the exit code. `request` asks, or goes on with what a second looked at."""
    outcomes: list[dict[str, Any]] = []
    last: dict[str, Any] = {}

    def replies() -> Iterator[dict[str, Any]]:
        nonlocal last
        for reply in client.ask(request):
            last = reply
            if reply["type"] == "outcome":
                outcomes.append({name: value for name, value in reply.items() if name != "type"})
                yield outcomes[-1]

    found = replies()
    first = list(itertools.islice(found, 1))
    if last["type"] == "waits":
        return _waits(last, as_json=as_json)
    found = itertools.chain(first, found)
    if as_json:
        for _ in found:
            pass
    else:
        show(found, persons)
    if last["type"] != "receipt":
        _end_unrecorded(last, purpose, shown=bool(outcomes), as_json=as_json)
    if not as_json:
        print_standing(purpose, outcomes)
        print_hints(purpose, outcomes, persons)
    if receipt is not None:
        write_receipt(receipt, last["receipt"])
    answer = {"purpose": purpose["id"], "persons": persons, "outcomes": outcomes, "budget": last["budget"]}
    _conclude(answer, with_case=bool(request.get("case")), as_json=as_json)
    return _exit_code(outcomes)


def _end_unrecorded(reply: dict[str, Any], purpose: dict[str, Any], *, shown: bool, as_json: bool) -> NoReturn:
    """End on a fault; what was shown before it is not on record."""
    if shown and not as_json:
        sys.stderr.write("Let op: gebruik de uitkomsten hierboven niet. Deze vraag is niet vastgelegd.\n")
    end_with(reply, purpose, as_json=as_json)


def _conclude(answer: dict[str, Any], *, with_case: bool, as_json: bool) -> None:
    """What stands below the outcomes; with --json the whole of it."""
    if as_json:
        sys.stdout.write(json.dumps({**answer, "note": PROVES_NOTHING}, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(left_line(answer["budget"]) + "\n")
    if with_case:
        sys.stdout.write(CONSEQUENCE + "\n")


def _waits(reply: dict[str, Any], *, as_json: bool) -> int:
    """Nothing was asked yet: a second officer looks first."""
    facts = {name: value for name, value in reply.items() if name != "type"}
    if as_json:
        sys.stdout.write(json.dumps({"waits": facts}, ensure_ascii=False) + "\n")
        return WAITS
    until = datetime.fromisoformat(reply["until"]).astimezone(AMSTERDAM)
    sys.stdout.write(
        f"Een tweede medewerker kijkt eerst mee. Er is nog niets gevraagd. Kenmerk: {reply['id']}\n"
        f"Uw collega ziet de vraag met: bekend vierogen lijst. Dat kan tot {until:%d-%m-%Y %H:%M}.\n"
        f"Na akkoord vraagt u het met: bekend vierogen vraag {reply['id']}\n"
    )
    if reply["emergency"]:
        sys.stdout.write(
            f"Kan het niet wachten? {reply['emergency'].strip()}\n"
            f'  bekend vierogen noodgreep {reply["id"]} --reden "..."\n'
        )
    return WAITS


def _exit_code(outcomes: list[dict[str, Any]]) -> int:
    kinds = {outcome["outcome"] for outcome in outcomes}
    if "geen_antwoord" in kinds:
        return NO_ANSWER
    return REFUSED if kinds <= {"niet_bevraagd"} else ANSWERED


def write_receipt(path: Path, receipt: dict[str, Any]) -> None:
    """Write a receipt to a new file for the officer alone; a file that cannot be written is a sentence, not the end."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(receipt, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # The outcomes stand on the screen already: the rest of the command goes on.
        sys.stderr.write(f"Het ontvangstbewijs kon niet worden geschreven: {path} ({error.strerror}).\n")


def end_with(reply: dict[str, Any], purpose: dict[str, Any] | None = None, *, as_json: bool = False) -> NoReturn:
    """End on a refusal or a fault of the node."""
    refused = reply["type"] == "refused"
    if as_json:
        sys.stdout.write(json.dumps({"refused" if refused else "error": reply}, ensure_ascii=False) + "\n")
    text = str(reply.get("reason", "De node gaf een onbekend antwoord."))
    if refused:
        text = f"Geweigerd (regel {reply['rule']}): {text}"
    if purpose is not None and reply.get("rule") == "voorwaarde":
        text += "\nBevestig alleen wat waar is:\n"
        text += "\n".join(f"  --bevestig {_stated(one)}  {one['text']}" for one in purpose["confirm"])
    if purpose is not None and reply.get("rule") == "budget" and purpose.get("raise"):
        roles = " of ".join(purpose["raise"]["roles"])
        text += f"\nEen collega met de rol {roles} kan uw grens voor 24 uur verhogen: bekend node raise."
    stop(REFUSED if refused else UNREACHABLE, text)


def _stated(condition: dict[str, Any]) -> str:
    """How a condition is confirmed: its id, with a value where the covenant asks one."""
    return f"{condition['id']}=<{condition['value']}>" if condition.get("value") else str(condition["id"])


def stop(code: int, text: str) -> NoReturn:
    """End the command with a sentence and an exit code."""
    sys.stderr.write(text + "\n")
    raise typer.Exit(code)
