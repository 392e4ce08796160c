"""Key manifests: a node's or the broker's on-line keys and desk, numbered, dated, signed by its off-line key.

A manifest is strict YAML in one form: reading it and writing it again gives the same bytes. It travels as a signed
note (protocol section 4, provenance). The receiver remembers the highest number it has seen per owner.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from bekend_proto.checkpoint import NODE_LOG
from bekend_proto.clock import FRESHNESS, epoch_start, month_start
from bekend_proto.errors import KeysError, MalformedError
from bekend_proto.group import decode_element
from bekend_proto.log_table import Closed
from bekend_proto.note import open_note, parse_vkey
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from pydantic import AfterValidator, Field

from bekend_policy.scalars import Hex32, Moment, Oin, Slug, Whole, is_oin, is_slug
from bekend_policy.strict_yaml import StrictModel, YamlFaults, load_yaml

KIND = "bekend/1 key-manifest"
MAX_VALIDITY = timedelta(days=400)
"""A manifest ends: keys that nobody looks after lapse by themselves."""
BROKER_NOTE_LIMIT: Final = 2 * 1024 * 1024
"""Octets of the broker's signed manifest: ten purposes that 400 sources answer under, over three quarters."""
NOTE_LIMIT: Final = 64 * 1024
"""Octets of a partner's signed manifest: a hundred purposes over three quarters. All travel in one directory."""
MAX_TLS_KEYS = 32
"""TLS keys in one manifest: two for each of sixteen replicas of the broker."""

_SIGNATURES = 4096
"""Octets that are kept for the signatures under a manifest."""


def is_one_line(text: str) -> bool:
    """Whether a manifest can hold this text: printable, not empty, at most 200 characters, no quotation marks."""
    return 0 < len(text.strip()) == len(text) <= 200 and text.isprintable() and not set('"\\') & set(text)


@dataclass(frozen=True)
class ClosedLog:
    """A log that a restore ended, with the head that was put back (size, root of 32 bytes), and the one after it."""

    log: str
    size: int
    root: bytes
    next: str


@dataclass(frozen=True)
class KeyManifest:
    """The on-line keys of one party.

    `evaluation_keys`: (source OIN, purpose, epoch) -> public key, 32 bytes: k*G in a node's manifest (source = its own
    OIN), b*G in the broker's. `record_keys`: month -> u*G, the broker's only. `privacy_officer`: X25519, a node's only.
    `desk`: whom an officer elsewhere turns to after `bekend`, a node's only: no one but its own ondertekenaar sets it.
    `logs`: names of the logs of the broker's replicas, or of a node and its standby (none: `node`); checkpoints of
    others do not count. `closed_logs`: those that a restore ended.
    `tls_keys`: SHA-256 of the public keys (SubjectPublicKeyInfo) of its TLS certificates: one with another key is not
    its own, whoever issued it. Two while a key is renewed; none in a manifest that pins nothing.
    """

    oin: str
    number: int
    issued: datetime
    valid_until: datetime
    protocol_versions: tuple[int, ...]
    signing_keys: tuple[bytes, ...]
    logs: tuple[str, ...] = ()
    privacy_officer: bytes | None = None
    desk: str | None = None
    opening_hours: str | None = None
    privacy_officer_signing: bytes | None = None
    tls_keys: tuple[bytes, ...] = ()
    register_sizes: Mapping[str, int] = field(default_factory=dict)
    evaluation_keys: Mapping[tuple[str, str, str], bytes] = field(default_factory=dict)
    record_keys: Mapping[str, bytes] = field(default_factory=dict)
    closed_logs: tuple[ClosedLog, ...] = ()

    @property
    def log_names(self) -> tuple[str, ...]:
        """Names of the logs that may be shown."""
        return self.logs or (NODE_LOG,)

    @property
    def contact(self) -> str | None:
        """The desk with its opening hours: a functional contact, never a person (FG-11)."""
        return f"{self.desk} ({self.opening_hours})" if self.opening_hours else self.desk

    def pins(self, key: bytes) -> bool:
        """Whether a certificate with this public key (its hash) may be this party's."""
        return not self.tls_keys or key in self.tls_keys

    def text(self) -> str:
        """The one text of this manifest. Raises KeysError when it breaks a rule (dates, number, keys, size)."""
        _check(self)
        text = "".join(f"{line}\n" for line in _lines(self))
        if len(text) > BROKER_NOTE_LIMIT - _SIGNATURES:
            raise KeysError(
                f"the key manifest has {len(text)} octets, and no node takes in more than {BROKER_NOTE_LIMIT}: name "
                "fewer sources under a purpose, or spread the purposes over two federations"
            )
        return text


