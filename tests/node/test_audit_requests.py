"""What of the own Questions an auditor's checkpoint draws, and the result that comes back: verified, never opened."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from bekend_node.audit import requests
from bekend_node.audit.basis import load_basis
from bekend_node.audit.requests import Asked, AuditDesk
from bekend_node.store_audits import Audits
from bekend_policy.audited import AUDITOR as ROLE
from bekend_policy.audited import Audited, open_audited
from bekend_policy.manifest import KeyManifest, parse_manifest
from bekend_policy.model import Covenant
from bekend_proto import log_table
from bekend_proto.checkpoint import cosign
from bekend_proto.errors import KeysError, ProofError, RefusedError
from bekend_proto.note import note_name, parse_note, sign_note

from tests.support.auditing import DAYS, DRAWN, Files, Trail
from tests.support.auditors import AUDITOR
from tests.support.clocks import SteeredClock
from tests.support.covenants import OM, OPERATOR, POLITIE, RECLASSERING

MANY = 200
DUE = date(2026, 12, 20)


@dataclass
class Scene:
    """The OM's node, whose own log holds the week of the trail."""

    trail: Trail
    files: Files
    desk: AuditDesk
    clock: SteeredClock

    @property
    def checkpoint(self) -> bytes:
        return (self.files.folder / "punt.note").read_bytes()

    async def ask(self, note: bytes | None = None) -> None:
        await self.desk.ask(note or self.checkpoint, DAYS.first, DAYS.last, DUE, "privacyfunctionaris")

    def asked(self) -> list[Asked]:
        return self.desk.asked(self.desk.requests())

    def result(self, **changes: object) -> bytes:
        (drawn,) = (len(one.drawn) for one in self.asked())
        facts: dict[str, object] = {
            "by": OM, "first": DAYS.first, "last": DAYS.last, "draw": bytes(32), "absent": (), "questions": MANY,
            "drawn": drawn, "tested": drawn, "unanswered": 0, "untested": 0, "breaches": 0,
        }  # fmt: skip
        text = Audited(**(facts | changes)).text()  # type: ignore[arg-type]
        return sign_note(text, note_name(AUDITOR.oin, ROLE), bytes(AUDITOR.signing))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    yield from made_scene(tmp_path)


def made_scene(tmp_path: Path) -> Iterator[Scene]:
    """A scene, until it is no longer needed."""
    trail = Trail(tmp_path / "spoor")
    trail.fill(MANY)
    files = trail.write()
    own = [one for one in trail.entries[OM] if one.kind == "asked"]
    trail.store.database.write_sync(lambda conn: log_table.append(conn, own))
    clock = SteeredClock(DRAWN + timedelta(days=1))

    def manifest_of(oin: str) -> KeyManifest:
        if oin not in trail.keys:
            raise KeysError("not connected")
        note = trail.broker_manifest() if oin == OPERATOR else trail.manifest(oin)
        return parse_manifest(parse_note(note).text)

    desk = AuditDesk(Audits(trail.store.database), lambda: trail.covenant, manifest_of, oin=OM, clock=clock)
    yield Scene(trail, files, desk, clock)
    trail.store.close()


async def test_the_node_says_which_of_its_questions_are_drawn(scene: Scene) -> None:
    await scene.ask()
    (asked,) = scene.asked()
    basis = load_basis(scene.files.given(), OPERATOR)
    assert {one.hash for one in asked.drawn} == {one.hash for one in basis.of(OM)} != set()
    assert (asked.fault, asked.result, scene.desk.waiting()) == (None, None, 1)
    assert not asked.is_late(DUE)
    assert asked.is_late(DUE + timedelta(days=1))
    # The same checkpoint once more is the same request.
    await scene.ask()
    assert len(scene.asked()) == 1


async def test_a_node_that_signed_too_early_is_left_out_as_the_auditor_leaves_it_out(scene: Scene) -> None:
    """One that always says so would keep every question from being drawn."""
    early = cosign(scene.checkpoint, RECLASSERING, scene.trail.keys[RECLASSERING], 1)
    await scene.ask(early)
    (asked,) = scene.asked()
    (scene.files.folder / "punt.note").write_bytes(early)
    with pytest.raises(ProofError, match=f"{RECLASSERING} tekende"):
        load_basis(scene.files.given(), OPERATOR)
    basis = load_basis(replace(scene.files.given(), absent=[RECLASSERING]), OPERATOR)
    assert {one.hash for one in asked.drawn} == {one.hash for one in basis.of(OM)} != set()


async def test_what_the_auditor_found_is_shown(scene: Scene) -> None:
    await scene.ask()
    await scene.desk.answer(scene.result())
    (asked,) = scene.asked()
    assert asked.result is not None
    assert asked.result.is_good
    assert scene.desk.waiting() == 0
    assert not asked.is_late(DUE + timedelta(days=100))


async def test_a_result_is_verified_once_under_each_covenant(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.ask()
    await scene.desk.answer(scene.result())
    verified: list[bytes] = []
    real = open_audited

    def counted(note: bytes, covenant: Covenant) -> Audited:
        verified.append(covenant.hash)
        return real(note, covenant)

    monkeypatch.setattr(requests, "open_audited", counted)
    for _ in range(3):
        assert scene.desk.waiting() == 0
        assert [one.result is None for one in scene.asked()] == [False]
    assert verified == [scene.trail.covenant.hash]
    # An auditor whom the next covenant does not name: its results are none any more.
    agreement = scene.trail.covenant.agreement.model_copy(update={"auditor_signer": None})
    scene.trail.covenant = replace(scene.trail.covenant, agreement=agreement, hash=b"n" * 32)
    for _ in range(2):
        assert scene.desk.waiting() == 1
    assert verified[1:] == [b"n" * 32]


async def test_another_organisations_or_a_forged_result_is_refused(scene: Scene) -> None:
    await scene.ask()
    with pytest.raises(RefusedError, match="andere organisatie"):
        await scene.desk.answer(scene.result(by=POLITIE))
    with pytest.raises(RefusedError, match="telt niet"):
        await scene.desk.answer(scene.result().replace(b"inbreuken: 0", b"inbreuken: 1"))
    with pytest.raises(RefusedError, match="telt niet"):
        await scene.desk.answer(b"uitslag\n")
    assert scene.desk.waiting() == 1


async def test_where_the_covenant_names_no_auditor_who_signs_the_remedy_is_said(scene: Scene) -> None:
    covenant = scene.trail.covenant
    await scene.ask()
    unsigned = replace(covenant, agreement=covenant.agreement.model_copy(update={"auditor_signer": None}))
    with pytest.raises(RefusedError, match="Vraag de beheerder"):
        await replace(scene.desk, covenant=lambda: unsigned).answer(scene.result())


async def test_a_checkpoint_that_was_changed_or_came_too_early_is_refused(scene: Scene) -> None:
    for note in (b"punt\n", scene.checkpoint.replace(b"\n", b"1\n", 1)):
        with pytest.raises(RefusedError, match="telt niet"):
            await scene.ask(note)
    with pytest.raises(RefusedError, match="voorbij"):
        await scene.desk.ask(scene.checkpoint, DAYS.first, DRAWN.date() + timedelta(days=9), DUE, "iemand")
    scene.clock.advance(timedelta(days=30))
    with pytest.raises(RefusedError, match="voordat de periode voorbij was"):
        await scene.desk.ask(scene.checkpoint, DAYS.first, DRAWN.date() + timedelta(days=9), DUE, "iemand")
    assert scene.asked() == []
