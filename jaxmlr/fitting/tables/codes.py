"""Numbers that seem to stand for missing entries."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from jaxmlr.fitting.tables import numerals

FILL = 1e20  # from here on a number far from all others is a fill value, as 1e30 or 9.97e36
_LIMITS = {-(2.0**15), 2.0**15 - 1, 2.0**16 - 1, -(2.0**31), 2.0**31 - 1, -(2.0**63), 2.0**63}  # of integers
_MOST = 3  # codes of one column on one side, as -997, -998 and -999
_VARIED = 10  # different entries beside a code, below which a design may be what sets it apart


def check(values: "pd.Series[Any]", missing: Collection[str] = ()) -> None:
    """Raise ValueError where numbers look like codes for a missing entry.

    They are nines, as -999, or such with a neighbour, as -998; limits of integers; or of 1e20 and more; and
    outside of all others by more than those differ from one another.

    Args:
      values: a column of numbers.
      missing: what the user calls missing; a text among them, as NA, says that numbers are numbers.
    """
    present = values.dropna().to_numpy(np.float64)
    if len(present) < 3 or _are_numbers(missing):
        return
    for sign in (1, -1):
        codes = _set_apart(sign * present) * sign
        if len(codes):
            others = present[~np.isin(present, codes)]
            shown, count = " and ".join(f"{code:g}" for code in codes), len(present) - len(others)
            options = " ".join(f"--missing {_plain(code)}" for code in codes)
            raise ValueError(
                f"column {values.name!r} holds {shown} in {count} of {len(present)} rows,"
                f" far from the others, which go from {others.min():g} to {others.max():g}: give {options} if"
                " it stands for a missing entry, or --missing NA if it is a number"
            )


def remarks(values: "pd.Series[Any]", missing: Collection[str] = ()) -> Iterator[str]:
    """Sentences on a number that might be such a code, or not: in several rows, and apart from the others.

    That is the least or the greatest, by thrice the widest gap between others, or the only negative one.
    """
    present = values.dropna().to_numpy(np.float64)
    if len(present) < 3 or _are_numbers(missing):
        return
    for sign in (1, -1):
        code = (sign * present).min()
        count = int((sign * present == code).sum())
        others = np.unique(sign * present)[1:] if count > 1 else np.empty(0)
        if len(others) < _VARIED:
            continue
        gap = others[0] - code
        apart = gap > max(3 * np.diff(others).max(), 0.1 * np.ptp(others))
        if apart or (sign > 0 and code < 0 <= others[0] and code.is_integer()):
            what = "apart from the others" if apart else "and no other negative number"
            yield (
                f"column {values.name!r} holds {sign * code:g} in {count:,} rows, {what}:"
                f" --missing {_plain(sign * code)} if it stands for a missing entry"
            )


def _are_numbers(missing: Collection[str]) -> bool:
    return any(not numerals.is_number(entry) for entry in missing)


def _set_apart(values: np.ndarray) -> np.ndarray:
    """The least of the values that are codes and farther from the others than those are from one another."""
    apart, others = 0, values
    least: list[float] = []
    while len(least) < _MOST:
        value = others.min()
        if not (_is_code(value) or (least and value - least[-1] < _VARIED)):
            break
        least.append(value)
        others = others[others > value]
        if len(others) < 2:
            break
        if any(map(_is_code, least)) and others.min() - value > np.ptp(others):
            apart = len(least)
    return np.array(least[:apart])


def _is_code(value: float) -> bool:
    nines = abs(value) >= 99 and set(f"{abs(value):.10g}") <= {"9", "."}
    return nines or abs(value) >= FILL or value in _LIMITS or -value in _LIMITS


def _plain(code: float) -> str:
    """A number with no digit too many, and none too few."""
    short = f"{code:.15g}"
    return short if float(short) == code else repr(float(code))