def parse_manifest(text: str) -> KeyManifest:
    """Read a manifest's text. Raises KeysError unless it follows every rule and is in the one form."""
    try:
        file = load_yaml(text, _File, name="key manifest")
    except YamlFaults as error:
        raise KeysError(f"the key manifest cannot be read: {error}") from error
    keys = {(row.source, row.purpose, row.epoch): row.key for row in file.evaluation_keys}
    manifest = KeyManifest(
        oin=file.oin,
        number=file.number,
        issued=file.issued,
        valid_until=file.valid_until,
        protocol_versions=file.protocol_versions,
        signing_keys=file.signing_keys,
        logs=file.logs,
        privacy_officer=file.privacy_officer,
        desk=file.desk,
        opening_hours=file.opening_hours,
        privacy_officer_signing=file.privacy_officer_signing,
        tls_keys=file.tls_keys,
        register_sizes=file.register_sizes,
        evaluation_keys=keys,
        record_keys=file.record_keys,
        closed_logs=tuple(ClosedLog(row.log, row.size, row.root, row.next) for row in file.closed_logs),
    )
    if file.kind != KIND or manifest.text() != text:
        raise KeysError("the key manifest is not in its one form: make it again with the manifest command")
    return manifest


def open_manifest(note: bytes, vkey: str, now: datetime) -> KeyManifest:
    """The manifest in a note that this off-line key signed, in force now.

    Raises MalformedError or SignatureError for the note; KeysError when the manifest breaks a rule, is of another
    party than the key, is expired or not yet issued.
    """
    manifest = parse_manifest(open_note(note, vkey))
    signer = parse_vkey(vkey)
    if signer.name.split("/")[1:2] != [manifest.oin]:
        raise KeysError(f"the key manifest of {manifest.oin} is signed by {signer.name}: each signs its own")
    others = {*manifest.signing_keys, manifest.privacy_officer_signing}
    if signer.public in others or _is_officer(manifest, signer.public):
        raise KeysError(f"{manifest.oin} uses its off-line key for something else too: one key, one role; make another")
    if manifest.issued - now > FRESHNESS:
        raise KeysError(f"key manifest {manifest.number} of {manifest.oin} is dated in the future: check the clocks")
    if now >= manifest.valid_until:
        raise KeysError(f"key manifest {manifest.number} of {manifest.oin} has expired: have a new one signed")
    return manifest


def closed_logs(closed: Sequence[Closed], present: str) -> tuple[ClosedLog, ...]:
    """What a manifest says of the logs that were closed here, oldest first, before the one named `present`."""
    names = [one.origin.rpartition("/")[2] for one in closed]
    following = [*names, present][1:]
    rows = sorted(zip(names, closed, following, strict=True))
    return tuple(ClosedLog(name, one.size, one.root, after) for name, one, after in rows)


# --- the file --------------------------------------------------------------------------------------------------


class _Row(StrictModel):
    source: Oin
    purpose: str
    epoch: str
    key: Hex32


class _Closed(StrictModel):
    log: Slug
    size: Whole
    root: Hex32
    next: Slug


def _month(value: str) -> str:
    month_start(value)
    return value


class _File(StrictModel):
    kind: str
    oin: Oin
    number: Annotated[Whole, Field(ge=1, lt=2**32)]
    issued: Moment
    valid_until: Moment
    protocol_versions: tuple[Annotated[Whole, Field(ge=1)], ...] = Field(min_length=1)
    signing_keys: tuple[Hex32, ...] = Field(min_length=1, max_length=4)
    logs: tuple[Slug, ...] = Field(default=(), max_length=16)
    closed_logs: tuple[_Closed, ...] = Field(default=(), max_length=64)
    privacy_officer: Hex32 | None = None
    desk: str | None = None
    opening_hours: str | None = None
    privacy_officer_signing: Hex32 | None = None
    tls_keys: tuple[Hex32, ...] = Field(default=(), max_length=MAX_TLS_KEYS)
    register_sizes: dict[Slug, Whole] = Field(default_factory=dict)
    evaluation_keys: tuple[_Row, ...] = ()
    record_keys: dict[Annotated[str, AfterValidator(_month)], Hex32] = Field(default_factory=dict)


def _lines(manifest: KeyManifest) -> list[str]:
    lines = [
        f"kind: {KIND}",
        f'oin: "{manifest.oin}"',
        f"number: {manifest.number}",
        f"issued: {_moment(manifest.issued)}",
        f"valid_until: {_moment(manifest.valid_until)}",
        f"protocol_versions: [{', '.join(map(str, manifest.protocol_versions))}]",
        "signing_keys:",
        *(f'  - "{key.hex()}"' for key in manifest.signing_keys),
    ]
    lines += _log_lines(manifest)
    if manifest.privacy_officer is not None:
        lines.append(f'privacy_officer: "{manifest.privacy_officer.hex()}"')
    contact = {"desk": manifest.desk, "opening_hours": manifest.opening_hours}
    lines += [f'{name}: "{value}"' for name, value in contact.items() if value is not None]
    if manifest.privacy_officer_signing is not None:
        lines.append(f'privacy_officer_signing: "{manifest.privacy_officer_signing.hex()}"')
    if manifest.tls_keys:
        lines += ["tls_keys:", *(f'  - "{key.hex()}"' for key in manifest.tls_keys)]
    if manifest.register_sizes:
        lines += ["register_sizes:", *(f"  {name}: {size}" for name, size in sorted(manifest.register_sizes.items()))]
    if manifest.evaluation_keys:
        lines.append("evaluation_keys:")
        for (source, purpose, epoch), key in sorted(manifest.evaluation_keys.items()):
            row = f'source: "{source}", purpose: "{purpose}", epoch: "{epoch}", key: "{key.hex()}"'
            lines.append(f"  - {{{row}}}")
    if manifest.record_keys:
        lines += [
            "record_keys:",
            *(f'  "{month}": "{key.hex()}"' for month, key in sorted(manifest.record_keys.items())),
        ]
    return lines


