"""Signed suspensions of the test federation's partners and operator."""

from datetime import datetime, timedelta
from pathlib import Path

from bekend_deploy.partners import BROKER_OIN, COVENANT
from bekend_policy.suspension import Suspension, What
from bekend_proto.note import note_name, sign_note

from tests.support.federation import Federation

REASON = "Oefening: gegevens lekken misschien"


def suspension(
    federation: Federation,
    what: str,
    about: str = "",
    *,
    by: str = BROKER_OIN,
    number: int = 1,
    lifted: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Suspension:
    return Suspension(
        covenant_id=COVENANT,
        number=number,
        by=by,
        what=What(what),
        about=about,
        reason=REASON,
        since=(since or federation.clock.now() - timedelta(seconds=1)).replace(microsecond=0),
        until=until,
        lifted=lifted,
    )


def signed(federation: Federation, found: Suspension, signer: str | None = None) -> bytes:
    """The note as its signer, or another one, signs it."""
    oin = signer or found.by
    if oin == BROKER_OIN:
        return sign_note(found.text(), note_name(oin, "beheerder"), bytes(federation.operator))
    return sign_note(found.text(), note_name(oin, "ondertekenaar"), bytes(federation.parties[oin].signer))


def version_two(folder: Path) -> None:
    """The same covenant, one version on."""
    path = folder / "afspraken.yaml"
    path.write_text(path.read_text("utf-8").replace("versie: '1'", "versie: '2'"), "utf-8")
