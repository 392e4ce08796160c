"""The closed lists of words that a covenant's files may use: kinds of organisation, modes, legal frames, statuses."""

from enum import StrEnum

from bekend_proto.identifiers import POSSIBLE_KINDS
from bekend_proto.v1 import signed_pb2


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
    """Kinds of identifier that a purpose admits: those of `bekend_proto.identifiers`. `test` is for demos only.

    A number names one person; a combination of name and dates may name several, and is answered by hand.
    """

    BSN = "bsn"
    SKN = "skn"
    V_NUMMER = "v-nummer"
    TEST = "test"
    NAME_BIRTH = "naam-geboortedatum"
    NAME_DAY_MONTH = "naam-dagmaand"
    NAME_POSTCODE = "naam-postcode"
    NAME_BIRTH_POSTCODE = "naam-geboortedatum-postcode"

    @property
    def possible(self) -> bool:
        """Whether it may name more persons than one."""
        return self in POSSIBLE_KINDS


def class_of_kind(kind: str) -> "signed_pb2.KindClass.ValueType":
    """The class of a question by this kind of identifier; that of a kind which is not known is certain."""
    return signed_pb2.KIND_CLASS_POSSIBLE if kind in POSSIBLE_KINDS else signed_pb2.KIND_CLASS_CERTAIN
