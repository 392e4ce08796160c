"""TLS of the pages: what they show to browsers, and whom they believe when they ask the provider."""

import ssl
from pathlib import Path

from bekend_proto.clock import Clock
from bekend_proto.errors import KeysError
from bekend_proto.identity import read_pair


class PageTls:
    """The pages' own certificate. A new one in the same files is shown from `renew` on, to whoever connects then.

    With `clients`, authorities, who connects may show a certificate too, that must come from one of them.

    Raises TlsFilesError (with the remedy) when the files cannot be used, KeysError when `clients` holds nobody.
    """

    def __init__(self, certificate: Path, key: Path, clock: Clock, clients: Path | None = None) -> None:
        self._files = (certificate, key)
        self._clock = clock
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Of TLS 1.2 the suites alone that NCSC calls good; those of 1.3 all are.
        self._context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self._context.options |= ssl.OP_NO_RENEGOTIATION
        if clients is not None:
            _believe(self._context, clients)
            self._context.verify_mode = ssl.CERT_OPTIONAL
        self.renew()

    def renew(self) -> None:
        """Read the files again. Raises TlsFilesError; then the certificate that was shown stays."""
        read_pair(*self._files, self._clock)
        self._context.load_cert_chain(*self._files)

    def context(self, *_: object) -> ssl.SSLContext:
        """What connections are made with."""
        return self._context


def client_context(authorities: Path | None) -> ssl.SSLContext:
    """For asking the provider: its certificate must come from the machine's authorities, or from those in the file.

    Raises KeysError when the file holds none.
    """
    context = ssl.create_default_context() if authorities is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authorities is not None:
        _believe(context, authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _believe(context: ssl.SSLContext, authorities: Path) -> None:
    """Take certificates of these authorities. Raises KeysError when the file holds none."""
    try:
        context.load_verify_locations(authorities)
    except (OSError, ssl.SSLError):
        raise KeysError(f"{authorities} holds no PEM certificates of authorities: check the path") from None
