"""Mail that something waits: to whom, with what in it, and what happens when the mail server is away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from email.message import Message
from pathlib import Path

import pytest
from bekend_node.ask.team import KEPT, MOST, Team
from bekend_node.config import Mail, Officer
from bekend_node.mail import TEXT, MailError, MailServer, Notices
from bekend_policy.faults import YamlFaults
from bekend_policy.strict_yaml import load_yaml
from bekend_proto.errors import KeysError, RefusedError

from tests.node.test_collector import ask, quarters
from tests.support.asking import PERSON, ZSM_CASE, Stage
from tests.support.clocks import SteeredClock
from tests.support.covenants import NOW, VEILIG_THUIS
from tests.support.covenants import ZSM as CONTEXT
from tests.support.mailbox import PASSWORD, Mailbox, mailbox

ZSM = "kennemerland/zsm-lokale-context"
JANSEN = Officer(user="jansen", name="J. Jansen", role="officier", mail="jansen@om.example")
SMIT = Officer(user="smit", name="B. Smit", role="officier", mail="smit@om.example")
OTHER_ROLE = Officer(user="devries", name="A. de Vries", role="procesregisseur", mail="devries@om.example")
OFFICERS = [JANSEN, SMIT, OTHER_ROLE]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[VEILIG_THUIS].by_hand = True
    made.sources[VEILIG_THUIS].known = (PERSON,)
    yield made
    await made.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Mailbox]:
    with mailbox(tmp_path / "mail") as made:
        yield made


def server(box: Mailbox, **changes: str) -> MailServer:
    return MailServer(Mail.model_validate(box.settings | changes), SteeredClock(NOW))


def notices(stage: Stage, box: Mailbox) -> tuple[Team, Notices]:
    team = Team(stage.asking, OFFICERS)
    return team, Notices(server(box), team, pause=0.01, retry=0.01)


def text_of(message: Message) -> str:
    """As it was written: lines end in CRLF on their way (RFC 5321, section 2.3.8)."""
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode().replace("\r\n", "\n")


def addresses(box: Mailbox) -> list[str]:
    return sorted(address for address, _ in box.taken)


async def released(stage: Stage) -> None:
    """A colleague at the partner decides, and the next moment of collecting brings it."""
    stage.exchange.release()
    await quarters(stage, 1)


@pytest.mark.parametrize("direct", [False, True])
def test_a_mail_travels_over_tls_and_says_nothing_of_case_person_partner_or_outcome(
    tmp_path: Path, direct: bool
) -> None:
    with mailbox(tmp_path, direct=direct) as box:
        server(box).send("jansen@om.example")
        ((address, message),) = box.taken
        assert box.tls == [True]
    assert address == "jansen@om.example"
    assert text_of(message) == TEXT
    assert message["Subject"] == "bekend"
    assert set(message.keys()) >= {"Date", "Message-ID", "Auto-Submitted"}
    said = message.as_string().casefold()
    assert not any(word in said for word in ("http", ZSM_CASE, "veilig thuis", "uitsluitsel", "jansen,"))


async def test_who_asked_is_told_when_a_later_answer_came(stage: Stage, box: Mailbox) -> None:
    _, mail = notices(stage, box)
    await ask(stage)
    await quarters(stage, 2)
    assert await mail.send_due()
    assert box.taken == []
    await released(stage)
    assert await mail.send_due()
    assert await mail.send_due()
    assert addresses(box) == ["jansen@om.example"]


async def test_the_end_of_the_term_is_told_in_the_same_words(stage: Stage, box: Mailbox) -> None:
    _, mail = notices(stage, box)
    await ask(stage)
    await quarters(stage, 24 * 4 + 8)
    assert await mail.send_due()
    assert [text_of(message) for _, message in box.taken] == [TEXT]


async def test_all_who_work_on_the_case_are_told_and_nobody_else(stage: Stage, box: Mailbox) -> None:
    team, mail = notices(stage, box)
    await ask(stage)
    await team.add(ZSM_CASE, "smit", {ZSM}, "jansen")
    assert await mail.send_due()
    assert addresses(box) == ["smit@om.example"]
    box.taken.clear()
    await released(stage)
    assert await mail.send_due()
    assert addresses(box) == ["jansen@om.example", "smit@om.example"]


async def test_who_lost_the_role_is_not_told(stage: Stage, box: Mailbox) -> None:
    team, mail = notices(stage, box)
    await ask(stage)
    await team.add(ZSM_CASE, "smit", {ZSM}, "jansen")
    await team.signed_in("smit", "B. Smit", {"loket"}, "")
    await released(stage)
    await mail.send_due()
    assert addresses(box) == ["jansen@om.example"]


async def test_the_address_of_sign_in_goes_before_that_of_node_yaml(stage: Stage, box: Mailbox) -> None:
    team, mail = notices(stage, box)
    await team.signed_in("jansen", "J. Jansen", {"officier"}, "j.jansen@login.example")
    await ask(stage)
    await released(stage)
    await mail.send_due()
    assert addresses(box) == ["j.jansen@login.example"]


async def test_who_looked_is_not_told_any_more(stage: Stage, box: Mailbox) -> None:
    team, mail = notices(stage, box)
    await ask(stage)
    await released(stage)
    await team.looked("jansen")
    assert await mail.send_due()
    assert box.taken == []


@pytest.mark.parametrize("fault", ["451 busy", "550 no", "down"])
async def test_a_fault_of_mail_loses_no_answer_and_is_tried_again_over_a_restart(
    stage: Stage, box: Mailbox, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, mail = notices(stage, box)
    await ask(stage)
    if fault == "down":
        box.stop()
    else:
        box.refuse = fault
    await released(stage)
    assert not await mail.send_due()
    assert len(await stage.asker.cases.late_answers(lambda _: True)) == 1
    failed = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "mail-failed" in line]
    assert failed
    assert not any("jansen" in json.dumps(line) for line in failed)
    await stage.restart()
    box.refuse = None
    if fault == "down":
        box.start()
    working = asyncio.create_task(notices(stage, box)[1].run())
    async with asyncio.timeout(20):
        while not box.taken:
            await asyncio.sleep(0.01)
    working.cancel()
    assert addresses(box) == ["jansen@om.example"]


async def test_one_address_that_is_refused_keeps_no_mail_from_others(stage: Stage, box: Mailbox) -> None:
    team, mail = notices(stage, box)
    await ask(stage)
    await team.add(ZSM_CASE, "smit", {ZSM}, "jansen")
    box.unknown = "jansen@om.example"
    await released(stage)
    assert not await mail.send_due()
    assert addresses(box) == ["smit@om.example"]
    box.unknown = None
    assert await mail.send_due()
    assert addresses(box) == ["jansen@om.example", "smit@om.example"]


async def test_a_node_without_a_mail_server_keeps_nothing_to_tell(stage: Stage) -> None:
    team = Team(stage.asking, OFFICERS)
    await ask(stage)
    await released(stage)
    assert set(team.to_be_told()) == {"jansen"}
    assert await Notices(None, team).send_due()
    assert team.to_be_told() == {}


# --- who may be added ------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "by"), [("devries", "jansen"), ("jansen", "jansen"), ("niemand", "jansen")])
async def test_only_a_colleague_who_may_use_the_purpose_is_added(stage: Stage, user: str, by: str) -> None:
    team = Team(stage.asking, OFFICERS)
    with pytest.raises(RefusedError) as refusal:
        await team.add(ZSM_CASE, user, {ZSM}, by)
    assert refusal.value.rule == "collega"
    assert team.on_case(ZSM_CASE) == []


async def test_a_case_has_so_many_colleagues_and_no_more(stage: Stage) -> None:
    crowd = [Officer(user=f"u{n}", name=f"U {n}", role="officier") for n in range(MOST + 1)]
    team = Team(stage.asking, crowd)
    for one in crowd[:MOST]:
        await team.add(ZSM_CASE, one.user, {ZSM}, "jansen")
    with pytest.raises(RefusedError):
        await team.add(ZSM_CASE, crowd[MOST].user, {ZSM}, "jansen")


async def test_fg_32_a_case_that_is_not_taken_in_has_no_colleagues_left(stage: Stage) -> None:
    team = Team(stage.asking, OFFICERS)
    await ask(stage)
    await team.add(ZSM_CASE, "smit", {ZSM}, "jansen")
    await stage.asker.cases.lapse(ZSM_CASE, "jansen", {CONTEXT})
    assert team.on_case(ZSM_CASE) == []


async def test_who_was_not_here_for_a_year_is_forgotten(stage: Stage) -> None:
    team = Team(stage.asking, OFFICERS)
    await team.signed_in("nieuw", "N. Nieuw", {"officier"}, "n@om.example")
    await team.add(ZSM_CASE, "smit", {ZSM}, "jansen")
    stage.clock.advance(KEPT + timedelta(seconds=1))
    await team.tidy()
    assert set(team.known()) == {"jansen", "smit", "devries"}
    assert team.on_case(ZSM_CASE) == []


async def test_the_case_stands_in_no_column(stage: Stage) -> None:
    team = Team(stage.asking, OFFICERS)
    await team.add(ZSM_CASE, "smit", {ZSM}, "jansen")
    await asyncio.to_thread(stage.store.database.truncate_wal)
    held = b"".join(path.read_bytes() for path in (stage.folder / "data").glob("node.db*"))
    assert ZSM_CASE.encode() not in held


# --- settings ---------------------------------------------------------------------------------------


def test_a_certificate_of_somebody_else_gets_no_password(tmp_path: Path, box: Mailbox) -> None:
    other = Mailbox(tmp_path / "other")
    with pytest.raises(MailError, match="SSLCertVerificationError"):
        server(box, authorities=str(other.authorities)).send("jansen@om.example")
    assert box.taken == []


def test_a_wrong_password_is_a_fault_without_the_password(tmp_path: Path, box: Mailbox) -> None:
    box.password.write_text("anders", "utf-8")
    with pytest.raises(MailError, match="535") as fault:
        server(box).send("jansen@om.example")
    assert "anders" not in str(fault.value)


def test_a_password_that_smtp_cannot_carry_stops_nothing_else(box: Mailbox) -> None:
    box.password.write_text("wachtwoörd", "utf-8")
    with pytest.raises(MailError, match="UnicodeEncodeError"):
        server(box).send("jansen@om.example")


def test_the_password_is_kept_from_others_and_from_prints(box: Mailbox) -> None:
    assert PASSWORD not in repr(server(box))
    box.password.chmod(0o644)
    with pytest.raises(KeysError, match="readable by others"):
        server(box)
    box.password.unlink()
    with pytest.raises(KeysError, match="cannot be read"):
        server(box)


@pytest.mark.parametrize(
    "change", ["tls: none", "password: null-file\nuser: ", "from: 'geen adres'", "port: 70000", "host: 'a b'"]
)
def test_settings_that_are_not_safe_are_refused(tmp_path: Path, change: str) -> None:
    lines = {"host": "mail.example", "port": "587", "from": "b@partner.example", "user": "b", "password": "p"}
    for line in change.splitlines():
        key, _, value = line.partition(": ")
        lines[key] = value
    path = tmp_path / "mail.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items() if value), "utf-8")
    with pytest.raises(YamlFaults):
        load_yaml(path, Mail)
