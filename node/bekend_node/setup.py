"""What `bekend node init` and `manifest` write: keys, a commented configuration, the text that is signed off line."""

import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from bekend_policy.load import load_covenant
from bekend_policy.manifest import KeyManifest, closed_logs, parse_manifest
from bekend_policy.model import Covenant
from bekend_policy.sign import write_atomic
from bekend_proto import log_table
from bekend_proto.errors import BekendError, CovenantError, KeysError
from bekend_proto.identifiers import InvalidIdentifier, parse_identifier
from bekend_proto.identity import pinned_keys
from bekend_proto.log_table import Closed
from bekend_proto.note import parse_note

from bekend_node.config import NodeConfig
from bekend_node.keys import NodeKeys, draft_manifest
from bekend_node.store import Store


def sample_config() -> str:
    """The commented sample configuration."""
    return files("bekend_node").joinpath("node.example.yaml").read_text(encoding="utf-8")


def configuration(answers: Mapping[str, str]) -> str:
    """The sample with these values (`oin`, `anchor`, `covenant`, `canary`, `address`) in their places."""
    text = sample_config()
    if "oin" in answers:
        text = text.replace("00000099000000000002", answers["oin"])
    for key, value in answers.items():
        quoted = json.dumps(value)
        line = re.compile(rf"^(\s*-?\s*{key}: ).*$", re.MULTILINE)
        text = line.sub(lambda found, quoted=quoted: found[1] + quoted, text, count=1)  # type: ignore[misc]
    return text


def with_approvers(text: str, vkeys: Sequence[str]) -> str:
    """The configuration with the public keys of who approves mappings."""
    return _block(text, "approvers", "".join(f"  - {json.dumps(vkey)}\n" for vkey in vkeys)) if vkeys else text


def for_partner(text: str, oin: str, covenant: Path) -> str:
    """The configuration with what the covenant says of this partner: its registers, and what a colleague decides on.

    Raises CovenantFaults, CovenantError when the folder is not there or does not name this partner.
    """
    if not covenant.is_dir():
        raise CovenantError(f"{covenant}: no covenant is there: put its folder there first, or leave --covenant out")
    served = _participant(load_covenant(covenant), oin, covenant).served_by(oin)
    names = dict.fromkeys(name for _, source in served for name in source.registers)
    if names:
        one = "  {0}:\n    mapping: mappings/{0}.note\n    size: 2000\n"
        text = _block(text, "registers", "".join(one.format(name) for name in names))
    by_hand = ", ".join(purpose for purpose, source in served if not source.mode.by_machine)
    if not by_hand:
        return re.sub(r"^desk_staff:\n( .*\n)+", "", text, flags=re.MULTILINE)
    return re.sub(r"^    purposes: \[.*\]$", f"    purposes: [{by_hand}]", text, flags=re.MULTILINE)


def _block(text: str, key: str, lines: str) -> str:
    """The text with other lines under a key of the first level."""
    return re.sub(rf"^{key}:\n( .*\n)+", lambda _: f"{key}:\n{lines}", text, count=1, flags=re.MULTILINE)


def _participant(covenant: Covenant, oin: str, folder: Path) -> Covenant:
    if oin not in covenant.participants:
        raise CovenantError(f"{folder}: the covenant names no participant {oin}: check the OIN")
    return covenant


def draw_canary() -> str:
    """A random number of the reserved range 9999xxxxx, which is given to nobody."""
    while True:
        value = f"9999{secrets.randbelow(100_000):05}"
        try:
            return f"bsn:{parse_identifier('bsn', value).value}"
        except InvalidIdentifier:
            continue


def make_draft(config: NodeConfig, now: datetime, leaving: Collection[str] = ()) -> KeyManifest:
    """The next manifest: a K for every purpose that this node answers, in this epoch and, when near, the next.

    `leaving`: epochs whose keys it names no more. It names the keys of the TLS certificates too. Raises CovenantError,
    KeysError, TlsFilesError: each says what to do.
    """
    covenant = _participant(load_covenant(config.covenant), config.oin, config.covenant)
    if config.desk is None:
        raise KeysError("the manifest names a desk for officers elsewhere (FG-11): set `desk` in node.yaml")
    keys = NodeKeys.load(config.keys, config.oin)
    opening, signing = officer_keys(config)
    purposes = [purpose for purpose, _ in covenant.served_by(config.oin)]
    return draft_manifest(
        keys,
        purposes,
        {name: register.size for name, register in config.registers.items()},
        privacy_officer=opening,
        privacy_officer_signing=signing,
        number=next_number(config),
        now=now,
        desk=config.desk,
        opening_hours=config.opening_hours,
        leaving=leaving,
        tls_keys=pinned_keys([config.tls.certificate, *config.tls.pinned]),
        logs=config.log_names,
        closed=closed_logs(_closed(config), config.log),
    )


def write_draft(config: NodeConfig, now: datetime, leaving: Collection[str] = ()) -> tuple[KeyManifest, Path]:
    """Put the next manifest beside the one in force, for the ondertekenaar; one that names the same keys stays.

    Raises as `make_draft`.
    """
    draft = make_draft(config, now, leaving)
    path = config.manifest.with_name(f"manifest-{draft.number}")
    try:
        there = parse_manifest(path.read_text("utf-8"))
        same = (there.evaluation_keys, there.signing_keys) == (draft.evaluation_keys, draft.signing_keys)
    except (OSError, UnicodeDecodeError, BekendError):
        same = False
    if not same:
        write_atomic(path, draft.text().encode())
    return draft, path


def next_number(config: NodeConfig) -> int:
    """One more than the manifest in force, and than any that was seen; 1 when there is none.

    Raises KeysError when that cannot be read.
    """
    with _store(config) as store:
        seen = store.manifests().get(config.oin, (0, b""))[0] if store else 0
    try:
        note = config.manifest.read_bytes()
    except FileNotFoundError:
        return seen + 1
    try:
        return max(seen, parse_manifest(parse_note(note).text).number) + 1
    except BekendError as fault:
        raise KeysError(f"{config.manifest}: {fault.detail}") from fault


def _closed(config: NodeConfig) -> list[Closed]:
    with _store(config) as store:
        return store.read(log_table.closed) if store else []


@contextmanager
def _store(config: NodeConfig) -> Iterator[Store | None]:
    """The node's database, if there is one: a manifest is also made before a node ever ran."""
    if not (config.data / "node.db").exists():
        yield None
        return
    with closing(Store.open(config.data)) as store:
        yield store


def officer_keys(config: NodeConfig) -> tuple[bytes | None, bytes | None]:
    """The privacy officer's public keys: the one that records are sealed to, and the one that signs access requests.

    Raises KeysError when the file cannot be read. A file of one line, without the second key, opens records alone.
    """
    path: Path | None = config.privacy_officer
    if path is None:
        return None, None
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as fault:
        raise KeysError(f"{path}: the privacy officer's public key cannot be read: check `privacy_officer`") from fault
    lines = text.split()
    if len(lines) not in {1, 2} or not all(re.fullmatch(r"[0-9a-f]{64}", line) for line in lines):
        raise KeysError(f"{path} does not hold one or two lines of 64 hex digits: ask the privacy officer for the file")
    keys = [bytes.fromhex(line) for line in lines]
    return keys[0], keys[1] if len(keys) == 2 else None
