"""What the ondertekenaar and the privacy officer do works where there is no POSIX: imitated, and read from the lock."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from bekend_proto.note import parse_note, verify_note
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[2]
SIGNER = "bekend/00000099000000001000/ondertekenaar"
PHRASE = "paard batterij nietje juist"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "pass").write_text(f"{PHRASE}\n")
    (tmp_path / "pass-2").write_text("lamp gordijn fiets regen\n")
    return tmp_path


def bekend(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.windows", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNDEFAULTENCODING": "1"},
        capture_output=True,
        timeout=120,
        check=False,
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    assert not re.search(r"(policy|proto|node)/bekend_\w+/\S+: EncodingWarning", said), said
    return done.stdout.decode()


def keygen(folder: Path, file: str = "own.key", name: str = SIGNER) -> str:
    words = ("policy", "keygen", file, "--naam", name, "--wachtwoordbestand", "pass", "--json")
    return str(json.loads(bekend(folder, *words))["vkey"])


def test_the_ondertekenaar_signs_a_text_and_it_verifies_on_linux(desk: Path) -> None:
    vkey = keygen(desk)
    # Written with an editor of Windows.
    text = (
        'soort: bekend/1 stilzetting\nconvenant: kennemerland\nnummer: 1\nwie: "00000099000000001000"\n'
        'wat: knooppunt\nknooppunt: "00000099000000001000"\nintrekking: nee\nreden: "Oefening"\n'
        "vanaf: 2026-11-22T10:00:00Z\n"
    )
    (desk / "stil.txt").write_bytes(text.replace("\n", "\r\n").encode())
    bekend(desk, "policy", "sign", "stil.txt", "--sleutel", "own.key", "--wachtwoordbestand", "pass")
    note = parse_note((desk / "stil.txt.note").read_bytes())
    assert verify_note(note, vkey)
    assert note.text == text
    assert "De handtekening klopt" in bekend(desk, "policy", "verify", "stil.txt.note", "--anker", vkey)


def test_the_ondertekenaar_checks_and_signs_a_covenant(desk: Path) -> None:
    folder = desk / "convenant"
    shutil.copytree(ROOT / "policy" / "convenant" / "kennemerland", folder)
    vkey = keygen(desk)
    path = folder / "deelnemers" / "om.yaml"
    path.write_text(re.sub(r"^ondertekenaar: .*$", f"ondertekenaar: {vkey}", path.read_text(), flags=re.M))
    assert "geen fouten" in bekend(desk, "policy", "check", "convenant")
    bekend(desk, "policy", "sign", "convenant", "--sleutel", "own.key", "--wachtwoordbestand", "pass")
    (note,) = (folder / "handtekeningen").glob("*.note")
    assert b"\r" not in note.read_bytes()
    bekend(desk, "policy", "matrix", "convenant", "--html", "matrix.html")
    bekend(desk, "policy", "report", "convenant", "rapport.html")


def test_the_privacy_officer_makes_the_keys_and_hands_one_over(desk: Path) -> None:
    pair = ("--wachtwoord-functionaris", "pass", "--wachtwoord-plaatsvervanger", "pass-2")
    bekend(desk, "inzage", "sleutel", "maken", "sleutels", "--oin", "00000099000000001000", *pair)
    public = (desk / "sleutels" / "privacy-officer.pub").read_bytes()
    assert b"\r" not in public
    assert len(public.split()) == 2


def test_the_parts_that_are_used_off_line_load_without_posix() -> None:
    """And with them all that their commands import, so far as they say so at their head."""
    code = (
        "import sys; from tests.support.windows import imitate, NO_MODULES; imitate(*sys.argv[1:]);"
        "print(sorted((NO_MODULES - {'posix'}) & set(sys.modules)))"
    )
    parts = ("policy", "inzage", "receipt", "audit", "log", "bulletin")
    done = subprocess.run(
        [sys.executable, "-c", code, *parts], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "[]\n", done.stderr


def test_every_dependency_has_a_wheel_for_windows() -> None:
    """By the lock, for 64-bit Windows and every CPython that is supported up to the one in use."""
    pinned = re.findall(r"^([\w.-]+)==(\S+)(.*?)\\?$", (ROOT / "deploy" / "requirements.txt").read_text(), re.M)
    lock = {one["name"]: one for one in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    for version in ((3, 11), (3, 13)):
        tags = {*cpython_tags(version, platforms=["win_amd64"]), *compatible_tags(version, platforms=["win_amd64"])}
        for name, _, marker in pinned:
            if "emscripten" in marker and "!=" not in marker:
                continue
            files = [wheel["url"].rsplit("/", 1)[1] for wheel in lock[name]["wheels"]]
            assert any(parse_wheel_filename(file)[3] & tags for file in files), f"{name} for {version}"
