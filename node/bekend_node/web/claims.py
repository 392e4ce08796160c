"""From what the provider says about somebody to who that is here: a name for the record, and roles (FG-45)."""

import re
from collections.abc import Mapping
from typing import Any

from bekend_node.config import MAIL_ADDRESS, Accounts
from bekend_node.web.sessions import Person


class SignInRefused(Exception):  # noqa: N818 - a decision, shown to a person
    """Nobody is signed in. `reason` is the key of the text that says why; `code` is for the log."""

    def __init__(self, reason: str, code: str = "") -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


def person_of(claims: Mapping[str, Any], config: Accounts) -> Person:
    """Who signed in. Raises SignInRefused without a second factor, a name, or a role that node.yaml knows."""
    for claim, values in config.levels.items():
        if not values_at(claims, claim) & set(values):
            raise SignInRefused("inloggen.geen_tweede", claim)
    user, name = _line(claims, config.user_claim), _line(claims, config.name_claim)
    if not user or not name:
        raise SignInRefused("inloggen.geen_naam", config.name_claim if user else config.user_claim)
    held = values_at(claims, config.roles_claim)
    roles = tuple(dict.fromkeys(role for value, given in config.roles.items() if value in held for role in given))
    if not roles:
        raise SignInRefused("inloggen.geen_rol", config.roles_claim)
    return Person(user, name, roles, _mail(claims, config.mail_claim))


def values_at(claims: Mapping[str, Any], path: str) -> set[str]:
    """The texts at a claim: one text, or a list of them. Its name may hold dots; else a dot leads inside."""
    found = _at(claims, path)
    return {one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str)}


def _at(claims: Mapping[str, Any], path: str) -> Any:
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _mail(claims: Mapping[str, Any], path: str | None) -> str:
    """The address at a claim; "" when it holds none."""
    found = _at(claims, path) if path else None
    return found if isinstance(found, str) and len(found) <= 254 and re.fullmatch(MAIL_ADDRESS, found) else ""


def _line(claims: Mapping[str, Any], path: str) -> str:
    """One line of printable text, as the record keeps it; "" when the claim holds something else."""
    found = _at(claims, path)
    text = " ".join(found.split()) if isinstance(found, str) else ""
    return text if text.isprintable() and len(text) <= 200 else ""
