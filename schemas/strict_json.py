"""JSON as RFC 8259 has it and no more: numbers to the last digit, each key once, no NaN."""

import json
from decimal import Decimal
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """The value of a JSON text; a number with a fraction or an exponent becomes a Decimal.

    ValueError says what is wrong: where the text breaks off, which key stands twice, that NaN is no JSON number.
    """
    try:
        return json.loads(
            text, object_pairs_hook=_no_twins, parse_float=_decimal, parse_int=_integer, parse_constant=_constant
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return result


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except ArithmeticError as error:
        raise ValueError(f"number {digits[:32]} is beyond what a decimal can hold") from error


def _integer(digits: str) -> int:
    # int() refuses over 4,300 digits (CVE-2020-10735); a Decimal is exact, and takes them in linear time.
    return int(digits) if len(digits) < 1_000 else int(Decimal(digits))


def _constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON; give null, or text")
