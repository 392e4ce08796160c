"""The file behind the control socket: made so that nobody else can take its place, and found however deep it lies."""

import contextlib
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from bekend_proto.errors import StorageError


def bind(path: Path, group: str | None = None) -> socket.socket:
    """A socket at this path, in a folder that nobody else can change: for its owner alone, or for a group too."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise StorageError(
                f"{path.parent} can be changed by others, who could put their own socket there: run "
                f"`chmod 700 {path.parent}`"
            )
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with reachable(path) as name:
                listening.bind(name)
            # Nobody can connect before `listen`, so the mode is never wider than this.
            path.chmod(0o600)
            if group is not None:
                _admit(path, group)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise StorageError(
            f"the control socket {path} cannot be made ({error.strerror}): see `socket` in node.yaml"
        ) from (error)
    return listening


def _admit(path: Path, group: str) -> None:
    """Let the members of a group connect. The folder is the operator's: they must be able to pass through it."""
    try:
        shutil.chown(path, group=group)
    except (LookupError, PermissionError):
        raise StorageError(
            f"the control socket cannot be given to the group {group}: it must exist, with the node's user as a member"
        ) from None
    path.chmod(0o660)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a node that was killed; one that answers belongs to a node that runs."""
    if not path.exists():
        return
    if not path.is_socket():
        raise StorageError(f"{path} is no socket: choose another `socket` in node.yaml")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, reachable(path) as name:
        try:
            probe.connect(name)
        except OSError:
            path.unlink()
            return
    raise StorageError(f"another node serves {path}: stop it first")


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for this socket that fits the kernel's 107 bytes, however deep its folder."""
    if len(os.fsencode(path)) <= 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
