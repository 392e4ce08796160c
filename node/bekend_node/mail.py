"""Mail that says that something waits, and nothing else: no case, person, partner, purpose or outcome.

One text for everybody, over TLS, to the organisation's own mail server. Whoever reads the mail, or watches the server,
learns that an officer has something to look at and when. A mail that does not get through is tried again until it does
or the officer has looked; the answers themselves never depend on it.
"""

import asyncio
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Final

from bekend_proto import logs
from bekend_proto.clock import AMSTERDAM, Clock
from bekend_proto.errors import BekendError, KeysError, code_name
from bekend_proto.logs import log

from bekend_node.ask.team import Team
from bekend_node.config import Mail, MailTls
from bekend_node.password_file import read_password

SUBJECT: Final = "bekend"
TEXT: Final = (
    "Er staat iets voor u klaar in bekend.\n"
    "\n"
    "Open bekend zoals u gewend bent, en kijk bij 'Mijn vragen'.\n"
    "In dit bericht staat met opzet niets over een zaak of persoon, en geen link.\n"
)
PAUSE_SECONDS: Final = 300.0
"""Between two rounds of mail: what comes meanwhile is told together."""
RETRY_SECONDS: Final = 60.0
LONGEST_RETRY: Final = 3_600.0
"""The pause after a fault doubles up to this."""
_TIMEOUT: Final = 30.0
"""Seconds that the mail server may take for one step."""


class MailError(Exception):
    """A mail was not taken; the text names the fault and no address."""


@dataclass(frozen=True)
class MailServer:
    """Sends the one text. Raises KeysError when the password or the authorities cannot be used."""

    config: Mail
    clock: Clock
    _password: str = field(init=False, repr=False, default="")
    _context: ssl.SSLContext | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "_password", read_password(self.config.password, "mail") if self.config.password else ""
        )
        object.__setattr__(self, "_context", _context(self.config))

    def send(self, address: str) -> None:
        """Tell one officer. Blocks; raises MailError."""
        message = EmailMessage()
        message["From"] = self.config.sender
        message["To"] = address
        message["Subject"] = SUBJECT
        message["Date"] = format_datetime(self.clock.now().astimezone(AMSTERDAM))
        message["Message-ID"] = make_msgid(domain=self.config.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(TEXT)
        try:
            with self._connect() as server:
                if self.config.user is not None:
                    server.login(self.config.user, self._password)
                server.send_message(message)
        except smtplib.SMTPRecipientsRefused as fault:
            raise MailError(f"the mail server refuses an address: {min(fault.recipients.values())[0]}") from None
        except smtplib.SMTPResponseException as fault:
            raise MailError(f"the mail server says {fault.smtp_code}") from None
        except (smtplib.SMTPException, OSError, ValueError) as fault:
            # ValueError: a password or host name that the protocol cannot carry.
            raise MailError(type(fault).__name__) from None

    def _connect(self) -> smtplib.SMTP:
        name = self.config.sender.rpartition("@")[2]
        if self.config.tls is MailTls.DIRECT:
            return smtplib.SMTP_SSL(
                self.config.host, self.config.port, local_hostname=name, timeout=_TIMEOUT, context=self._context
            )
        server = smtplib.SMTP(self.config.host, self.config.port, local_hostname=name, timeout=_TIMEOUT)
        if self.config.tls is MailTls.STARTTLS:
            try:
                server.starttls(context=self._context)
            except BaseException:
                server.close()
                raise
        return server


class Notices:
    """Tells officers by mail what waits for them. `waiting` wakes it; `run` is the work."""

    def __init__(
        self,
        server: MailServer | None,
        team: Team,
        pause: float = PAUSE_SECONDS,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self._send: Callable[[str], None] | None = server.send if server else None
        self._team = team
        self._pause = pause
        self._retry = retry
        self._called = asyncio.Event()
        self._called.set()
        self._mailed = 0

    @property
    def mails(self) -> bool:
        """Whether officers are told by mail at all."""
        return self._send is not None

    def waiting(self) -> None:
        """Something waits for somebody."""
        self._called.set()

    async def run(self) -> None:
        """Send what is due, also from before a restart, until cancelled."""
        retry = self._retry
        while True:
            await self._called.wait()
            self._called.clear()
            before = self._mailed
            if await self.send_due():
                retry = self._retry
                # Who was not mailed just now need not wait for the first mail.
                await asyncio.sleep(self._pause if self._mailed > before else 0)
            else:
                self._called.set()
                await asyncio.sleep(retry)
                retry = min(2 * retry, LONGEST_RETRY)

    async def send_due(self) -> bool:
        """One round; False when a mail is to be tried again."""
        done = True
        try:
            for user, (address, purposes) in self._team.to_be_told().items():
                if self._send is not None and not await self._told(self._send, address):
                    done = False
                    continue
                await self._team.told(user, purposes)
        except BekendError as fault:
            log(logs.MAIL_FAILED, detail=code_name(fault.code))
            return False
        return done

    async def _told(self, send: Callable[[str], None], address: str) -> bool:
        """Whether this needs no second try: the mail was taken, or nobody knows where to send it."""
        if not address:
            log(logs.MAIL_FAILED, detail="an officer has no address: give `mail` in node.yaml, or `mail_claim`")
            return True
        try:
            await asyncio.to_thread(send, address)
            self._mailed += 1
        except MailError as fault:
            log(logs.MAIL_FAILED, detail=str(fault))
            return False
        return True


def _context(config: Mail) -> ssl.SSLContext | None:
    if config.tls is MailTls.NONE:
        return None
    try:
        return ssl.create_default_context(cafile=config.authorities)
    except (OSError, ssl.SSLError) as fault:
        raise KeysError(f"mail: {config.authorities} holds no certificates ({fault}): check the path") from None
