"""The auditor of the example covenant."""

from hashlib import sha256
from pathlib import Path

from bekend_policy.officer_key import OfficerKey
from bekend_proto.note import vkey_of
from nacl.public import PrivateKey
from nacl.signing import SigningKey

AUDITOR_OIN = "00000099000000008000"
AUDITOR = OfficerKey(
    AUDITOR_OIN, PrivateKey(sha256(b"test auditor opens").digest()), SigningKey(sha256(b"test auditor signs").digest())
)


def with_auditor(folder: Path, key: OfficerKey = AUDITOR) -> Path:
    """Name an auditor with both keys in a covenant that is not signed yet."""
    path = folder / "afspraken.yaml"
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("auditor")]
    lines += [
        'auditor: "Onafhankelijk auditor"',
        f'auditor_sleutel: "{key.opening_public.hex()}"',
        f'auditor_ondertekent: "{vkey_of(f"bekend/{key.oin}/auditor", key.signing_public)}"',
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return folder
