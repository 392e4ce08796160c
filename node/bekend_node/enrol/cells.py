"""What a cell of a workbook or a database's row is in text, as a CSV would have it."""

from datetime import date, datetime
from decimal import Decimal

from bekend_proto.clock import AMSTERDAM
from bekend_proto.identifiers import SKN

_SKN_DIGITS = 8
_LARGEST = 10**18
"""Above any number that a list is read for."""


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
        return _day(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, int | float | Decimal):
        raise NoTextError("a value is no text, number or date")
    if not _is_counted(value):
        raise NoTextError("a number is longer than any identifier, or none at all")
    text = str(int(value)) if value == value // 1 else str(value)
    if kind == SKN and len(text) < _SKN_DIGITS:
        raise NoTextError("this SKN is stored as a number, which may have lost a zero: store it as text")
    return text


def _day(moment: datetime) -> date:
    try:
        return (moment.astimezone(AMSTERDAM) if moment.tzinfo else moment).date()
    except OverflowError:
        # The last hours of the year 9999, which many systems write for no end, lie in the next one here.
        return moment.date()


def _is_counted(value: int | float | Decimal) -> bool:
    """Whether a number has digits that can be written: not one without end, or of thousands of digits, or none."""
    try:
        return -_LARGEST < value < _LARGEST
    except ArithmeticError:
        return False
