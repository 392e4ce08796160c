"""`bekend policy` from a terminal: Dutch, exit codes 0, 1 and 2, and one JSON object on request."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from bekend_policy.cli import app
from bekend_policy.keys import open_signing_key
from bekend_policy.manifest import KeyManifest, open_manifest
from bekend_policy.standing import StandingDecision
from bekend_proto.note import parse_note, verify_note
from typer.testing import CliRunner, Result

from tests.support.covenants import (
    EVIL,
    OM,
    OPERATOR,
    PARTNERS,
    POLITIE,
    RECLASSERING,
    ZSM,
    edit,
    example,
    key_of,
    sign_all,
)

NAME = f"bekend/{OM}/ondertekenaar"


def run(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "wachtwoord"
    path.write_text("paard batterij nietje juist\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def now_valid(tmp_path: Path) -> Path:
    """The example, in force today."""
    folder = example(tmp_path / "convenant")
    today = datetime.now(UTC).date()
    edit(folder / "afspraken.yaml", r"geldig_vanaf: .*", f"geldig_vanaf: {today - timedelta(days=1)}")
    edit(folder / "afspraken.yaml", r"geldig_tot_en_met: .*", f"geldig_tot_en_met: {today + timedelta(days=30)}")
    return folder


def test_check_is_silent_about_a_good_covenant_and_loud_about_a_bad_one(tmp_path: Path) -> None:
    good = run("check", example(tmp_path / "goed"))
    assert (good.exit_code, "geen fouten" in good.output) == (0, True)
    bad = run("check", example(tmp_path / "slecht", overlay=EVIL / "ggz-automatisch"))
    assert bad.exit_code == 1
    assert "doelen/kwaad.yaml:9: D4: GGZ en jeugdhulp antwoorden nooit vanzelf" in bad.stderr
    assert "1 fout." in bad.stderr


def test_check_as_json_names_file_line_what_and_remedy(tmp_path: Path) -> None:
    result = run("check", example(tmp_path / "slecht", overlay=EVIL / "convenant-als-grondslag"), "--json")
    assert result.exit_code == 1
    [fault] = json.loads(result.stdout)["faults"]
    assert (fault["file"], fault["line"]) == ("doelen/kwaad.yaml", 10)
    assert fault["what"].startswith("D13")
    assert fault["remedy"]


def test_wrong_use_is_code_2(tmp_path: Path) -> None:
    for result, says in (
        (run("check", tmp_path / "nergens"), f"{tmp_path / 'nergens'} bestaat niet. Controleer het pad.\n"),
        (run("verify", example(tmp_path / "convenant"), "--anker", "geen sleutel"), "--anker is geen openbare sleutel"),
    ):
        assert result.exit_code == 2
        assert result.stderr.startswith(says)
    assert run("teken").exit_code == 2


@pytest.mark.parametrize("command", ["explain", "decide"])
@pytest.mark.parametrize("option", ["--van", "--aan", "--namens"])
def test_a_name_where_an_oin_belongs_is_wrong_use(command: str, option: str, tmp_path: Path) -> None:
    parties = {"--van": OM, "--aan": POLITIE, option: "Haarlem"}
    words = [word for pair in parties.items() for word in pair]
    anchor = ["--anker", key_of(OM).vkey] if command == "decide" else []
    result = run(command, example(tmp_path / "convenant"), *words, "--doel", ZSM, *anchor)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"{option} is geen OIN: 'Haarlem'.")
    assert "bekend policy show" in result.stderr


def test_a_key_file_that_is_not_there_is_told_before_a_passphrase_is_asked(tmp_path: Path) -> None:
    result = run("sign", example(tmp_path / "convenant"), "--sleutel", tmp_path / "geen.key")
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path / 'geen.key'} bestaat niet. Controleer het pad.\n"


def test_faults_of_a_text_to_sign_are_counted(tmp_path: Path, passphrase: Path) -> None:
    key = tmp_path / "om.key"
    run("keygen", key, "--naam", NAME, "--wachtwoordbestand", passphrase)
    (tmp_path / "stil.txt").write_text("soort: bekend/1 stilzetting\nx: y\n")
    result = run("sign", tmp_path / "stil.txt", "--sleutel", key, "--wachtwoordbestand", passphrase)
    *told, count = result.stderr.splitlines()
    assert len(told) > 1
    assert count == f"{len(told)} fouten."


def test_from_key_to_verified_covenant(now_valid: Path, tmp_path: Path, passphrase: Path) -> None:
    """A new ondertekenaar of the OM: make a key, pin it, sign, verify."""
    key = tmp_path / "om.key"
    made = run("keygen", key, "--naam", NAME, "--wachtwoordbestand", passphrase, "--json")
    assert made.exit_code == 0
    vkey = json.loads(made.stdout)["vkey"]
    edit(now_valid / "deelnemers" / "om.yaml", re.escape(key_of(OM).vkey), vkey)
    sign_all(now_valid, [oin for oin in (*PARTNERS, OPERATOR) if oin != OM])

    before = run("verify", now_valid, "--anker", vkey)
    assert before.exit_code == 1
    assert "de eigen ondertekenaar heeft deze versie niet getekend" in before.stderr

    signed = run("sign", now_valid, "--sleutel", key, "--wachtwoordbestand", passphrase)
    assert (signed.exit_code, f"{OM}.note" in signed.output) == (0, True)
    anchor = tmp_path / "om.vkey"
    anchor.write_text(vkey + "\n")
    after = run("verify", now_valid, "--anker", anchor, "--json")
    assert after.exit_code == 0
    assert json.loads(after.stdout)["signed_by"] == sorted(PARTNERS)
    assert run("verify", now_valid, "--anker", vkey, "--nieuwste", 2).exit_code == 1

    mutated = now_valid / "doelen" / "zsm-context.yaml"
    mutated.write_bytes(mutated.read_bytes().replace(b"PT72H", b"PT73H"))
    assert run("verify", now_valid, "--anker", vkey).exit_code == 1


def test_keygen_asks_twice_and_never_overwrites(tmp_path: Path) -> None:
    key = tmp_path / "om.key"
    words = "paard batterij nietje juist\n"
    made = run("keygen", key, "--naam", NAME, stdin=words + words)
    assert made.exit_code == 0
    assert open_signing_key(key, words.strip()).vkey in made.stdout
    assert "paard" not in made.output
    again = run("keygen", key, "--naam", NAME, stdin=words + words)
    assert (again.exit_code, "bestaat al" in again.stderr) == (1, True)


def test_a_passphrase_file_that_others_may_read_is_refused(tmp_path: Path, passphrase: Path) -> None:
    passphrase.chmod(0o644)
    result = run("keygen", tmp_path / "om.key", "--naam", NAME, "--wachtwoordbestand", passphrase)
    assert (result.exit_code, "chmod 600" in result.stderr) == (1, True)
    assert not (tmp_path / "om.key").exists()


def test_decide_explains_one_question(now_valid: Path) -> None:
    sign_all(now_valid)
    arguments = ["decide", now_valid, "--anker", key_of(OM).vkey, "--doel", ZSM]
    allowed = run(*arguments, "--van", OM, "--aan", POLITIE)
    assert allowed.exit_code == 0
    assert allowed.output.startswith("Mag (kennemerland/zsm-context:automatisch)")
    refused = run(*arguments, "--van", RECLASSERING, "--aan", POLITIE, "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["rule"] == "geen-vrager"


@pytest.fixture
def two_keys(tmp_path: Path, passphrase: Path) -> tuple[Path, Path]:
    keys = (tmp_path / "een.key", tmp_path / "twee.key")
    for number, key in enumerate(keys, start=1):
        assert (
            run(
                "keygen", key, "--naam", f"bekend/{OM}/ondertekenaar{number}", "--wachtwoordbestand", passphrase
            ).exit_code
            == 0
        )
    return keys


def test_a_mapping_is_signed_by_two_people_in_one_note(
    tmp_path: Path, passphrase: Path, two_keys: tuple[Path, Path]
) -> None:
    path = tmp_path / "zaken.yaml"
    path.write_text("kind: bekend/1 mapping\nregister: zaken\n")
    for key in two_keys:
        assert run("sign", path, "--sleutel", key, "--wachtwoordbestand", passphrase).exit_code == 0
    note = parse_note((tmp_path / "zaken.yaml.note").read_bytes())
    vkeys = [open_signing_key(key, "paard batterij nietje juist").vkey for key in two_keys]
    assert len(note.signatures) == 2
    assert all(verify_note(note, vkey) for vkey in vkeys)
    verified = run("verify", tmp_path / "zaken.yaml.note", "--anker", vkeys[0])
    assert (verified.exit_code, "kolomindeling" in verified.output) == (0, True)
    assert run("verify", tmp_path / "zaken.yaml.note", "--anker", key_of(OM).vkey).exit_code == 1

    path.write_text("kind: bekend/1 mapping\nregister: andere\n")
    changed = run("sign", path, "--sleutel", two_keys[0], "--wachtwoordbestand", passphrase)
    assert (changed.exit_code, "andere tekst" in changed.stderr) == (1, True)


def test_a_manifest_and_a_standing_decision_are_checked_before_they_are_signed(
    tmp_path: Path, passphrase: Path
) -> None:
    key = tmp_path / "om.key"
    vkey = json.loads(run("keygen", key, "--naam", NAME, "--wachtwoordbestand", passphrase, "--json").stdout)["vkey"]
    now = datetime.now(UTC).replace(microsecond=0)
    manifest = KeyManifest(OM, 1, now, now + timedelta(days=30), (1,), (b"s" * 32,))
    path = tmp_path / "manifest.yaml"
    path.write_text(manifest.text())
    assert run("sign", path, "--sleutel", key, "--wachtwoordbestand", passphrase).exit_code == 0
    assert open_manifest((tmp_path / "manifest.yaml.note").read_bytes(), vkey, now) == manifest

    decision = StandingDecision("kennemerland", OM, ZSM, date(2026, 11, 1), date(2027, 1, 1), "besluit 1")
    good, bad = tmp_path / "besluit.yaml", tmp_path / "te-lang.yaml"
    good.write_text(decision.text())
    bad.write_text(decision.text().replace("2027", "2037"))
    assert run("sign", good, "--sleutel", key, "--wachtwoordbestand", passphrase).exit_code == 0
    refused = run("sign", bad, "--sleutel", key, "--wachtwoordbestand", passphrase)
    assert (refused.exit_code, "ten hoogste een jaar" in refused.stderr) == (1, True)
    assert not (tmp_path / "te-lang.yaml.note").exists()

    other = tmp_path / "brief.txt"
    other.write_text("Geachte heer,\n")
    unknown = run("sign", other, "--sleutel", key, "--wachtwoordbestand", passphrase)
    assert (unknown.exit_code, "de eerste regel moet" in unknown.stderr) == (1, True)