def _log_lines(manifest: KeyManifest) -> list[str]:
    lines = [f"logs: [{', '.join(manifest.logs)}]"] if manifest.logs else []
    if manifest.closed_logs:
        lines.append("closed_logs:")
    for one in manifest.closed_logs:
        lines.append(f'  - {{log: {one.log}, size: {one.size}, root: "{one.root.hex()}", next: {one.next}}}')
    return lines


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- the rules -------------------------------------------------------------------------------------------------


def _check(manifest: KeyManifest) -> None:
    """Everything that must hold whichever side makes or reads a manifest."""
    if not is_oin(manifest.oin) or not 1 <= manifest.number < 2**32:
        raise KeysError("a key manifest has an OIN and a number from 1")
    # Subtracted: a sum could lie past the end of the calendar, and that is no fault that a reader of notes expects.
    if not timedelta(0) < manifest.valid_until - manifest.issued <= MAX_VALIDITY:
        raise KeysError(f"a key manifest is valid for at most {MAX_VALIDITY.days} days: shorten valid_until")
    versions = manifest.protocol_versions
    if not versions or min(versions) < 1 or list(versions) != sorted(set(versions)):
        raise KeysError("protocol_versions is a rising list of whole numbers from 1")
    if list(manifest.logs) != sorted(set(manifest.logs)) or not all(map(is_slug, manifest.logs)):
        raise KeysError("logs is a rising list of names, each once")
    if list(manifest.tls_keys) != sorted(set(manifest.tls_keys)):
        raise KeysError("tls_keys is a rising list of hashes of public keys, each once")
    _check_closed(manifest)
    if any(not is_slug(name) or not 0 <= size < 10**12 for name, size in manifest.register_sizes.items()):
        raise KeysError("register_sizes names registers with their number of persons")
    _check_desk(manifest)
    _check_keys(manifest)


def _check_closed(manifest: KeyManifest) -> None:
    names = [one.log for one in manifest.closed_logs]
    if names != sorted(set(names)) or set(names) & set(manifest.logs):
        raise KeysError("closed_logs is a rising list of logs, each once, none of which is in service")
    for one in manifest.closed_logs:
        if not is_slug(one.log) or not is_slug(one.next) or len(one.root) != 32 or not 0 <= one.size < 2**63:
            raise KeysError("a closed log has a name, a size, a root of 32 bytes and the name of the one after it")
        if one.next not in {*names, *manifest.logs} - {one.log}:
            raise KeysError(f"the log {one.log} goes on as {one.next}, which this manifest does not name")


def _check_desk(manifest: KeyManifest) -> None:
    if manifest.desk is None and manifest.opening_hours is not None:
        raise KeysError("opening_hours are those of a desk: name it")
    for text in (manifest.desk, manifest.opening_hours):
        if text is not None and not is_one_line(text):
            raise KeysError("desk and opening_hours are one line of at most 200 characters, without quotation marks")


def _is_officer(manifest: KeyManifest, public: bytes) -> bool:
    """Whether this Ed25519 key, in its X25519 form, is the privacy officer's."""
    try:
        return bytes(VerifyKey(public).to_curve25519_public_key()) == manifest.privacy_officer
    except (CryptoError, ValueError):
        return False  # no point of the curve: it has no such form


def _check_keys(manifest: KeyManifest) -> None:
    officer = [key for key in (manifest.privacy_officer, manifest.privacy_officer_signing) if key is not None]
    own = [*manifest.signing_keys, *officer]
    elements = [*manifest.evaluation_keys.values(), *manifest.record_keys.values()]
    if not manifest.signing_keys or len(set(own + elements)) != len(own + elements):
        raise KeysError("a key stands twice in the manifest, or none signs: one key, one role")
    if any(len(key) != 32 or key == bytes(32) for key in own):
        raise KeysError("a signing key and a privacy officer's key have 32 bytes and are not zero")
    if manifest.privacy_officer_signing is not None and manifest.privacy_officer is None:
        raise KeysError("a privacy officer who signs access requests has a key to open records too: name both")
    if any(_is_officer(manifest, key) for key in own if key != manifest.privacy_officer):
        raise KeysError("the privacy officer's key is a signing key in another form: one key, one role")
    try:
        for element in elements:
            decode_element(element)
        for source, purpose, epoch in manifest.evaluation_keys:
            epoch_start(epoch)
            if not is_oin(source) or not re.fullmatch(r"[a-z0-9_-]+/[a-z0-9_-]+", purpose):
                raise ValueError("no OIN or purpose")
        for month in manifest.record_keys:
            month_start(month)
    except (MalformedError, ValueError) as error:
        raise KeysError(f"a key of the manifest of {manifest.oin} is not well formed: {error}") from error
