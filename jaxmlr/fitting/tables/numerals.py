"""Numbers as people write them: decimal signs, groups of three digits, currency signs, dates."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

MISSING = frozenset(
    ("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None")
)
_CURRENCY = "(?:(?:[A-Z]{1,2})?[€$£¥₹₩₽₺₪]|(?:USD|EUR|GBP|JPY|CHF|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK|BRL))"
_BLANKS = " \u00a0\u202f'\u2019"  # that set groups of three digits apart, and nothing else
_NUMBER = re.compile(
    rf"\s*{_CURRENCY}?\s*[-+\u2212]?\s*{_CURRENCY}?\s*([\d.,{_BLANKS}]*\d[.,]?)([eE][-+]?\d+)?\s*{_CURRENCY}?\s*"
)
_UNIT = r"(?:\s*[%°‰]|\s+[^\W\d_])[^\s\d]{0,9}"  # behind a number: 40 %, 21 °C, 4.5 mm
_NONE = (  # stand for a missing number where all other entries are numbers
    *(".", "..", "?", "-", "--", "\u2013", "\u2014", "n.a.", "N.A.", "missing"),
    *("#DIV/0!", "#VALUE!", "#REF!", "#NUM!", "#NAME?", "#NULL!"),
)
_DATE = re.compile(
    r"\s*(?:(?P<iso>\d{4}[-/]\d{1,2}[-/]\d{1,2})(?:[T ]\d.*)?"
    r"|(?P<first>\d{1,2})(?P<sign>[-/.])(?P<second>\d{1,2})(?P=sign)\d{4}"
    r"|\d{1,2}[- ][A-Za-z]{3}[- ]\d{4})\s*"
)


class Marks(NamedTuple):
    """The signs within numbers."""

    decimal: str
    thousands: str  # "" where commas and points never set groups of digits apart


def is_number(entry: str) -> bool:
    """Whether an entry reads as a number under some marks."""
    return bool(_NUMBER.fullmatch(entry)) or entry.strip().lower() in ("inf", "-inf", "+inf")


def is_missing(entry: str) -> bool:
    """Whether an entry stands for none."""
    return entry.strip() in MISSING


def is_gap(entry: str) -> bool:
    """Whether an entry stands for none, or does so among numbers."""
    return is_missing(entry) or entry.strip() in _NONE


def marks(
    columns: Sequence[tuple[str, Sequence[str]]], separator: str, decimal: str | None, thousands: str | None
) -> Marks:
    """The marks of a table, from a sample of its columns.

    A sign is the decimal sign for certain where it stands once and not before three digits, or behind the
    other one. Where nothing is certain, "." is it, unless "1,200" might be 1.2 as well as 1200.

    Args:
      columns: names and entries.
      separator: of the columns.
      decimal: "." or ",", or None to find it.
      thousands: "," or "." or "", or None to find it.

    Raises:
      ValueError: both signs are the decimal sign, or either might be; the message says what to give.
    """
    certain: dict[str, tuple[str, str]] = {}
    possible: dict[str, tuple[str, str]] = {}
    for name, entries in columns:
        numbers = [entry for entry in entries if not is_gap(entry)]
        matches = [_NUMBER.fullmatch(entry) for entry in numbers]
        if not numbers or not all(matches) or looks_like_dates(numbers):
            continue
        for entry, match in zip(numbers, matches, strict=True):
            sign, sure = _decimal(match[1] if match else "")
            if sign:
                (certain if sure else possible).setdefault(sign, (name, entry))
    if decimal is None:
        if len(certain) == 2:
            (one, first), (other, second) = certain["."], certain[","]
            raise ValueError(
                f"column {one!r} has {first!r} and column {other!r} has {second!r}:"
                " give --decimal , or --decimal ."
            )
        unsure = "," in possible and "." not in certain and not (separator == "," and "." in possible)
        if not certain and thousands is None and unsure:
            name, entry = possible[","]
            raise ValueError(
                f"column {name!r}: {entry!r} has a comma before three digits:"
                " give --thousands , or --decimal ,"
            )
        decimal = next(iter(certain), "." if thousands != "." else ",")
    return Marks(decimal, ("," if decimal == "." else ".") if thousands is None else thousands)


def _decimal(digits: str) -> tuple[str, bool]:
    """The decimal sign of a number, "" if it has no sign at all, and whether that is certain."""
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        last = max(".,", key=digits.rindex)
        return (last, True) if digits.count(last) == 1 else ("", False)
    sign = "." if points else ","
    if points + commas == 0:
        return "", False
    if points + commas > 1:  # groups of three digits
        return ("," if points else "."), True
    before, _, after = digits.partition(sign)
    return sign, len(after) != 3 or not 1 <= len(before) <= 3 or before[0] == "0"


def numbers(text: "pd.Series[Any]", marks: Marks) -> "tuple[pd.Series[Any], str] | None":
    """A column of text as float64, and what was done for it, or None if an entry is not a number.

    Args:
      text: entries, NaN where missing.
      marks: of the table.

    Returns:
      The numbers and a few words on what was done, empty if there were only decimal signs.
    """
    present = text.dropna().astype(str)
    none = present.str.strip().isin(_NONE)
    missing, present = sorted(set(present[none].str.strip())), present[~none]
    if present.empty:
        return None
    groups = _BLANKS + marks.thousands
    whole = rf"(?:\d{{1,3}}(?P<group>[{groups}])\d{{3}}(?:(?P=group)\d{{3}})*|\d+)"
    sign, point = r"\s*(?P<sign>[-+\u2212]?)\s*", re.escape(marks.decimal)
    pattern = re.compile(
        rf"\s*(?P<before>{_CURRENCY}?){sign}(?P<within>{_CURRENCY}?)\s*"
        rf"(?P<number>{whole}?(?:{point}\d*)?(?:[eEdD][-+]?\d+)?)"
        rf"(?:\s*(?P<after>{_CURRENCY}?)|(?P<unit>{_UNIT}))\s*"
    )
    if not all(map(pattern.fullmatch, present.iloc[:100])):
        return None
    matches = [pattern.fullmatch(entry) for entry in present]
    parsed = [match for match in matches if match is not None and any(map(str.isdigit, match["number"]))]
    if len(parsed) < len(present):
        return None
    units = {match["unit"] and match["unit"].strip() for match in parsed}
    if len(units) > 1:
        return None
    signs = [[match[place] for place in ("before", "within", "after") if match[place]] for match in parsed]
    currencies = {sign for each in signs for sign in each}
    if len(currencies) > 1 or any(len(each) > 1 for each in signs):
        return None
    plain = str.maketrans({mark: "" for mark in groups} | {marks.decimal: ".", "d": "e", "D": "e"})
    values = [
        float(("-" if match["sign"] in ("-", "\u2212") else "") + match["number"].translate(plain))
        for match in parsed
    ]
    taken = ["currency signs"] * bool(currencies) + [f"units {unit!r}" for unit in units if unit]
    said = [f"{', '.join(map(repr, missing))} stands for a missing entry"] if missing else []
    groupings = sorted({match["group"] for match in parsed} - {None})
    taken += [f"thousands {mark!r}" for mark in groupings]
    series = pd.Series(values, index=present.index, dtype=np.float64).reindex(text.index)
    said += [f"{' and '.join(taken)} are taken off"] if taken else []
    return series.rename(text.name), "; ".join(said)


def looks_like_dates(entries: Iterable[str]) -> bool:
    """Whether all entries are dates, in one of the forms that `days` reads."""
    return all(map(_DATE.fullmatch, entries))


PACKED = (
    "column {!r}: numbers as {:.0f} look like dates, between which there are not so many days; write them as"
    " 2024-01-31 and give --dates"
)


def looks_like_packed_dates(values: "pd.Series[Any]") -> bool:
    """Whether all numbers are dates of 1900 to 2099 written as 20240131, three different ones at least."""
    present = values.dropna().unique()
    if len(present) < 3 or present.min() < 19000101 or present.max() > 20991231:
        return False
    whole = present.astype(np.int64)
    stamps = pd.to_datetime(pd.Series(whole).astype(str), format="%Y%m%d", errors="coerce")
    return bool((whole == present).all() and stamps.notna().all())


def days(dates: "pd.Series[Any]") -> "pd.Series[Any]":
    """Dates as numbers of days since 1970-01-01, with the time of the day as a fraction, in UTC.

    Args:
      dates: of a type of dates, or text as 2024-01-31, 31.01.2024, 31/01/2024, 01/31/2024 or 31-Jan-2024.

    Raises:
      ValueError: it is not certain whether the day or the month comes first.
    """
    if pd.api.types.is_datetime64_any_dtype(dates.dtype):
        stamps = pd.to_datetime(dates, utc=True)
    else:
        text = dates.dropna().astype(str).str.strip()
        stamps = pd.to_datetime(text.str.replace("/", "-"), format=_format(dates.name, text), utc=True)
    passed = stamps.reindex(dates.index) - pd.Timestamp(0, tz="UTC")
    return (passed / pd.Timedelta(days=1)).astype(np.float64).rename(dates.name)


def _format(name: Any, text: "pd.Series[Any]") -> str:
    matches = [match for match in map(_DATE.fullmatch, text) if match is not None]
    if all(match["iso"] for match in matches):
        return "ISO8601"
    signs = {match["sign"] for match in matches}
    if len(signs) > 1 or any(match["iso"] for match in matches):
        raise ValueError(f"column {name!r} has dates in several forms; write them as 2024-01-31")
    sign = signs.pop()
    if sign is None:
        return "%d-%b-%Y" if "-" in text.iloc[0] else "%d %b %Y"
    if sign == "." or any(int(match["first"]) > 12 for match in matches):
        return "%d.%m.%Y" if sign == "." else "%d-%m-%Y"
    if any(int(match["second"]) > 12 for match in matches):
        return "%m-%d-%Y"
    raise ValueError(
        f"column {name!r}: {text.iloc[0]!r} may begin with the day or the month; write dates as 2024-01-31"
    )
