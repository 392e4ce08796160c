"""`bekend node leave`: what a partner that leaves destroys, and what it and the others still have to do."""

from pathlib import Path
from typing import Annotated

import typer

from bekend_node.config import load_config
from bekend_node.leave import carry_out, check_left, plan
from bekend_node.terminal import AsJson, Config, faults, say

YOURS = (
    "the database, state.key and the privacy officer's key: keep them until their term (`bekend node retention show`)",
    "backups and standbys of data and keys: destroy every one; as long as one is left, nothing is gone",
    "the certificate: have it revoked; the ondertekenaar's key: destroy it when the database has gone",
    "lists in the inbox, and exports at the source: they hold numbers",
)
OTHERS = (
    "the operator: a covenant version without this partner, signed by all; until then the suspension",
    "the operator: the entry in the network policy, alert rules and contact list",
    "requesters: nothing; filters of this partner are dropped with the version, answers and receipts stay theirs",
    "citizens: answer open access requests before; afterwards the broker evaluates none for this partner",
)


def leave(
    config: Config = Path("node.yaml"),
    note: Annotated[
        Path | None, typer.Option(help="Signed suspension of this node, while the covenant still names it.")
    ] = None,
    destroy: Annotated[bool, typer.Option("--destroy", help="Do it. Without this nothing is changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Leave the federation: show what is destroyed, what is kept and who does what. With --destroy, destroy it."""
    with faults(as_json):
        settings = load_config(config)
        if destroy:
            check_left(settings, note)
        found = carry_out(settings) if destroy else plan(settings)
        word = "destroyed" if destroy else "would be destroyed"
        say(
            as_json,
            {
                "destroyed" if destroy else "would_destroy": [str(path) for path in found.destroyed],
                "kept": [str(path) for path in found.kept],
                "yours": YOURS,
                "others": OTHERS,
            },
            *(f"{word}: {path}" for path in found.destroyed),
            *(f"kept: {path}" for path in found.kept),
            "Still to do here:",
            *(f"  {line}" for line in YOURS),
            "At others:",
            *(f"  {line}" for line in OTHERS),
        )
