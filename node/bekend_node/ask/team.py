"""Who works on a case here: the officers who asked in it, and whom they added (section 1.8(2) WGS, FG-45).

    asked     the officer of each question of the case
    added     by somebody with a role of the purpose, while an answer is held or still to come
    may see   asked or added, with a role of the purpose at the moment of looking

Kept under a keyed hash of the case reference, and in no message to anybody else.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bekend_policy.model import Covenant
from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError

from bekend_node.ask.asking import Asking
from bekend_node.ask.case_reference import case_tag
from bekend_node.config import Officer
from bekend_node.store_team import Member, Waits

KEPT = timedelta(days=366)
"""How long somebody is known after the last sign-in, and works on a case after being added."""
MOST = 20
"""Colleagues added to one case."""


@dataclass
class Team:
    """The officers of this organisation. `officers` are those of node.yaml; others are known once they signed in."""

    asking: Callable[[], Asking]
    officers: Sequence[Officer]

    async def signed_in(self, user: str, name: str, roles: Collection[str], mail: str) -> None:
        """Remember who signed in, for colleagues to choose from and for mail. Raises StorageError."""
        asking = self.asking()
        one = Member(user, name, frozenset(roles), mail)
        await asking.store.team.signed_in(one, milliseconds(asking.clock.now()))

    def known(self) -> dict[str, Member]:
        """Everybody with a role, by user. A sign-in says more than node.yaml."""
        found: dict[str, Member] = {}
        for one in self.officers:
            before = found.get(one.user)
            roles = {one.role, *(before.roles if before else ())}
            mail = one.mail or (before.mail if before else "")
            found[one.user] = Member(one.user, one.name, frozenset(roles), mail)
        for it in self.asking().store.team.all():
            listed = found.get(it.user)
            found[it.user] = Member(it.user, it.name, it.roles, it.mail or (listed.mail if listed else ""))
        return found

    def may_use(self, one: Member, purposes: Collection[str]) -> bool:
        """Whether one of the roles may ask under one of these purposes at this organisation."""
        asking = self.asking()
        return bool(one.roles & roles_of(asking.covenant, asking.oin, purposes))

    def of_purposes(self, purposes: Collection[str]) -> list[Member]:
        """Who may use one of these purposes, by name."""
        found = [one for one in self.known().values() if self.may_use(one, purposes)]
        return sorted(found, key=lambda one: (one.name.casefold(), one.user))

    def on_case(self, case: str) -> list[Member]:
        """Who was added to a case."""
        asking, known = self.asking(), self.known()
        tag = case_tag(asking.case_key, case)
        users = asking.store.team.on_case(tag) if tag else []
        return [known.get(user, Member(user, user, frozenset())) for user in users]

    async def add(self, case: str, user: str, purposes: Collection[str], by: str) -> None:
        """Let a colleague work on a case; something waits for that colleague now.

        `purposes`: those of the case's questions that `by` may see. Raises RefusedError, StorageError.
        """
        asking = self.asking()
        tag = case_tag(asking.case_key, case)
        if not tag or not purposes:
            raise RefusedError("zaak-onbekend", "Bij deze zaak staan geen antwoorden die u mag zien.")
        one = self.known().get(user)
        if one is None or user == by or not self.may_use(one, purposes):
            raise RefusedError("collega", "Kies een collega die dit doel mag gebruiken.")
        if len(asking.store.team.on_case(tag)) >= MOST:
            raise RefusedError("collega", f"Aan een zaak werken hier hoogstens {MOST} collega's.")
        now = milliseconds(asking.clock.now())
        await asking.store.team.add(tag, user, by, now)
        await asking.store.team.wait([Waits("", user, purpose) for purpose in purposes], now)

    async def remove(self, case: str, user: str) -> None:
        """Let a colleague work on a case no longer. Raises StorageError."""
        asking = self.asking()
        await asking.store.team.remove(case_tag(asking.case_key, case), user)

    async def told(self, user: str, purposes: frozenset[str]) -> None:
        """A mail about these purposes was taken. Raises StorageError."""
        await self.asking().store.team.told(user, purposes)

    async def looked(self, user: str) -> None:
        """Somebody looked at what waits: no mail need say so any more. Raises StorageError."""
        store = self.asking().store.team
        waiting = store.to_be_told().get(user)
        if waiting:
            await store.told(user, waiting)

    def to_be_told(self) -> dict[str, tuple[str, frozenset[str]]]:
        """Whom a mail is to tell: user -> address ("" when none is known) and purposes.

        The address is empty too for who may use none of the purposes any more.
        """
        known = self.known()
        waiting = self.asking().store.team.to_be_told()
        return {
            user: (known[user].mail if user in known and self.may_use(known[user], purposes) else "", purposes)
            for user, purposes in waiting.items()
        }

    async def tidy(self) -> None:
        """Forget who was not here for a year. Raises StorageError."""
        asking = self.asking()
        await asking.store.team.forget(milliseconds(asking.clock.now() - KEPT))


def roles_of(covenant: Covenant, oin: str, purposes: Collection[str]) -> frozenset[str]:
    """The roles that may ask under these purposes at an organisation."""
    found = [covenant.requesters(purpose).get(oin) for purpose in purposes if purpose in covenant.purposes]
    return frozenset(role for one in found if one is not None for role in one.roles)
