"""The closed lists of words that a covenant's files may use: kinds of organisation, modes, legal frames, statuses."""

from enum import StrEnum


class Kind(StrEnum):
    """What sort of organisation a participant is (`soort`). Direction rules speak of these."""

    OM = "om"
    POLITIE = "politie"
    RECLASSERING = "reclassering"
    RVDK = "rvdk"
    DJI = "dji"
    CJIB = "cjib"
    HALT = "halt"
    GI = "gi"
    GI_JEUGDRECLASSERING = "gi_jeugdreclassering"
    COLLEGE_BW = "college_bw"
    BURGEMEESTER = "burgemeester"
    WIJKTEAM = "wijkteam"
    SCHULDHULP = "schuldhulp"
    WMO_AANBIEDER = "wmo_aanbieder"
    JEUGDHULP = "jeugdhulp"
    GGD = "ggd"
    GGZ = "ggz"
    VEILIG_THUIS = "veilig_thuis"
    ZVH = "zvh"
    CASUSOVERLEG_PGA = "casusoverleg_pga"
    SLACHTOFFERHULP = "slachtofferhulp"
    WONINGCORPORATIE = "woningcorporatie"
    # Named so that they can be refused by name: direction rule D10.
    ZORGVERZEKERAAR = "zorgverzekeraar"
    WERKGEVER = "werkgever"
    SCHOOL = "school"
    VERHUURDER = "verhuurder"
    COMMERCIEEL = "commercieel"


class Mode(StrEnum):
    """How a source answers for a purpose (protocol section 9)."""

    AUTOMATIC = "automatisch"
    STANDING = "standaardbesluit"
    MANUAL = "handmatig"
    CONSENT = "toestemming"
    NEVER = "nooit"

    @property
    def by_machine(self) -> bool:
        """Whether the node answers without a person deciding at that moment."""
        return self in {Mode.AUTOMATIC, Mode.STANDING}


class Frame(StrEnum):
    """The legal frame of a purpose (`kader`); `directions.py` ties each to the laws that open it."""

    STRAFVORDERING = "strafvordering"
    SOCIAAL_DOMEIN = "sociaal_domein"
    VEILIG_THUIS = "veilig_thuis"
    ZVH = "zvh"
    NAZORG = "nazorg"
    VERWARD_GEDRAG = "verward_gedrag"
    RADICALISERING = "radicalisering"


class GroundStatus(StrEnum):
    """How far a ground has been tested by a lawyer."""

    TESTED = "getoetst"
    TO_TEST = "te_toetsen"
    DISPUTED = "omstreden"


class CheckedBy(StrEnum):
    """Who can check a condition: all from the Question, the requester (who attests it by signing), or the source."""

    QUESTION = "vraag"
    REQUESTER = "vrager"
    SOURCE = "bron"


class ConditionForm(StrEnum):
    """What the requester states for a condition (`vorm`): that it holds, or a value that is then checked."""

    CONFIRM = "bevestiging"
    DATE = "datum"
    AGE = "leeftijd"
    CHOICE = "keuze"
    CONSENT = "toestemming"


class IdentifierKind(StrEnum):
    """Kinds of identifier that a purpose admits. `test` is for demo covenants only."""

    BSN = "bsn"
    TEST = "test"
