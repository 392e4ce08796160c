"""The command `bekend` as it meets Windows, as far as this machine can imitate it.

    python -m tests.support.windows policy sign manifest-1 --sleutel own.key

Gone are the modules and functions that only POSIX has; a file's mode says that everybody may read it; text that is
written without saying how its lines end gets the ends of Windows; a folder cannot be opened; `sys.platform` says win32
once the libraries of others are loaded.
"""

import builtins
import importlib
import importlib.abc
import io
import os
import stat
import sys
from typing import Any

NO_MODULES = {"fcntl", "resource", "pwd", "grp", "spwd", "crypt", "termios", "tty", "pty", "syslog", "posix", "uvloop"}
NO_FUNCTIONS = (
    *("fork", "forkpty", "getuid", "geteuid", "getgid", "getegid", "setsid", "killpg", "getpgid", "chown", "fchown"),
    *("fchmod", "nice", "sched_getaffinity", "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "mkfifo"),
)


class _Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name in NO_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _open(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
          newline: Any = None, *more: Any, **named: Any) -> Any:  # fmt: skip
    if "b" not in mode and mode[0] in "wxa" and newline is None:
        newline = "\r\n"
    return _real_open(file, mode, buffering, encoding, errors, newline, *more, **named)


def _opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return _real_os_open(path, flags, *more, **named)


def _stat(*words: Any, **named: Any) -> os.stat_result:
    found = _real_stat(*words, **named)
    mode = found.st_mode | (0o777 if stat.S_ISDIR(found.st_mode) else 0o666)
    return os.stat_result((mode, *found[1:]))


_real_open, _real_os_open, _real_stat = io.open, os.open, os.stat


def imitate(*parts: str) -> None:
    """Load these parts, then make this process look like Windows."""
    for name in NO_MODULES & set(sys.modules):
        if name != "posix":
            del sys.modules[name]
    sys.meta_path.insert(0, _Missing())
    for name in NO_FUNCTIONS:
        if hasattr(os, name):
            delattr(os, name)
    cli = importlib.import_module("bekend_deploy.cli")
    for part in parts:
        importlib.import_module(cli.PARTS[part].module)
    io.open = builtins.open = _open
    os.open, os.stat = _opened, _stat
    sys.platform = "win32"


if __name__ == "__main__":
    imitate(sys.argv[1])
    importlib.import_module("bekend_deploy.cli").main()
