"""The key of a partner's privacy officer: one secret, wrapped twice, for the officer and for a deputy (section 8).

    opening   X25519: opens what is sealed to the privacy officer; its public half stands in the partner's key manifest
    signing   Ed25519: signs access requests; another key, because one key has one role

Each of the two holds a file of the own, under a passphrase of the own, and can do everything alone: who is ill or gone
takes no record along. A file is never overwritten. **Succession** writes a file for who comes and destroys that of who
goes; the key stays, so that older records can be opened. **Compromise** takes a new key: the old files are kept for the
records that were sealed to it. Faults are in Dutch: these keys belong to people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bekend_proto.errors import KeysError
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from bekend_policy.keys import DOES_NOT_FIT, check_passphrase, write_new_key
from bekend_policy.passphrase import MEMORY, OPERATIONS, Wrapped, destroy, open_to_others, wrap
from bekend_policy.scalars import Hex32, Oin, Slug
from bekend_policy.strict_yaml import YamlFaults, load_yaml

KIND: Final = "bekend/1 officer-key"
OFFICER: Final = "privacyfunctionaris"
DEPUTY: Final = "plaatsvervanger"


@dataclass(frozen=True)
class OfficerKey:
    """An opened key of the privacy officer of one partner. Shows its OIN alone."""

    oin: str
    opening: PrivateKey = field(repr=False)
    signing: SigningKey = field(repr=False)

    @classmethod
    def generate(cls, oin: str) -> "OfficerKey":
        """Two fresh secrets."""
        return cls(oin, PrivateKey.generate(), SigningKey.generate())

    @property
    def opening_public(self) -> bytes:
        """`privacy_officer` of the key manifest, 32 bytes."""
        return bytes(self.opening.public_key)

    @property
    def signing_public(self) -> bytes:
        """`privacy_officer_signing` of the key manifest, 32 bytes."""
        return bytes(self.signing.verify_key)

    @property
    def public_file(self) -> str:
        """The text of `privacy-officer.pub`, which `bekend node manifest` reads: both public halves, in hex."""
        return f"{self.opening_public.hex()}\n{self.signing_public.hex()}\n"


class _KeyFile(Wrapped):
    kind: str
    oin: Oin
    holder: Slug
    opening: Hex32
    signing: Hex32


def write_officer_key(
    path: Path, key: OfficerKey, holder: str, passphrase: str, *, operations: int = OPERATIONS, memory: int = MEMORY
) -> None:
    """Wrap the key for one holder in a new file of mode 0600. Raises KeysError when it exists, or for a short one."""
    check_passphrase(passphrase)
    secret = bytes(key.opening) + bytes(key.signing)
    write_new_key(
        path,
        "# Sleutel van de privacyfunctionaris, onder een wachtwoord. Bewaar dit bestand buiten het netwerk.\n"
        f"kind: {KIND}\n"
        f'oin: "{key.oin}"\n'
        f"holder: {holder}\n"
        f'opening: "{key.opening_public.hex()}"\n'
        f'signing: "{key.signing_public.hex()}"\n'
        f"{wrap(secret, passphrase, operations=operations, memory=memory)}",
    )


def open_officer_key(path: Path, passphrase: str) -> OfficerKey:
    """Open a key file. Raises KeysError, naming the remedy, when it cannot be read or the passphrase is wrong."""
    file = _read(path)
    secret = file.unwrap(passphrase)
    if secret is None:
        raise KeysError(DOES_NOT_FIT)
    if len(secret) != 64:
        raise _damaged(path)
    key = OfficerKey(file.oin, PrivateKey(secret[:32]), SigningKey(secret[32:]))
    if (key.opening_public, key.signing_public) != (file.opening, file.signing):
        raise _damaged(path)
    return key


def holder_of(path: Path) -> str:
    """For whom a key file was wrapped. Raises KeysError when it is none."""
    return _read(path).holder


def hand_over(
    old: Sequence[Path], key: OfficerKey, new: Path, holder: str, passphrase: str, *,
    operations: int = OPERATIONS, memory: int = MEMORY,
) -> None:  # fmt: skip
    """Succession: wrap the key for who comes, see that it opens, then destroy the files of who goes.

    Nothing is destroyed unless the new file holds the key. Raises KeysError: the old files belong to another key, the
    new one exists, or a file cannot be destroyed.
    """
    for path in old:
        file = _read(path)
        if (file.oin, file.opening, file.signing) != (key.oin, key.opening_public, key.signing_public):
            raise KeysError(f"{path} hoort bij een andere sleutel: dit bestand blijft staan, er is niets gedaan")
    write_officer_key(new, key, holder, passphrase, operations=operations, memory=memory)
    opened = open_officer_key(new, passphrase)
    if bytes(opened.opening) != bytes(key.opening) or bytes(opened.signing) != bytes(key.signing):
        raise _damaged(new)
    for path in old:
        try:
            destroy(path)
        except OSError as error:
            raise KeysError(
                f"{path} kon niet worden vernietigd ({error.strerror}): doe dat met de hand, {new} is al gemaakt"
            ) from error


def _read(path: Path) -> _KeyFile:
    try:
        mode = path.stat().st_mode
        file = load_yaml(path, _KeyFile, language="nl")
    except (OSError, YamlFaults) as error:
        raise KeysError(f"het sleutelbestand is niet te gebruiken: {error}") from error
    if open_to_others(mode):
        raise KeysError(f"ook anderen mogen {path} lezen: draai 'chmod 600 {path}'")
    if file.kind != KIND:
        raise KeysError(f"{path} is geen sleutel van een privacyfunctionaris: er hoort 'kind: {KIND}' in te staan")
    return file


def _damaged(path: Path) -> KeysError:
    return KeysError(f"{path} is beschadigd: openbare en geheime sleutel passen niet bij elkaar; gebruik de andere")
