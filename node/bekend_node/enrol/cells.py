"""What a cell of a workbook or a database's row is in text, as a CSV would have it."""

from datetime import date, datetime
from decimal import Decimal

from bekend_proto.clock import AMSTERDAM
from bekend_proto.identifiers import SKN

_SKN_DIGITS = 8


class NoTextError(ValueError):
    """A cell that is no text, number or date, or of which the digits are not sure. The message says so."""


def text_of(value: object, kind: str | None = None) -> str:
    """Digits of a number, a date as 2026-11-21, `true` or `false`; "" for nothing. Raises NoTextError.

    `kind`: of the number that stands there. Who stores one as a number drops the zeros in front of it: a BSN gets its
    zero back (`identifiers.py`), of an SKN the length does not tell whether one is lost.
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return (value.astimezone(AMSTERDAM) if value.tzinfo else value).date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, int | float | Decimal):
        raise NoTextError("a value is no text, number or date")
    text = str(int(value)) if value == value // 1 else str(value)
    if kind == SKN and len(text) < _SKN_DIGITS:
        raise NoTextError("this SKN is stored as a number, which may have lost a zero: store it as text")
    return text
