"""`bekend zaak`: what became of a case, as far as the node must know it. In Dutch: an officer types it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.passphrase import write_new
from bekend_proto.errors import StorageError

from bekend_node.calling import called
from bekend_node.terminal import AsJson, Config, faults, say

Case = Annotated[str, typer.Option(help="Het zaaknummer waaronder is gevraagd.")]


class YesNo(StrEnum):
    """An answer."""

    YES = "ja"
    NO = "nee"


app = typer.Typer(
    name="zaak",
    help="Meld wat er van een zaak werd.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _zaak() -> None:
    """Meld wat er van een zaak werd."""


@app.command()
def vervallen(
    *,
    config: Config = Path("node.yaml"),
    zaak: Case,
    as_json: AsJson = False,
) -> None:
    """De zaak is niet in behandeling genomen: vernietig wat de partners antwoordden. Dit is niet terug te draaien."""
    with faults(as_json):
        facts = called(config, {"op": "lapse", "case": zaak}, as_json=as_json)
        say(
            as_json,
            facts,
            f"Vragen onder deze zaak: {facts['lookups']}.",
            f"Antwoorden die hier stonden of nog komen, zijn vernietigd: {facts['questions']}.",
            "Vernietig ook zelf wat u overnam: aantekeningen, afdrukken en antwoordbewijzen.",
        )


@app.command()
def collega(
    *,
    config: Config = Path("node.yaml"),
    zaak: Case,
    erbij: Annotated[str, typer.Option(help="Gebruiker die ook aan deze zaak werkt.")] = "",
    weg: Annotated[str, typer.Option(help="Gebruiker die niet meer aan deze zaak werkt.")] = "",
    as_json: AsJson = False,
) -> None:
    """Wie werkt er nog meer aan deze zaak? Een collega die u toevoegt, ziet de antwoorden van de zaak ook."""
    with faults(as_json):
        request = {"op": "colleague", "case": zaak, "add": erbij, "remove": weg}
        facts = called(config, request, as_json=as_json)
        say(
            as_json,
            facts,
            f"Aan deze zaak werken ook: {_names(facts['on_case'])}.",
            f"U kunt toevoegen: {_names(facts['to_add'])}.",
        )


@app.command()
def gevolg(
    antwoord: Annotated[YesNo, typer.Argument(help="Veranderde wat u zag iets aan wat u besloot?")],
    *,
    config: Config = Path("node.yaml"),
    zaak: Case,
    as_json: AsJson = False,
) -> None:
    """Veranderde wat de partners antwoordden uw besluit? Eén keer per zaak; uw naam wordt niet bewaard."""
    with faults(as_json):
        request = {"op": "consequence", "case": zaak, "changed": antwoord is YesNo.YES}
        say(
            as_json,
            called(config, request, as_json=as_json),
            "Dank u. Dit telt mee in het kwartaalbulletin; er staat niet bij van wie of over wie het is.",
        )


@app.command()
def onterecht(
    *,
    config: Config = Path("node.yaml"),
    zaak: Case,
    partner: Annotated[str, typer.Option(help="OIN van de partner die ten onrechte 'bekend' antwoordde.")],
    reden: Annotated[str, typer.Option(help="Waarom het niet klopt. Zonder namen en nummers van personen.")],
    brief: Annotated[Path, typer.Option(help="Nieuw bestand voor de brief aan het loket van de partner (HTML).")],
    persoon: Annotated[
        int | None, typer.Option(min=1, max=8, help="De hoeveelste persoon van de vraag; anders alle.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Een partner was onterecht 'bekend': trek het antwoord hier in, en maak de brief aan het loket van die partner.

    De brief gaat buiten bekend om: u vult zelf in om wie het gaat, en geeft hem af of stuurt hem beveiligd.
    """
    with faults(as_json):
        if brief.exists():
            raise StorageError(f"{brief} bestaat al: kies een ander bestand voor de brief")
        request = {"op": "correct", "case": zaak, "partner": partner, "person": persoon, "reason": reden}
        facts = called(config, request, as_json=as_json)
        write_new(brief, str(facts.pop("letter")).encode())
        say(
            as_json,
            {**facts, "letter": str(brief)},
            f"Vastgelegd als onterecht-{facts['number']}. Het antwoord van deze partner is hier ingetrokken.",
            f"Brief: {brief}. Vul in om wie het gaat, en stuur hem beveiligd of geef hem af. Niet met gewone e-mail.",
            "Gebruik het antwoord niet meer, en haal het uit uw eigen aantekeningen.",
        )


def _names(colleagues: list[dict[str, str]]) -> str:
    return ", ".join(f"{one['name']} ({one['user']})" for one in colleagues) or "niemand"
