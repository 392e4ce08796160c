"""Signing keys of people: Ed25519, in a file of mode 0600, wrapped under a passphrase.

The file is strict YAML: name, verification key, and the seed in a SecretBox under Argon2id of the passphrase. It is
created once and never overwritten. Whoever loses the passphrase makes a new key, and a new covenant version pins it.
Faults are in Dutch: these keys belong to people.
"""

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import nacl.utils
from bekend_proto.errors import KeysError
from bekend_proto.note import vkey_of
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.signing import SigningKey as Ed25519
from pydantic import AfterValidator, Field

from bekend_policy.scalars import Whole
from bekend_policy.strict_yaml import StrictModel, YamlFaults, load_yaml

KIND = "bekend/1 signing-key"
MIN_PASSPHRASE = 12
"""Characters; asked when a key is made."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An opened signing key. Its text form shows the public half only."""

    name: str
    vkey: str
    seed: bytes = field(repr=False)


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    return value


_Bytes = Annotated[str, AfterValidator(_base64)]


class _KeyFile(StrictModel):
    kind: str
    name: str
    public: str
    operations: Annotated[Whole, Field(ge=argon2id.OPSLIMIT_INTERACTIVE, le=argon2id.OPSLIMIT_SENSITIVE)]
    memory: Annotated[Whole, Field(ge=argon2id.MEMLIMIT_INTERACTIVE, le=argon2id.MEMLIMIT_SENSITIVE)]
    salt: _Bytes
    wrapped: _Bytes


def create_signing_key(
    path: Path,
    name: str,
    passphrase: str,
    *,
    operations: int = argon2id.OPSLIMIT_MODERATE,
    memory: int = argon2id.MEMLIMIT_MODERATE,
) -> SigningKey:
    """Make a key and write it to a new file of mode 0600.

    `operations` and `memory` are Argon2id's, at least libsodium's interactive limits. Raises KeysError when the file
    exists or the passphrase is shorter than 12 characters, MalformedError for a bad name.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise KeysError(f"het wachtwoord is korter dan {MIN_PASSPHRASE} tekens: kies een langer wachtwoord")
    key = Ed25519.generate()
    vkey = vkey_of(name, bytes(key.verify_key))
    salt = nacl.utils.random(argon2id.SALTBYTES)
    box = SecretBox(_wrapping_key(passphrase, salt, operations, memory))
    text = (
        f"# Signing key, wrapped under a passphrase. Keep this file off line; show others only the line 'public'.\n"
        f"kind: {KIND}\n"
        f'name: "{name}"\n'
        f'public: "{vkey}"\n'
        f"operations: {operations}\n"
        f"memory: {memory}\n"
        f'salt: "{base64.b64encode(salt).decode()}"\n'
        f'wrapped: "{base64.b64encode(box.encrypt(bytes(key))).decode()}"\n'
    )
    _write_new(path, text.encode())
    return SigningKey(name, vkey, bytes(key))


def open_signing_key(path: Path, passphrase: str) -> SigningKey:
    """Open a key file. Raises KeysError, naming the remedy, when it cannot be read or the passphrase is wrong."""
    try:
        mode = path.stat().st_mode
        file = load_yaml(path, _KeyFile, language="nl")
    except (OSError, YamlFaults) as error:
        raise KeysError(f"het sleutelbestand is niet te gebruiken: {error}") from error
    if mode & 0o077:
        raise KeysError(f"ook anderen mogen {path} lezen: draai 'chmod 600 {path}'")
    if file.kind != KIND:
        raise KeysError(f"{path} is geen ondertekensleutel: er hoort 'kind: {KIND}' in te staan")
    box = SecretBox(_wrapping_key(passphrase, base64.b64decode(file.salt), file.operations, file.memory))
    try:
        seed = box.decrypt(base64.b64decode(file.wrapped))
    except CryptoError as error:
        raise KeysError(
            "het wachtwoord past niet op deze sleutel: probeer opnieuw, of controleer welk bestand u gaf"
        ) from error
    if len(seed) != 32 or vkey_of(file.name, bytes(Ed25519(seed).verify_key)) != file.public:
        raise KeysError(f"{path} is beschadigd: openbare en geheime sleutel passen niet bij elkaar; gebruik uw kopie")
    return SigningKey(file.name, file.public, seed)


def _wrapping_key(passphrase: str, salt: bytes, operations: int, memory: int) -> bytes:
    if len(salt) != argon2id.SALTBYTES:
        raise KeysError("het sleutelbestand is beschadigd: gebruik uw kopie")
    return argon2id.kdf(SecretBox.KEY_SIZE, passphrase.encode(), salt, opslimit=operations, memlimit=memory)


def _write_new(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeysError(f"{path} bestaat al: een sleutel wordt nooit overschreven; geef een andere naam") from error
    except OSError as error:
        raise KeysError(f"{path} is niet te schrijven ({error.strerror}): controleer de map") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
