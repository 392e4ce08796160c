"""Signing keys of people: Ed25519, in a file of mode 0600, wrapped under a passphrase.

The file is strict YAML: name, verification key, and the seed in a SecretBox under Argon2id of the passphrase. It is
created once and never overwritten. Whoever loses the passphrase makes a new key, and a new covenant version pins it.
Faults are in Dutch: these keys belong to people.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bekend_proto.errors import KeysError
from bekend_proto.note import vkey_of
from nacl.signing import SigningKey as Ed25519

from bekend_policy.passphrase import MEMORY, MIN_PASSPHRASE, OPERATIONS, Wrapped, open_to_others, wrap, write_new
from bekend_policy.strict_yaml import YamlFaults, load_yaml

KIND = "bekend/1 signing-key"
DOES_NOT_FIT = "het wachtwoord past niet op deze sleutel: probeer opnieuw, of controleer welk bestand u gaf"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An opened signing key. Its text form shows the public half only."""

    name: str
    vkey: str
    seed: bytes = field(repr=False)


class _KeyFile(Wrapped):
    kind: str
    name: str
    public: str


def check_passphrase(passphrase: str) -> None:
    """Raises KeysError, in Dutch, when a new passphrase is too short."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise KeysError(f"het wachtwoord is korter dan {MIN_PASSPHRASE} tekens: kies een langer wachtwoord")


def create_signing_key(
    path: Path,
    name: str,
    passphrase: str,
    *,
    operations: int = OPERATIONS,
    memory: int = MEMORY,
) -> SigningKey:
    """Make a key and write it to a new file of mode 0600.

    `operations` and `memory` are Argon2id's, at least libsodium's interactive limits. Raises KeysError when the file
    exists or the passphrase is shorter than 12 characters, MalformedError for a bad name.
    """
    check_passphrase(passphrase)
    key = Ed25519.generate()
    vkey = vkey_of(name, bytes(key.verify_key))
    text = (
        f"# Signing key, wrapped under a passphrase. Keep this file off line; show others only the line 'public'.\n"
        f"kind: {KIND}\n"
        f'name: "{name}"\n'
        f'public: "{vkey}"\n'
        f"{wrap(bytes(key), passphrase, operations=operations, memory=memory)}"
    )
    write_new_key(path, text)
    return SigningKey(name, vkey, bytes(key))


def open_signing_key(path: Path, passphrase: str) -> SigningKey:
    """Open a key file. Raises KeysError, naming the remedy, when it cannot be read or the passphrase is wrong."""
    try:
        mode = path.stat().st_mode
        file = load_yaml(path, _KeyFile, language="nl")
    except (OSError, YamlFaults) as error:
        raise KeysError(f"het sleutelbestand is niet te gebruiken: {error}") from error
    if open_to_others(mode):
        raise KeysError(f"ook anderen mogen {path} lezen: draai 'chmod 600 {path}'")
    if file.kind != KIND:
        raise KeysError(f"{path} is geen ondertekensleutel: er hoort 'kind: {KIND}' in te staan")
    seed = file.unwrap(passphrase)
    if seed is None:
        raise KeysError(DOES_NOT_FIT)
    if len(seed) != 32 or vkey_of(file.name, bytes(Ed25519(seed).verify_key)) != file.public:
        raise KeysError(f"{path} is beschadigd: openbare en geheime sleutel passen niet bij elkaar; gebruik uw kopie")
    return SigningKey(file.name, file.public, seed)


def write_new_key(path: Path, text: str) -> None:
    """Write a new key file of mode 0600. Raises KeysError, in Dutch, when it exists or cannot be written."""
    try:
        write_new(path, text.encode())
    except FileExistsError as error:
        raise KeysError(f"{path} bestaat al: een sleutel wordt nooit overschreven; geef een andere naam") from error
    except OSError as error:
        raise KeysError(f"{path} is niet te schrijven ({error.strerror}): controleer de map") from error
