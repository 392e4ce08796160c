"""Sign-in set up for tests: a key file, the configuration, and a provider's users."""

import subprocess
from pathlib import Path
from typing import Any

from bekend_node.config import SignIn

from tests.support.provider import CLIENT, MFA, PASSWORD, TestProvider, User


def _roles(*held: str) -> dict[str, Any]:
    return {"roles": list(held)}


USERS = [
    User("jansen", {"name": "J. Jansen", "preferred_username": "jjansen", "realm_access": _roles("bekend-zsm", "vpn")}),
    User("bakker", {"name": "S. Bakker", "realm_access": _roles("bekend-loket", "bekend-beheer")}),
    User("zonder-mfa", {"name": "Z. Mfa", "realm_access": _roles("bekend-zsm")}, acr=PASSWORD),
    User("zonder-rol", {"name": "Z. Rol", "realm_access": _roles("vpn", "zsm-medewerker")}),
    User("zonder-naam", {"realm_access": _roles("bekend-zsm")}),
]

ROLES = {"bekend-zsm": ("zsm-medewerker",), "bekend-loket": ("loket",), "bekend-beheer": ("beheer",)}


def make_key(folder: Path) -> Path:
    """A key for private_key_jwt, made as the operator's page says."""
    path = folder / "sign-in.key"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(path)],
        check=True,
        capture_output=True,
    )
    path.chmod(0o600)
    return path


def sign_in_at(provider: TestProvider | str, key: Path, **changes: Any) -> SignIn:
    """Configuration for this provider (or issuer)."""
    issuer = provider if isinstance(provider, str) else provider.issuer
    given = {"issuer": issuer, "client_id": CLIENT, "key": key, "roles": ROLES, "acr": (MFA,)}
    return SignIn.model_validate(given | changes)
