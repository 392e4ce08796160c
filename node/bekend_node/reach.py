"""How far one gets on the way to a broker, and who answers there: for the log, and `bekend node doctor`.

gRPC says no more than UNAVAILABLE. Here each step is taken by itself:

    (a) TCP to the proxy, or to the broker         closed, no name, no route
    (b) CONNECT                                    the proxy refuses, or asks for credentials
    (c) TLS, verified with the own authorities     another certificate than the broker's: TLS inspection, most often
    (d) the first octets of HTTP/2                 the broker refuses the own certificate
"""

import base64
import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bekend_proto.errors import BekendError
from bekend_proto.identity import TlsFiles, oin_of_certificate, public_key_hash
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bekend_node.config import BrokerAddress, Proxy
from bekend_node.proxy import applies, host_of, login, of_environment

STEP_SECONDS = 5.0
LONGEST_REPLY = 16_384
"""Octets of a proxy's reply that are read."""

_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's codes (X509_V_ERR_*) for a chain that ends at nobody who is trusted."""
_OTHER_NAME = frozenset({62, 64})
_EXPIRED = frozenset({9, 10})
_DER = 2
"""As Python's ssl counts encodings (_ssl.ENCODING_DER)."""


@dataclass(frozen=True)
class Shown:
    """The certificate of a server and the intermediates that it sent, as PEM."""

    chain: tuple[bytes, ...]

    @property
    def certificate(self) -> bytes:
        """The server's own."""
        return self.chain[0]

    @cached_property
    def oin(self) -> str:
        """The organisation that it names. Raises UnknownPartnerError."""
        return oin_of_certificate(self.certificate)

    @cached_property
    def key(self) -> bytes:
        """The hash of its public key. Raises UnknownPartnerError."""
        return public_key_hash(self.certificate)


@dataclass(frozen=True)
class Reach:
    """What was found: whether the broker itself answers, in words what stands between, and whose certificate was shown.

    `shown` is what the broker showed; `issuer` is set when these authorities did not issue the certificate.
    """

    good: bool
    detail: str
    issuer: str | None = None
    shown: Shown | None = None


class _StoppedError(Exception):
    """The way ends here; the text says where and what to do."""


def reach(broker: BrokerAddress, tls: TlsFiles, proxy: Proxy | None = None) -> Reach:
    """Dial the broker step by step. Blocks for seconds at most; raises nothing."""
    proxy = proxy or of_environment(broker.address)
    through = proxy if proxy is not None and applies(proxy, broker.address) else None
    name = broker.server_name or host_of(broker.address)
    try:
        with _line(broker.address, through) as line:
            return _shake(line, name, tls)
    except ssl.SSLCertVerificationError as fault:
        return _shown(broker, through, name, fault)
    except ssl.SSLError as fault:
        return Reach(
            False, f"no TLS with {broker.address} ({fault.reason}): something else than a broker answers there"
        )
    except _StoppedError as stopped:
        return Reach(False, str(stopped))
    except BekendError as fault:
        return Reach(False, fault.detail)
    except (OSError, ValueError) as fault:
        return Reach(
            False, f"{broker.address}: the line broke off ({_reason(fault)}): a firewall between, or no broker"
        )


def _line(address: str, proxy: Proxy | None) -> socket.socket:
    """A connection up to the broker's TLS. Raises _StoppedError."""
    first = proxy.address if proxy else address
    what = f"the proxy {first}" if proxy else f"the broker {first}"
    try:
        line = socket.create_connection((host_of(first), int(first.rpartition(":")[2])), STEP_SECONDS)
    except OSError as fault:
        raise _StoppedError(
            f"no connection to {what} ({_reason(fault)}): check address, name server and firewall"
        ) from None
    if proxy:
        try:
            _connect(line, address, proxy)
        except BaseException:
            line.close()
            raise
    return line


