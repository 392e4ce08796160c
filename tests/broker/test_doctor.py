"""`bekend broker doctor`: each fault brought about for real, and named with its remedy."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_broker.app import start_broker
from bekend_broker.cli import app
from bekend_deploy.partners import BROKER_OIN
from bekend_proto.backup import note_success
from bekend_proto.clock import SystemClock, epoch_of, previous_epoch
from typer.testing import CliRunner

from tests.support.between import inspector
from tests.support.clocks import SteeredClock
from tests.support.federation import Federation
from tests.support.pki import Authority

IDLE = "running broker at 127.0.0.1:9"


@pytest.fixture
def today(tmp_path: Path, authority: Authority) -> Federation:
    """A federation of this very day: commands take the time of the machine."""
    federation = Federation.create(tmp_path, authority, SteeredClock(SystemClock().now()))
    # Other people write here too; the broker's own folders are made as `init` makes them.
    (tmp_path / "keys").chmod(0o700)
    return federation


def doctor(federation: Federation, **changes: Any) -> tuple[int, dict[str, Any]]:
    """Exit code, and the findings by what was looked at."""
    given = federation.config(metrics="127.0.0.1:0")
    config = given.model_dump(mode="json", exclude={"workers", "limits"}, exclude_none=True)
    path = federation.folder / "broker.yaml"
    path.write_text(yaml.safe_dump(config | changes), "utf-8")
    result = CliRunner().invoke(app, ["doctor", "--config", str(path), "--json"])
    return result.exit_code, {one["what"]: one for one in json.loads(result.output)["checks"]}


async def test_a_broker_in_service_is_all_right(today: Federation) -> None:
    broker = await start_broker(today.config(), SystemClock())
    note_success(today.folder / "data", SystemClock().now())
    try:
        code, found = await asyncio.to_thread(doctor, today, listen=f"127.0.0.1:{broker.port}")
    finally:
        await broker.stop(0)
    assert (code, {one["state"] for one in found.values()}) == (0, {"ok"}), found
    assert found[f"running broker at 127.0.0.1:{broker.port}"]["detail"] == "serves"


def test_a_broker_that_does_not_run_is_looked_at_all_the_same(today: Federation) -> None:
    code, found = doctor(today, listen="127.0.0.1:9")
    assert code == 6
    assert found[IDLE]["state"] == "warn"
    assert found[IDLE]["remedy"].startswith("Start it")
    assert found["keys and manifest"]["state"] == "ok"


def test_a_database_that_is_damaged(today: Federation) -> None:
    asyncio.run(_run_once(today))
    path = today.folder / "data" / "broker.db"
    octets = bytearray(path.read_bytes())
    octets[4096 * 2 : 4096 * 6] = b"\xff" * 4096 * 4
    path.write_bytes(octets)
    code, found = doctor(today)
    assert code == 3
    assert found["database"]["state"] == "fail"
    assert "restore a backup" in found["database"]["detail"]


async def _run_once(federation: Federation) -> None:
    broker = await start_broker(federation.config(), SystemClock())
    await broker.stop(0)


def test_a_manifest_that_is_not_there(today: Federation) -> None:
    (today.folder / "manifest.note").unlink()
    code, found = doctor(today)
    assert code == 3
    assert "bekend broker manifest" in found["keys and manifest"]["detail"]


def test_a_manifest_that_ends_soon(today: Federation) -> None:
    today.write_manifest(lambda m: replace(m, valid_until=m.issued + timedelta(days=10)))
    code, found = doctor(today, listen="127.0.0.1:9")
    assert code == 6
    assert found["keys and manifest"]["state"] == "warn"
    assert "have it signed" in found["keys and manifest"]["remedy"]


def test_a_key_that_others_may_read(today: Federation) -> None:
    key = today.folder / "keys" / "signing.key"
    key.chmod(0o644)
    code, found = doctor(today)
    assert code == 3
    assert f"chmod 600 {key}" in found["keys and manifest"]["detail"]


def test_a_key_that_should_be_gone(today: Federation) -> None:
    old = previous_epoch(previous_epoch(epoch_of(SystemClock().now())))
    key = today.folder / "keys" / f"b-{old}.key"
    key.write_text("00" * 32)
    key.chmod(0o600)
    code, found = doctor(today, listen="127.0.0.1:9")
    assert code == 6
    assert "destroys them" in found["keys that are over"]["remedy"]


def test_a_covenant_that_was_changed_after_it_was_signed(today: Federation) -> None:
    page = next((today.covenant_folder / "doelen").iterdir())
    page.write_text(page.read_text().replace("titel: ", "titel: Stiekem ", 1))
    code, found = doctor(today)
    assert code == 3
    assert found["covenant"]["state"] == "fail"


def test_a_certificate_that_ends_soon(today: Federation, authority: Authority) -> None:
    tls = authority.issue(BROKER_OIN, name="broker", ends=timedelta(days=5))
    code, found = doctor(today, listen="127.0.0.1:9")
    assert code == 6
    assert str(tls.certificate) in found["certificate"]["remedy"]


def test_a_certificate_of_another_organisation(today: Federation, authority: Authority) -> None:
    tls = authority.issue("00000099000000001000", name="another")
    files = {"certificate": str(tls.certificate), "key": str(tls.key), "authorities": str(tls.authorities)}
    code, found = doctor(today, tls=files)
    assert code == 3
    assert "use the own certificate" in found["certificate"]["detail"]


def test_the_name_of_before_still_works_and_text_shows_the_remedy(today: Federation) -> None:
    doctor(today, listen="127.0.0.1:9")
    result = CliRunner().invoke(app, ["check", "--config", str(today.folder / "broker.yaml")])
    assert result.exit_code == 6
    assert "warn  running broker at 127.0.0.1:9: nothing listens there\n      -> Start it" in result.output


async def test_something_else_listens_on_the_port(today: Federation, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger", "Vreemde CA").issue(BROKER_OIN)
    async with inspector(stranger) as port:
        code, found = await asyncio.to_thread(doctor, today, listen=f"127.0.0.1:{port}")
    assert code == 3
    assert "stop it" in found[f"running broker at 127.0.0.1:{port}"]["remedy"]
