"""The HTTP proxy between this node and the brokers: which hosts go through it, and how gRPC is told (CONNECT, RFC 9110
section 9.3.6).
"""

import os
from typing import Any, Final
from urllib.parse import quote, urlsplit

from bekend_proto.identity import TlsFilesError, is_loopback, read_pem

from bekend_node.config import Proxy

ENVIRONMENT: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_LEFT_OUT: Final = ("no_grpc_proxy", "no_proxy")
"""Where gRPC finds its proxy, and which hosts it reaches without, in its order."""


def host_of(address: str) -> str:
    """The host in `host:port`, an IPv6 address without its brackets."""
    return address.rpartition(":")[0].strip("[]")


def applies(proxy: Proxy, address: str) -> bool:
    """Whether `host:port` is reached through the proxy."""
    host = host_of(address).lower()
    named = (name.lower().lstrip(".") for name in proxy.no_proxy)
    return not any(host == name or host.endswith(f".{name}") for name in named)


def of_environment(address: str) -> Proxy | None:
    """The proxy that the environment names, which gRPC takes when none is configured; without its credentials."""
    named = next((value for name in ENVIRONMENT if (value := os.environ.get(name))), "")
    found = urlsplit(named if "//" in named else f"//{named}")
    if is_loopback(address) or not found.hostname:
        return None
    left_out = next((value for name in _LEFT_OUT if (value := os.environ.get(name))), "")
    hosts = tuple(name.strip() for name in left_out.split(",") if name.strip())
    return Proxy(address=f"{found.hostname}:{found.port or 80}", no_proxy=hosts)


def login(proxy: Proxy) -> tuple[str, str] | None:
    """User and password for the proxy. Raises TlsFilesError, which names the file and the remedy, never a value."""
    if proxy.credentials is None:
        return None
    text = read_pem(proxy.credentials, "the proxy's credentials", private=True).decode("utf-8", "replace")
    user, colon, password = text.strip().partition(":")
    if not colon or not user or "\n" in password:
        raise TlsFilesError(f"{proxy.credentials} does not hold one line user:password: write that")
    return user, password


def proxy_options(address: str, proxy: Proxy | None) -> dict[str, Any]:
    """gRPC's options for a channel to `address`. Without a configured proxy the environment's counts, as gRPC has it.

    Raises TlsFilesError as `login` does.
    """
    if proxy is None:
        return {}
    if not applies(proxy, address):
        return {"grpc.enable_http_proxy": 0}
    known = login(proxy)
    user = f"{quote(known[0], safe='')}:{quote(known[1], safe='')}@" if known else ""
    return {"grpc.http_proxy": f"http://{user}{proxy.address}"}
