"""A secret in a file, wrapped under a passphrase: SecretBox under Argon2id, both libsodium's.

The four fields stand in strict YAML files: signing keys of people, the privacy officer's key, the broker's backup.
Texts for people are theirs: this module says whether a passphrase fits, and nothing more.
"""

import base64
import binascii
import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Final

import nacl.utils
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from pydantic import AfterValidator, Field

from bekend_policy.scalars import Whole
from bekend_policy.strict_yaml import StrictModel

MIN_PASSPHRASE: Final = 12
"""Characters; asked when something is wrapped."""
OPERATIONS: Final = argon2id.OPSLIMIT_MODERATE
MEMORY: Final = argon2id.MEMLIMIT_MODERATE
"""Cost of a new wrapping: most of a second and 256 MiB."""


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    return value


def _salt(value: str) -> str:
    if len(base64.b64decode(_base64(value))) != argon2id.SALTBYTES:
        raise ValueError("not a salt of 16 bytes")
    return value


class Wrapped(StrictModel):
    """A wrapped secret as a file holds it; the cost lies within libsodium's limits."""

    operations: Annotated[Whole, Field(ge=argon2id.OPSLIMIT_INTERACTIVE, le=argon2id.OPSLIMIT_SENSITIVE)]
    memory: Annotated[Whole, Field(ge=argon2id.MEMLIMIT_INTERACTIVE, le=argon2id.MEMLIMIT_SENSITIVE)]
    salt: Annotated[str, AfterValidator(_salt)]
    wrapped: Annotated[str, AfterValidator(_base64)]

    def unwrap(self, passphrase: str) -> bytes | None:
        """The secret, or None when the passphrase does not fit or the file was damaged."""
        salt = base64.b64decode(self.salt)
        try:
            return SecretBox(_key(passphrase, salt, self.operations, self.memory)).decrypt(
                base64.b64decode(self.wrapped)
            )
        except (CryptoError, ValueError):
            return None


def wrap(secret: bytes, passphrase: str, *, operations: int = OPERATIONS, memory: int = MEMORY) -> str:
    """The four lines of a file that keep this secret. `operations` and `memory` are Argon2id's."""
    salt = nacl.utils.random(argon2id.SALTBYTES)
    box = SecretBox(_key(passphrase, salt, operations, memory))
    return (
        f"operations: {operations}\n"
        f"memory: {memory}\n"
        f'salt: "{base64.b64encode(salt).decode()}"\n'
        f'wrapped: "{base64.b64encode(box.encrypt(secret)).decode()}"\n'
    )


def open_to_others(mode: int) -> bool:
    """Whether others than its owner may read a file of this mode.

    On Windows a mode says nothing of that: there the folder of the own account keeps others out.
    """
    return sys.platform != "win32" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def write_new(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, on disk when this returns. Raises FileExistsError, OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink()  # half a file would stand in the way of the next try
        raise


def destroy(path: Path) -> None:
    """Overwrite a file with zeros and remove it. Raises OSError.

    File systems that copy on write, and disks that remap blocks, may keep older bytes.
    """
    with path.open("r+b") as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def _key(passphrase: str, salt: bytes, operations: int, memory: int) -> bytes:
    return argon2id.kdf(SecretBox.KEY_SIZE, passphrase.encode(), salt, opslimit=operations, memlimit=memory)