def _connect(line: socket.socket, address: str, proxy: Proxy) -> None:
    request = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
    if (known := login(proxy)) is not None:
        request += f"Proxy-Authorization: Basic {base64.b64encode(':'.join(known).encode()).decode()}\r\n"
    line.sendall(f"{request}\r\n".encode())
    reply = b""
    while b"\r\n\r\n" not in reply and len(reply) < LONGEST_REPLY:
        # Octet by octet: what follows belongs to TLS.
        if not (octet := line.recv(1)):
            break
        reply += octet
    found = re.match(rb"HTTP/1\.[01] (\d{3})", reply)
    status = int(found[1]) if found else 0
    if status == 200:
        return
    if status == 407:
        raise _StoppedError(
            f"the proxy {proxy.address} asks for other credentials (407): check `credentials` under `proxy`"
        )
    said = f"answers {status}" if status else "does not answer as a proxy does"
    raise _StoppedError(f"the proxy {proxy.address} {said} to CONNECT {address}: have it allow that host and port")


def _context(tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # As gRPC's: an intermediate may be trusted by itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(tls.authorities)
    context.load_cert_chain(tls.certificate, tls.key)
    return context


def _shake(line: socket.socket, name: str, tls: TlsFiles) -> Reach:
    """Steps (c) and (d). Raises OSError, SSLError."""
    secure = _context(tls).wrap_socket(line, server_hostname=name)
    # In TLS 1.3 a server judges the client's certificate after the client is done, and says so where it speaks first.
    with secure, contextlib.suppress(ssl.SSLError):
        shown = Shown(tuple(_chain(secure)))
        if secure.recv(9):
            return Reach(True, "the broker itself answers", shown=shown)
    return Reach(
        False,
        "the broker refuses the certificate of this node: ask its operator whether the authority that issued yours is "
        "among those of the broker, and whether yours was revoked",
    )


def _chain(line: ssl.SSLSocket) -> Iterator[bytes]:
    sent: Any = getattr(line, "get_unverified_chain", None)
    if sent is None:
        # Until Python 3.13 only the socket's inside has it, as objects.
        inside: Any = line._sslobj  # type: ignore[attr-defined]
        octets = [one.public_bytes(_DER) for one in inside.get_unverified_chain()]
    else:
        octets = sent()
    for one in octets:
        yield x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM)


def _shown(broker: BrokerAddress, proxy: Proxy | None, name: str, fault: ssl.SSLCertVerificationError) -> Reach:
    """Why the certificate that was shown is not the broker's."""
    if fault.verify_code in _OTHER_NAME:
        return Reach(
            False,
            f"the certificate at {broker.address} is not for {name}: set `server_name` to the host that it names, "
            "or ask the operator of the broker",
        )
    if fault.verify_code in _EXPIRED:
        return Reach(
            False,
            f"the certificate at {broker.address} is not valid at this moment: check the clock, or tell the operator",
        )
    issuer, organisation = _who(broker, proxy, name)
    if fault.verify_code not in _UNKNOWN_ISSUER or issuer is None:
        return Reach(False, f"the certificate at {broker.address} does not verify: {fault.verify_message}", issuer)
    return Reach(
        False,
        f"TLS inspection: the certificate shown for {broker.address}{organisation} was issued by {issuer}, who is none "
        f"of {_AUTHORITIES}. A firewall or proxy between opens the line: have it leave {name} alone (no decryption). "
        "If that issuer is the broker's own, add its certificate to the file",
        issuer,
    )


_AUTHORITIES = "the authorities of this node (`authorities` under `tls`)"


def _who(broker: BrokerAddress, proxy: Proxy | None, name: str) -> tuple[str | None, str]:
    """Issuer of the certificate that is shown, and the organisation that it names. Nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError, ValueError, _StoppedError, BekendError):
        with _line(broker.address, proxy) as line, context.wrap_socket(line, server_hostname=name) as secure:
            octets = secure.getpeercert(binary_form=True)
        certificate = x509.load_der_x509_certificate(octets or b"")
        organisation = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        named = f" (organisation {organisation[0].value!s})" if organisation else ""
        return _plain(certificate.issuer.rfc4514_string()), _plain(named)
    return None, ""


def _plain(text: str) -> str:
    """A stranger's text for a log: printable, and short."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:200]


def _reason(fault: Exception) -> str:
    return getattr(fault, "strerror", None) or type(fault).__name__
