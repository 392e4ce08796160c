"""Drills of what a machine is trusted for: its clock, its list of revoked certificates, and that it is the only one."""

import shutil
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bekend_deploy import restoring
from bekend_deploy.building import NodeFiles
from bekend_deploy.partners import POLITIE
from bekend_deploy.processes import Process

from bekend_bench.drills import Drill, DrillFailedError, Field

OFF: Final = 180
"""Seconds: three times what a message may differ."""
BEHIND: Final = 3 * 24 * 3600
FENCED: Final = 8
"""Exit code of a node in whose place another machine came."""
ENDS: Final = 60.0
"""Seconds within which that machine has to end."""


def clock_ahead(it: Field) -> None:
    """A node's clock jumps ahead; later it is set right under the running process."""
    _wrong_clock(it, OFF)


def clock_behind(it: Field) -> None:
    """The same with a clock that is days behind: nothing that it does then may stand when it is right again."""
    _wrong_clock(it, -BEHIND)


def _wrong_clock(it: Field, seconds: int) -> None:
    shift = it.folder.with_name("clock-shift")
    shift.write_text("0", encoding="ascii")
    it.process().stop()
    launcher = (sys.executable, "-m", "bekend_bench.shifted", str(shift))
    words = ("node", "serve", "--config", str(it.config()))
    it.federation.nodes[POLITIE.oin] = Process("clock", words, it.config().with_name("node.log"), command=launcher)
    it.federation.wait_until_attached()
    it.begins()
    _put(shift, seconds)
    it.broken()
    _put(shift, 0)
    it.mended()


def _put(shift: Path, seconds: int) -> None:
    part = shift.with_suffix(".part")
    part.write_text(str(seconds), encoding="ascii")
    part.replace(shift)


def stale_list(it: Field) -> None:
    """The broker's list of revoked certificates was not refreshed for days: it lets nobody in. It is refreshed."""
    authority, now = it.federation.built.authority, datetime.now(UTC)
    authority.write_revoked(now - timedelta(days=4), now - timedelta(days=1))
    try:
        it.broken()
    finally:
        authority.write_revoked(now, now + timedelta(days=7))
    it.mended()


def promoted(it: Field) -> None:
    """A node hangs; its standby takes over, with a backup of a moment ago; the first one wakes up, and has to end."""
    node = it.federation.built.nodes[POLITIE.oin]
    arrived = it.folder.with_name("arrived")
    config = _prepare(it, node, arrived)
    it.begins()
    first = it.process()
    first.signal(signal.SIGSTOP)
    it.broken()
    it.mended()
    restoring.bekend("node", "promote", str(arrived), "--config", str(config))
    it.federation.built.nodes[POLITIE.oin] = replace(node, folder=config.parent, config=config)  # type: ignore[index]
    it.start()
    first.signal(signal.SIGCONT)
    restoring.enrol_again(it.federation, POLITIE.oin, it.federation.population.fixed.nowhere)
    if first.wait(ENDS) != FENCED:
        raise DrillFailedError(f"the machine that was replaced ended with {first.exit_code}, not {FENCED}")


def _prepare(it: Field, node: NodeFiles, arrived: Path) -> Path:
    """What is done once, beforehand: both logs in the manifest, a backup that arrived; the standby's configuration."""
    given = node.config.read_text(encoding="utf-8")
    node.config.write_text(given + "logs: [node-standby]\n", encoding="utf-8")
    restoring.sign("node", node.config, node.off_line.signer)
    it.process().signal(signal.SIGHUP)
    restoring.backup_node(it.federation, POLITIE.oin, arrived)
    folder = node.folder.with_name("standby")
    shutil.copytree(node.folder, folder, ignore=shutil.ignore_patterns("data", "*.log", "node.sock"))
    config = folder / "node.yaml"
    # Two of them on this machine: the port of the metrics is that of the first.
    lines = [line for line in given.splitlines() if not line.startswith("metrics:")]
    config.write_text("\n".join([*lines, ""]), encoding="utf-8")
    restoring.set_log(config, "node-standby")
    restoring.bekend("node", "standby", str(arrived), "--config", str(config))
    return config


MACHINES: Final = (
    Drill("revocation", "the broker's list of revoked certificates is too old", "it is refreshed", stale_list),
    Drill("standby", "a node hangs, and its standby takes over", "promotion, start, imports", promoted),
    Drill("clock-behind", "a node's clock is 3 days behind", "the clock is set right", clock_behind),
    Drill("clock", f"a node's clock is {OFF // 60} minutes ahead", "the clock is set right", clock_ahead),
)
