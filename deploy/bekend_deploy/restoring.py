"""A loss, and the way back, with the commands that an operator types: for drills and tests.

What in life people do off line, signing a manifest, is done here with the keys that the federation was built with.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bekend_policy.keys import SigningKey
from bekend_proto.note import sign_note

from bekend_deploy import processes
from bekend_deploy.federation import Federation
from bekend_deploy.processes import ProcessFailed

SECONDS = 120.0


def bekend(*words: str, text: str = "") -> dict[str, Any]:
    """Run a command of `bekend` with `--json`; what it says. Raises ProcessFailed unless it ends with 0."""
    done = subprocess.run(  # noqa: S603 - our own command
        [*processes.BEKEND, *words, "--json"], input=text, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode != 0:
        raise ProcessFailed(f"bekend {' '.join(words[:2])} ended with {done.returncode}: {done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def backup_node(federation: Federation, oin: str, into: Path) -> Path:
    """Back up a node, which may run."""
    return Path(bekend("node", "backup", str(into), "--config", str(federation.config_of(oin)))["backup"])


def backup_broker(federation: Federation, into: Path) -> Path:
    """Back up the broker, which may run."""
    return Path(bekend("broker", "backup", str(into), "--config", str(federation.built.broker_config))["backup"])


def lose(config: Path) -> None:
    """The data folder beside a configuration is gone."""
    shutil.rmtree(config.parent / "data")


def restore_node(federation: Federation, oin: str, backup: Path, log: str) -> dict[str, Any]:
    """Put a node back under another name of its log, up to the signed manifest. It does not run, and runs not after."""
    node = federation.built.nodes[oin]
    set_log(node.config, log)
    done = bekend("node", "restore", str(backup), "--config", str(node.config))
    sign("node", node.config, node.off_line.signer)
    return done


def restore_broker(federation: Federation, backup: Path, log: str) -> dict[str, Any]:
    """Put the broker back under another name of its log, up to the signed manifest."""
    config = federation.built.broker_config
    set_log(config, log)
    done = bekend("broker", "restore", str(backup), "--config", str(config))
    sign("broker", config, federation.built.operator)
    return done


def set_log(config: Path, name: str) -> None:
    """Name a party's log in its configuration."""
    lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("log:")]
    config.write_text("\n".join([*lines, f"log: {name}", ""]), encoding="utf-8")


def sign(party: str, config: Path, key: SigningKey) -> None:
    """Make the next manifest, sign it as its off-line key does, and put it in place."""
    draft = Path(bekend(party, "manifest", "--config", str(config))["manifest"])
    note = sign_note(draft.read_text(encoding="utf-8"), key.name, key.seed)
    config.with_name("manifest.note").write_bytes(note)


def enrol_again(federation: Federation, oin: str, shielded: str) -> None:
    """Import every register of a node, and the list of who is shielded: one person, whom nobody knows."""
    for work in federation.imports():
        if work.node.partner.oin == oin:
            federation.enrol(work)
    words = ("node", "shield", "--all", "--kind", federation.population.kind)
    bekend(*words, "--config", str(federation.config_of(oin)), text=f"{shielded}\n")
