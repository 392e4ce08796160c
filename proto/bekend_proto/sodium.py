"""libsodium's ristretto255 (RFC 9496) through ctypes: raw octets in, raw octets out, return codes kept.

The system's libsodium comes first; where there is none, the copy that the package `rbcl` carries. Nothing
here judges its arguments: C reads 32 (or 64) octets from each pointer, so callers pass exactly that many.
`group.py` is the only caller, and the place of every check.

`CDLL` releases the GIL during a call and every result has a buffer of its own, so all of this may be
called from any number of threads.
"""

import contextlib
import ctypes
import ctypes.util
import importlib
import os

_SONAMES = ("libsodium.so.23", "libsodium.so.26", "libsodium.so", "libsodium.dylib", "libsodium.dll")
"""Asked before `find_library`, which starts a compiler to search where ldconfig knows nothing."""

_PROBE = "crypto_scalarmult_ristretto255"
"""Absent from libsodium before 1.0.18 and from its minimal builds."""


def _open(name: str | None) -> ctypes.CDLL | None:
    if name is None:
        return None
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return None
    return library if hasattr(library, _PROBE) else None


def _bundled() -> ctypes.CDLL:
    """The copy inside rbcl. It writes its library to a temporary file when imported, hence imported only here."""
    module = importlib.import_module("rbcl._sodium")
    # Once loaded, the file is needed no more; where the system locks it (Windows) it stays.
    with contextlib.suppress(OSError):
        os.unlink(module.lib_path)
    library: ctypes.CDLL = module._sodium
    return library


def _system() -> ctypes.CDLL | None:
    for name in _SONAMES:
        if library := _open(name):
            return library
    return _open(ctypes.util.find_library("sodium"))


_library = _system() or _bundled()
if _library.sodium_init() < 0:
    raise ImportError("libsodium does not start: sodium_init failed")

_library.sodium_version_string.restype = ctypes.c_char_p
VERSION: str = _library.sodium_version_string().decode("ascii")
"""Version of the libsodium in use, for `status` and the bench."""

_Octets32 = ctypes.c_char * 32


def _declare(name: str, arguments: int, result: type[ctypes.c_int] | None) -> "ctypes._NamedFuncPointer":
    function = getattr(_library, name)
    function.argtypes = [ctypes.c_char_p] * arguments
    function.restype = result
    return function  # type: ignore[no-any-return]


_scalarmult = _declare("crypto_scalarmult_ristretto255", 3, ctypes.c_int)
_scalarmult_base = _declare("crypto_scalarmult_ristretto255_base", 2, ctypes.c_int)
_is_valid_point = _declare("crypto_core_ristretto255_is_valid_point", 1, ctypes.c_int)
_add = _declare("crypto_core_ristretto255_add", 3, ctypes.c_int)
_from_hash = _declare("crypto_core_ristretto255_from_hash", 2, ctypes.c_int)
_scalar_mul = _declare("crypto_core_ristretto255_scalar_mul", 3, None)
_scalar_add = _declare("crypto_core_ristretto255_scalar_add", 3, None)
_scalar_sub = _declare("crypto_core_ristretto255_scalar_sub", 3, None)
_scalar_invert = _declare("crypto_core_ristretto255_scalar_invert", 2, ctypes.c_int)
_scalar_reduce = _declare("crypto_core_ristretto255_scalar_reduce", 2, None)


def scalarmult(scalar: bytes, point: bytes) -> bytes | None:
    """`scalar * point`; None when the point is invalid or the product is the identity."""
    out = _Octets32()
    return None if _scalarmult(out, scalar, point) else out.raw


def scalarmult_base(scalar: bytes) -> bytes | None:
    """`scalar * G`; None when the scalar is zero."""
    out = _Octets32()
    return None if _scalarmult_base(out, scalar) else out.raw


def is_valid_point(point: bytes) -> bool:
    """Whether the 32 octets decode as RFC 9496 section 4.3.1 says. The identity counts as valid here."""
    return bool(_is_valid_point(point))


def add(left: bytes, right: bytes) -> bytes | None:
    """`left + right`; None when one of them is invalid. The sum may be the identity."""
    out = _Octets32()
    return None if _add(out, left, right) else out.raw


def from_hash(uniform: bytes) -> bytes:
    """The one-way map of RFC 9496 section 4.3.4 from 64 uniform octets."""
    out = _Octets32()
    _from_hash(out, uniform)
    return out.raw


def scalar_mul(left: bytes, right: bytes) -> bytes:
    """`left * right` mod order."""
    out = _Octets32()
    _scalar_mul(out, left, right)
    return out.raw


def scalar_add(left: bytes, right: bytes) -> bytes:
    """`left + right` mod order."""
    out = _Octets32()
    _scalar_add(out, left, right)
    return out.raw


def scalar_sub(left: bytes, right: bytes) -> bytes:
    """`left - right` mod order."""
    out = _Octets32()
    _scalar_sub(out, left, right)
    return out.raw


def scalar_invert(scalar: bytes) -> bytes | None:
    """`1 / scalar` mod order, in constant time; None for zero."""
    out = _Octets32()
    return None if _scalar_invert(out, scalar) else out.raw


def scalar_reduce(wide: bytes) -> bytes:
    """64 octets, little-endian, mod order."""
    out = _Octets32()
    _scalar_reduce(out, wide)
    return out.raw
