"""Texts of the report's annexes: who learns what, the art. 30 register, the risks for the DPIA. Dutch, for who signs.

Sources: protocol section 2 (who learns what), AVG 30 and 35, and the risks that an FG asks to see written out.
"""

from dataclasses import dataclass

from bekend_policy.model import Covenant, Mode, Purpose
from bekend_policy.processing_log import activity_id
from bekend_policy.wording import asker, count, ground, listed, on_day, party, term

WHO_LEARNS = (
    ("vrager", "heeft hij al", "één bit per bron die het convenant laat antwoorden", "ja"),
    ("makelaar", "niets", "niets: antwoorden zijn versleuteld en even lang", "vrager, bron, doel, tijd, aantal"),
    ("bron die vanzelf antwoordt", "niets", "niets", "vrager, doel, tijd"),
    ("bron met handmatige vrijgave", "alleen van een eigen cliënt", "het eigen antwoord", "vrager, doel, tijd"),
    (
        "privacy officer van de bron, achteraf",
        "alleen wie hij zelf opgeeft",
        "wat deze bron over die persoon antwoordde",
        "ja",
    ),
    ("andere partners", "niets", "niets", "niets"),
)
"""Party, identity of the person, that the source knows the person, that a question was asked."""

OUTCOMES = (
    ("bekend", "de bron kent de persoon; naam en loket van de bron, niets anders"),
    (
        "mogelijk bekend",
        "de bron kent iemand met deze naam en datum; een collega vergeleek de gegevens. Geen zekerheid",
    ),
    ("geen uitsluitsel", "zegt niets over de persoon: niet bekend, afgeschermd en geweigerd zien er hetzelfde uit"),
    ("geen antwoord", "de bron antwoordde niet, of er ging iets mis; vraag het later opnieuw"),
    ("niet bevraagd", "het convenant laat deze vraag niet toe, of de vrager koos deze bron niet"),
)

RISKS: tuple[tuple[str, str, str], ...] = (
    (
        "Mensen mijden hulp, omdat bekend zijn bij GGZ of Veilig Thuis wordt gedeeld.",
        "GGZ, jeugdhulp en Veilig Thuis antwoorden nooit vanzelf (D4, D5); afschermen kan bij de bron.",
        "Leg uit aan cliënten wat wordt gedeeld; bepaal wie standaard wordt afgeschermd.",
    ),
    (
        "Een treffer wordt een stempel.",
        "De uitkomst is naam en loket, geen score of reden; zij vervalt na een vaste termijn.",
        "Spreek af dat op een uitkomst alleen geen besluit volgt (AVG 22).",
    ),
    (
        "De naam van de bron verraadt gezondheid of strafrecht.",
        "Een doel noemt elke bron met een eigen grond; de vrager kiest per vraag wie hij vraagt.",
        "Weeg per bron of de naam alleen al te veel zegt.",
    ),
    (
        "Herhaald vragen wordt volgen.",
        "Grenzen per medewerker en per organisatie; elke vraag staat in drie logboeken.",
        "Lees de logboeken steekproefsgewijs na.",
    ),
    (
        "In een kleine gemeente wijst een treffer een collega of buur aan.",
        "Afschermen bij de bron, onzichtbaar voor anderen.",
        "Houd een lijst van eigen medewerkers bij, en vraag daar met vier ogen.",
    ),
    (
        "Een ex-partner werkt bij een partner.",
        "Elke vraag hangt aan een zaaknummer en een medewerker; de bron ziet vrager en doel.",
        "Controleer achteraf, ook op vragen zonder echte zaak.",
    ),
    (
        "Een dader oefent rechten uit en leert zo over een ander.",
        "Het logboek van een persoon bevat alleen vragen over die persoon.",
        "Beoordeel inzage per persoon; weiger wat een ander raakt.",
    ),
    (
        "Toestemming in een afhankelijke positie is niet vrij.",
        "Toestemming is een voorwaarde met datum; de bron beslist daarna zelf.",
        "Laat de RAC beoordelen of toestemming hier de grond kan zijn (AVG 7).",
    ),
    (
        "Het doel schuift van 'wie is betrokken' naar 'hoe vaak'.",
        "Er is geen aantal, geen datum en geen geschiedenis in een antwoord.",
        "Meet eens per jaar of de uitkomst een besluit veranderde; schrap wat niet werkt.",
    ),
    (
        "Een thematafel voldoet niet aan de eisen van de wet.",
        "Elk doel heeft een eigen kader en grondslag; de richtingsregels staan vast.",
        "Toets of de tafel een grondslag heeft voordat zij dit doel gebruikt.",
    ),
    (
        "Een standaardbesluit blijft voor altijd staan.",
        "Het geldt ten hoogste een jaar en moet getekend zijn; daarna antwoordt de bron niet vanzelf.",
        "Bekijk elk besluit opnieuw voordat het wordt verlengd.",
    ),
    (
        "De makelaar groeit uit tot een centrale index.",
        "De makelaar ziet geen persoon, geen antwoord, en kan twee vragen over één persoon niet koppelen.",
        "Laat de auditor dit nagaan; de makelaar neemt zelf niet deel.",
    ),
)
"""Risk, what the software does about it, what the partners must do themselves."""


@dataclass(frozen=True)
class Processing:
    """One entry of the register of AVG 30(1): what is asked, and what is known from the covenant."""

    purpose: Purpose
    rows: tuple[tuple[str, str], ...]


def processing(covenant: Covenant, purpose: Purpose) -> Processing:
    """The entry of this purpose. What the covenant does not say is for each partner to add, and says so."""
    askers = [asker(covenant, it.oin, "") for it in covenant.requesters(purpose.id).values()]
    sources = covenant.sources(purpose.id).values()
    answering = [party(covenant, it.oin) for it in sources if it.mode is not Mode.NEVER]
    log = count(purpose.log_years or covenant.agreement.log_years, "jaar", "jaar")
    return Processing(
        purpose,
        (
            ("Verwerkingsverantwoordelijken", listed(dict.fromkeys([*askers, *answering]))),
            ("Kenmerk", f"{activity_id('<OIN van uw organisatie>', purpose.id)} (zo verwijst het logboek ernaar)"),
            ("Contact FG", "in te vullen door elke organisatie"),
            ("Verwerker", f"{covenant.agreement.operator.name} (makelaar)"),
            ("Doel", purpose.description.strip()),
            ("Grondslag van de vrager", "; ".join(map(ground, purpose.requester_grounds))),
            ("Betrokkenen", purpose.persons or "de persoon in de zaak"),
            (
                "Gegevens",
                f"{listed(sorted(purpose.kinds), 'of')}, alleen geblindeerd buiten de eigen organisatie; per bron of "
                "die de persoon kent. Dat kan een gegeven zijn over gezondheid (AVG 9) of strafrecht (AVG 10).",
            ),
            ("Ontvangers van de uitkomst", listed(askers)),
            ("Doorgifte buiten de EU", "nee"),
            ("Bewaren", f"uitkomst {term(purpose.result_lifetime)}; logboek {log}"),
            ("Informeren", purpose.informing + (f" Uitstel: {purpose.deferral.ground}." if purpose.deferral else "")),
            ("DPIA", purpose.dpia or "ontbreekt"),
            ("Advies RAC", purpose.advice or "ontbreekt"),
            ("Geldt tot en met", on_day(purpose.last_day or covenant.agreement.last_day)),
            ("Beveiliging", "zie bijlage C; verder de BIO-maatregelen van elke organisatie"),
        ),
    )
