"""The commands of the operator, and its configuration."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_broker.app import start_broker
from bekend_broker.cli import app
from bekend_broker.config import BrokerConfig, Limits, load_config
from bekend_deploy.partners import BROKER_OIN, OM, VEILIG_THUIS, ZSM_CONTEXT
from bekend_policy.faults import YamlFaults
from bekend_policy.manifest import parse_manifest
from bekend_proto.clock import SystemClock
from typer.testing import CliRunner

from tests.support.clocks import SteeredClock
from tests.support.federation import Federation
from tests.support.pki import Authority

SAMPLE = Path(__file__).parents[2] / "broker" / "broker.example.yaml"


@pytest.fixture
def today(tmp_path: Path, authority: Authority) -> Federation:
    """A federation of this very day: commands take the time of the machine."""
    return Federation.create(tmp_path, authority, SteeredClock(SystemClock().now()))


def write_config(federation: Federation, **changes: Any) -> Path:
    given = federation.config(metrics="127.0.0.1:0")
    config = given.model_dump(mode="json", exclude={"workers", "limits"}, exclude_none=True)
    path = federation.folder / "broker.yaml"
    path.write_text(yaml.safe_dump(config | changes), "utf-8")
    return path


def command(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def test_the_sample_configuration_loads_and_shows_every_default(tmp_path: Path) -> None:
    text = SAMPLE.read_text("utf-8")
    path = tmp_path / "broker.yaml"
    path.write_text(text, "utf-8")
    config = load_config(path)
    assert config.limits == Limits()
    assert config.data == tmp_path / "data"
    # Uncommented, the defaults that it tells are the defaults that hold.
    before, limits = text.split("# limits:\n")
    plain = before.replace("# data: ", "data: ").replace("# keys: ", "keys: ")
    path.write_text(plain + "limits:\n" + limits.replace("#   ", "  "), "utf-8")
    assert load_config(path) == config
    named = {line.strip().removeprefix("# ").split(":")[0].strip() for line in text.splitlines() if ":" in line}
    assert set(BrokerConfig.model_fields) | set(Limits.model_fields) <= named


def test_init_on_a_full_disk_names_the_file_and_leaves_no_half_configuration(tmp_path: Path) -> None:
    """A limit on the size of a file stops a write half-way, as a full disk does."""
    path = tmp_path / "broker.yaml"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        code, output = command("init", "--config", str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, str(path) in output, list(tmp_path.iterdir())) == (1, True, []), output
    assert command("init", "--config", str(path))[0] == 0


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("onbekend: 1", "onbekend"),
        ('oin: "1234"', "oin"),
        ("listen: nowhere", "listen"),
        ("limits: {ask_seconds: 0}", "ask"),
    ],
)
def test_a_fault_in_the_configuration_is_named_with_its_line(today: Federation, fault: str, told: str) -> None:
    key = fault.split(":", maxsplit=1)[0]
    path = write_config(today)
    kept = [line for line in path.read_text("utf-8").splitlines() if not line.startswith(f"{key}:")]
    path.write_text("\n".join([*kept, fault]) + "\n", "utf-8")
    with pytest.raises(YamlFaults):
        load_config(path)
    code, output = command("check", "--config", str(path))
    assert code == 1
    assert f"broker.yaml:{len(kept) + 1}" in output
    assert told in output


def test_init_writes_configuration_and_keys_and_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "broker.yaml"
    code, output = command("init", "--config", str(path))
    assert code == 0
    assert "made" in output
    assert path.read_text("utf-8") == SAMPLE.read_text("utf-8")
    files = {one: one.read_bytes() for one in (tmp_path / "new").rglob("*") if one.is_file()}
    assert len(files) == 6
    code, output = command("init", "--config", str(path), "--json")
    assert code == 0
    assert json.loads(output) == {"made": [], "destroyed": []}
    assert {one: one.read_bytes() for one in (tmp_path / "new").rglob("*") if one.is_file()} == files


def test_manifest_writes_what_the_operator_signs_under_the_next_number(today: Federation) -> None:
    path = write_config(today)
    code, output = command("manifest", "--config", str(path), "--json")
    assert code == 0, output
    told = json.loads(output)
    manifest = parse_manifest(Path(told["manifest"]).read_text("utf-8"))
    assert manifest.oin == BROKER_OIN
    assert manifest.number == told["number"] == 2
    assert manifest.evaluation_keys == today.broker_manifest.evaluation_keys


async def test_status_tells_of_the_running_broker(today: Federation) -> None:
    broker = await start_broker(today.config(metrics="127.0.0.1:0"), SystemClock())
    try:
        path = write_config(today, metrics=f"127.0.0.1:{broker.metrics_port}")
        code, output = await asyncio.to_thread(command, "status", "--config", str(path), "--json")
        assert code == 0, output
        status = json.loads(output)
        assert status["attached"] == 0
        assert status["open_questions"] == 0
        assert status["covenant_hash"] == today.covenant.hash.hex()
        code, output = await asyncio.to_thread(command, "status", "--config", str(path))
        assert "0 partners attached" in output
        assert "0 questions that a colleague may still decide about" in output
    finally:
        await broker.stop(0)
    code, output = await asyncio.to_thread(command, "status", "--config", str(path))
    assert code == 1
    assert "is it running?" in output


async def test_doctor_and_status_tell_how_many_questions_a_colleague_may_decide_about(today: Federation) -> None:
    om, vt = today.parties[OM.oin], today.parties[VEILIG_THUIS.oin]
    async with today.broker(), vt.attached():
        for _ in range(3):
            lookup = await om.lookup(ZSM_CONTEXT).begin()
            await lookup.outcomes(vt.oin)
    path = write_config(today)
    _, output = await asyncio.to_thread(command, "doctor", "--config", str(path))
    assert "3 questions that a colleague may still decide about" in output
    broker = await start_broker(today.config(metrics="127.0.0.1:0"), SystemClock())
    try:
        path = write_config(today, metrics=f"127.0.0.1:{broker.metrics_port}")
        _, output = await asyncio.to_thread(command, "status", "--config", str(path))
        assert "3 questions that a colleague may still decide about" in output
    finally:
        await broker.stop(0)


def test_serve_drains_on_sigterm_and_reloads_on_sighup(today: Federation) -> None:
    path = write_config(today)
    process = subprocess.Popen(
        [sys.executable, "-c", "from bekend_broker.cli import app; app()", "serve", "--config", str(path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        _await_event(process.stderr, "broker-started")
        process.send_signal(signal.SIGHUP)
        _await_event(process.stderr, "broker-reloaded")
        (today.folder / "manifest.note").write_bytes(b"")
        process.send_signal(signal.SIGHUP)
        _await_event(process.stderr, "broker-reload-refused")
        process.send_signal(signal.SIGTERM)
        _await_event(process.stderr, "broker-stopped")
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_backup_destroys_nothing_by_a_wrong_number(today: Federation) -> None:
    path, copies = write_config(today), today.folder / "copies"
    for wrong in ("0", "-1", "1000000000000"):
        assert command("backup", str(copies), "--keep", wrong, "--config", str(path))[0] == 2


def test_serve_without_its_manifest_ends_with_1_and_says_what_to_do(today: Federation) -> None:
    path = write_config(today)
    (today.folder / "manifest.note").unlink()
    code, output = command("serve", "--config", str(path))
    assert code == 1
    assert "bekend broker manifest" in output


@pytest.mark.parametrize("name", ["init", "manifest", "serve", "doctor", "check", "status"])
def test_every_command_explains_itself(name: str) -> None:
    code, output = command(name, "--help")
    assert code == 0
    assert "--config" in output


def _await_event(lines: Any, event: str) -> None:
    for line in lines:
        if json.loads(line)["event"] == event:
            return
    raise AssertionError(f"the process ended before {event}")
