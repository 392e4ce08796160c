"""A mail server to send to: aiosmtpd, over TLS, with a password, and with the faults that a test gives it."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from bekend_deploy.processes import free_ports

from tests.support.pki import Authority

USER, PASSWORD = "bekend", "wachtwoord van de proef"
SENDER = "bekend@partner.example"


class Mailbox:
    """What came in. `refuse`: what to answer in the place of taking a message; `unknown`: an address without a box."""

    def __init__(self, folder: Path, *, direct: bool = False, port: int | None = None) -> None:
        authority = Authority(folder, "Mail CA")
        files = authority.issue("00000099000000009000", name="mail")
        self.authorities = authority.path
        self.password = folder / "mail-password"
        self.password.write_text(PASSWORD + "\n", "utf-8")
        self.password.chmod(0o600)
        self.direct = direct
        self.port = port or free_ports(1)[0]
        self.refuse: str | None = None
        self.unknown: str | None = None
        self.taken: list[tuple[str, Message]] = []
        self.tls: list[bool] = []
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(files.certificate, files.key)
        self._controller: Controller | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """`mail` of node.yaml, for this server."""
        return {
            "host": "localhost",
            "port": str(self.port),
            "tls": "direct" if self.direct else "starttls",
            "from": SENDER,
            "user": USER,
            "password": str(self.password),
            "authorities": str(self.authorities),
        }

    def start(self) -> None:
        """Listen."""
        kind: dict[str, Any] = (
            {"ssl_context": self._context} if self.direct else {"tls_context": self._context, "require_starttls": True}
        )
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            authenticator=self._knows,
            auth_required=True,
            auth_require_tls=not self.direct,
            **kind,
        )
        self._controller.start()

    def stop(self) -> None:
        """Listen no longer."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """aiosmtpd: one address."""
        if address == self.unknown:
            return "550 unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd: a whole message."""
        if self.refuse is not None:
            return self.refuse
        assert isinstance(envelope.content, bytes)
        self.tls.append(session.ssl is not None or self.direct)
        self.taken += [(address, message_from_bytes(envelope.content)) for address in envelope.rcpt_tos]
        return "250 OK"

    @staticmethod
    def _knows(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=right)


@contextmanager
def mailbox(folder: Path, *, direct: bool = False) -> Iterator[Mailbox]:
    """One that listens until the end."""
    made = Mailbox(folder, direct=direct)
    made.start()
    try:
        yield made
    finally:
        made.stop()
