"""Drills of one party: its process, its disk, its certificate, its lists, its data; and the way back from a backup."""

import contextlib
import resource
import shutil
import signal
import sqlite3
from datetime import datetime, timedelta
from typing import Final

from bekend_deploy import restoring
from bekend_deploy.partners import POLITIE
from bekend_deploy.processes import ProcessFailed

from bekend_bench.drills import Drill, DrillFailedError, Field


def kill_node(it: Field) -> None:
    """SIGKILL, and a supervisor that starts it again at once."""
    it.process().kill()
    it.start()


def kill_broker(it: Field) -> None:
    """The same for the broker: nodes dial again by themselves."""
    it.process(None).kill()
    it.start(None)


def still_broker(it: Field) -> None:
    """The broker stands still: connections stay open and nothing comes, as when a network is cut."""
    it.process(None).signal(signal.SIGSTOP)
    try:
        it.broken()
    finally:
        it.process(None).signal(signal.SIGCONT)
    it.mended()


def still_node(it: Field) -> None:
    """The same for a node."""
    it.process().signal(signal.SIGSTOP)
    try:
        it.broken()
    finally:
        it.process().signal(signal.SIGCONT)
    it.mended()


def _full(it: Field, oin: str | None) -> None:
    """No file of the process can grow: what the kernel answers as on a full disk, for each write."""
    pid = it.process(oin).pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        it.broken()
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    it.mended()


def full_node(it: Field) -> None:
    """A node's disk is full, and gets room."""
    _full(it, POLITIE.oin)


def full_broker(it: Field) -> None:
    """The broker's disk is full, and gets room."""
    _full(it, None)


def expired_certificate(it: Field) -> None:
    """A node that starts with a certificate that ended; a new one is put in its place."""
    built, node = it.federation.built, it.federation.built.nodes[POLITIE.oin]
    paths = (node.tls.certificate, node.tls.key)
    kept = [path.read_bytes() for path in paths]
    it.process().kill()
    now = datetime.now().astimezone()
    over = built.authority.issue(
        "ended", POLITIE.name, POLITIE.oin, valid_from=now - timedelta(days=2), valid_until=now - timedelta(days=1)
    )
    for path, other in zip(paths, (over.certificate, over.key), strict=True):
        path.write_bytes(other.read_bytes())
    with contextlib.suppress(ProcessFailed):
        it.start()
        raise DrillFailedError("a node served with a certificate that ended")
    it.broken()
    for path, octets in zip(paths, kept, strict=True):
        path.write_bytes(octets)
    it.mended()
    it.start()


def missing_register(it: Field) -> None:
    """A register has no list: the node says which, and answers nothing; the list is imported."""
    it.process().kill()
    with contextlib.closing(sqlite3.connect(it.config().parent / "data" / "registers.db")) as registers:
        registers.execute("DELETE FROM generation")
        registers.commit()
    it.start()
    it.broken()
    it.mended()
    _import(it)


def restore_node(it: Field) -> None:
    """A node loses its data folder, and comes back from a backup: restore, signature, start, imports, two minutes."""
    backup = restoring.backup_node(it.federation, POLITIE.oin, it.folder)
    it.process().kill()
    shutil.rmtree(it.config().parent / "data")
    it.broken(0)
    it.mended()
    restoring.restore_node(it.federation, POLITIE.oin, backup, "node-restored")
    it.start()
    restoring.enrol_again(it.federation, POLITIE.oin, it.federation.population.fixed.nowhere)


def restore_broker(it: Field) -> None:
    """The broker loses its data folder, and comes back from a backup: restore, signature, start, two minutes."""
    backup = restoring.backup_broker(it.federation, it.folder)
    it.process(None).kill()
    shutil.rmtree(it.config(None).parent / "data")
    it.broken(0)
    it.mended()
    restoring.restore_broker(it.federation, backup, "restored")
    it.start(None)


def _import(it: Field) -> None:
    for work in it.federation.imports():
        if work.node.partner.oin == POLITIE.oin:
            it.federation.enrol(work)


DRILLS: Final = (
    Drill("node-killed", "a node is killed", "a supervisor starts it", kill_node),
    Drill("broker-killed", "the broker is killed", "a supervisor starts it", kill_broker),
    Drill("node-still", "a node stands still, as a machine that hangs", "it goes on", still_node),
    Drill("network-cut", "the broker stands still, as when the network is cut", "it goes on", still_broker),
    Drill("node-disk", "the disk of a node is full", "room is made", full_node),
    Drill("broker-disk", "the disk of the broker is full", "room is made", full_broker),
    Drill("certificate", "a node's certificate has expired", "a new one, and a start", expired_certificate),
    Drill("register", "a register is missing", "the list is imported", missing_register),
)
RESTORES: Final = (
    Drill("restore-node", "a node's data is lost", "restore, signature, start, imports", restore_node),
    Drill("restore-broker", "the broker's data is lost", "restore, signature, start", restore_broker),
)
"""In a federation of their own: a register takes two full imports a month, and a drill before has used one."""
