"""How a text file writes a table: what is certain is recognised and said, the rest is asked for."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jaxmlr.fitting.tables import numerals
from jaxmlr.fitting.tables.numerals import Marks

SEPARATORS = {"tab": "\t", "space": r"\s+", "\\t": "\t", " ": r"\s+"}  # words for signs that shells dislike
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_OTHERS = {  # first bytes of files that are no text, and what to do
    b"PK\x03\x04": "a packed file or an Excel workbook: save its sheet as CSV, or name it .zip",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save its sheet as CSV",
    b"\x1f\x8b": "packed by gzip: name it .gz",
    b"BZh": "packed by bzip2: name it .bz2",
    b"\xfd7zXZ\0": "packed by xz: name it .xz",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard: name it .zst",
    b"PAR1": "a Parquet file: name it .parquet",
    b"ARROW1": "an Arrow file: name it .arrow",
    b"\x89HDF": "an HDF5 file: write its table as CSV or Parquet",
    b"SQLite format 3": "a database: write the table as CSV or Parquet",
    b"\x93NUMPY": "an array of NumPy: write it as CSV with a line of names",
    b"<stata_dta>": "a file of Stata: write the table as CSV or Parquet",
    b"$FL2": "a file of SPSS: write the table as CSV or Parquet",
    b"{": "JSON: write the table as CSV or Parquet",
    b"[{": "JSON: write the table as CSV or Parquet",
    b"<": "HTML or XML: write the table as CSV or Parquet",
}
_COMMENTS = ("#", "%", "//")
_NO_COMMENT = re.compile(r"#(N/A|NA|DIV/0!|VALUE!|REF!|NUM!|NAME\?|NULL!)|(#|%|//)\s*[,;\t|]")  # an entry


@dataclass(frozen=True)
class Reading:
    """What the user says about a file; None is to be found out."""

    separator: str | None = None  # a sign, "tab" or "space"
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    comment: str | None = None  # how lines begin that are left out
    skip_rows: int | None = None  # lines before the header
    missing: tuple[str, ...] = ()  # entries that stand for none, beside "", NA, NaN, null and the like
    dates: bool = False  # make dates numbers of days

    def __post_init__(self) -> None:
        """Raise ValueError for signs that cannot be what they are said to be."""
        for option, value, known in (("decimal", self.decimal, ".,"), ("thousands", self.thousands, ".,' ")):
            if value is not None and (len(value) != 1 or value not in known):
                raise ValueError(f"--{option} must be one of {' '.join(known)}, not {value!r}")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"--decimal and --thousands are both {self.decimal!r}")
        if self.separator is not None and self.separator not in SEPARATORS and len(self.separator) != 1:
            raise ValueError(f"--separator must be one sign, tab or space, not {self.separator!r}")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError as error:
                raise ValueError(f"--encoding {self.encoding!r} is unknown; utf-8 or cp1252?") from error


@dataclass(frozen=True)
class Dialect:
    """How a file is to be read."""

    encoding: str
    separator: str
    quote: str
    marks: Marks
    comment: str | None  # begins lines within the table that are left out
    names: tuple[str, ...]  # one a column; "" where the header has none
    first: int  # lines before the first row
    notes: tuple[str, ...]  # what is unusual, in sentences


def recognise(sample: bytes, whole: bool, name: str, reading: Reading) -> Dialect:
    """The dialect of a file by its first bytes.

    Args:
      sample: the file or its beginning.
      whole: whether there is no more.
      name: of the file, for errors.
      reading: what is known.

    Raises:
      ValueError: something is not certain; the message names the option that settles it.
    """
    encoding = reading.encoding or next((e for bom, e in _BOMS.items() if sample.startswith(bom)), "utf-8")
    for start, kind in _OTHERS.items():
        if sample.startswith(start) and reading.encoding is None and not _begins_a_name(sample, start):
            raise ValueError(f"{name} is {kind}")
    text = _decoded(sample, whole, name, encoding)
    lines = re.split(r"\r\n|\r|\n", text)
    lines = lines if whole else lines[:-1]
    if not any(line.strip() for line in lines):
        raise ValueError(f"{name} is empty")
    at, separator = reading.skip_rows or 0, SEPARATORS.get(reading.separator or "", reading.separator)
    if match := re.fullmatch(
        r'"?sep=(.)"?', lines[at].strip() if at < len(lines) else ""
    ):  # Excel's own hint
        at, separator = at + 1, separator or match[1]
    comment, last = _comment(lines[at:], reading)
    while at < len(lines) and (
        not lines[at].strip() or (comment and is_comment(lines[at].lstrip(), comment))
    ):
        at += 1
    body = [line for line in lines[at:] if line.strip() and not (comment and is_comment(line, comment))]
    if not body:
        raise ValueError(f"{name} has no table" + (f" behind --skip-rows {at}" if reading.skip_rows else ""))
    commented = comment is not None and len(body) < sum(bool(line.strip()) for line in lines[at:])
    separator = separator or _separator(body, name)
    quote = "'" if re.fullmatch(r"('[^']*'.?)+", body[0].strip()) else '"'
    table = [fields(line, separator, quote) for line in _records(body, quote)]
    header = table[0]
    if last and _is_header(last, comment, separator, quote, table):
        header, rows, first = fields(last.lstrip(comment or ""), separator, quote), table, at
    else:
        rows, first = table[1:], at + 1 + sum(field.count("\n") for field in header)
    header = [each.strip() for each in header]
    if header[0] == "#" and len({row[0] for row in rows}) == len(rows):
        header[0] = ""  # the sign for a number, not a name
    header, notes = _names(header, rows, name)
    columns = [(each, _entries(rows, i)) for i, each in enumerate(header)]
    if _has_units(columns):
        units = [entries[0] for _, entries in columns]
        notes.append(f"the first row, {', '.join(map(repr, units[:5]))}, holds units and is left out")
        columns = [(each, entries[1:]) for each, entries in columns]
        first = lines.index(body[1 if first > at else 0], first) + 1
    _check_begins(columns, name)
    for each, entries in columns:
        if (zeros := [entry.strip() for entry in entries if re.fullmatch(r"\s*0\d+\s*", entry)]) and each:
            notes.append(
                f"column {each!r} has numbers as {zeros[0]}; for codes, C(...) makes a factor of them"
            )
    marks = numerals.marks(columns, separator, reading.decimal, reading.thousands)
    sentence = _sentence(separator, marks, encoding, comment if at or commented else None)
    return Dialect(
        encoding,
        separator,
        quote,
        marks,
        comment if commented or reading.comment else None,
        tuple(header),
        first,
        (*sentence, *notes),
    )


def _begins_a_name(sample: bytes, start: bytes) -> bool:
    """Whether signs that begin JSON, HTML or XML begin the first name of a table."""
    first = sample.splitlines()[0]
    return start in (b"{", b"<") and not re.match(rb'\{\s*("[^"]*"\s*:|$)|<[!?a-zA-Z][^>,;\t]*>\s*$', first)


def fields(line: str, separator: str, quote: str) -> list[str]:
    """The entries of one line."""
    if separator == r"\s+":
        return [a or b for a, b in re.findall(rf"{quote}([^{quote}]*){quote}|(\S+)", line)]
    parts = line.splitlines(keepends=True)
    return next(csv.reader(parts, delimiter=separator, quotechar=quote, skipinitialspace=True), [])


def is_comment(line: str, comment: str) -> bool:
    """Whether a line is a comment, and no row that begins with such a sign, as with "#N/A" or a name "#"."""
    return line.startswith(comment) and not _NO_COMMENT.match(line)


def _records(lines: Sequence[str], quote: str) -> list[str]:
    """Lines, joined where a quoted entry goes on over the end of one."""
    records: list[str] = []
    for line in lines:
        if records and records[-1].count(quote) % 2:
            records[-1] += "\n" + line
        else:
            records.append(line)
    return records


def _decoded(sample: bytes, whole: bool, name: str, encoding: str) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(sample, whole)
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        line = sample[:at].count(b"\n") + 1
        raise ValueError(
            f"{name}: line {line} is not {encoding} (byte {sample[at]:#04x});"
            " give --encoding, for example cp1252"
        ) from error
    if "\0" in text:
        raise ValueError(f"{name} holds bytes of value 0: give --encoding, for example utf-16, if it is text")
    return text


def _comment(lines: Sequence[str], reading: Reading) -> tuple[str | None, str]:
    """How comments begin, and the last of those in front of the table."""
    starts = _COMMENTS if reading.comment is None else (reading.comment,)
    for start in starts:
        if any(is_comment(line, start) for line in lines):
            leading = []
            for line in lines:
                if line.strip() and not is_comment(line, start):
                    break
                leading.append(line)
            return start, next((line for line in reversed(leading) if line.strip()), "")
    return reading.comment, ""


def _is_header(last: str, comment: str | None, separator: str, quote: str, table: list[list[str]]) -> bool:
    """Whether a comment in front of a table of numbers is its header, as numpy and gnuplot write it."""
    names = fields(last.lstrip(comment or "").strip(), separator, quote)
    first = [entry for entry in table[0] if not numerals.is_missing(entry)]
    return len(names) == len(table[0]) and all(map(numerals.is_number, first)) and len(table) > 1


def _separator(body: Sequence[str], name: str) -> str:
    """The sign that gives all lines as many entries as the header has."""
    lines = body[:1000]
    fits = {sign: _fits(lines, sign) for sign in (",", ";", "\t", "|")}
    fitting = [sign for sign, fit in fits.items() if fit == max(fits.values()) > 0]
    if len(fitting) > 1:
        shown = " or ".join(f"--separator {'tab' if sign == chr(9) else repr(sign)}" for sign in fitting)
        raise ValueError(f"{name}: several signs may separate the columns: give {shown}")
    if fitting:
        return fitting[0]
    if not any(sign in line for sign in ",;\t|" for line in lines):
        return r"\s+" if _fits(lines, r"\s+") else ","
    used = [sign for sign in (",", ";", "\t", "|") if sign in lines[0]]
    if len(used) == 1:
        return used[0]
    counts = {sign: len(fields(lines[-1], sign, '"')) for sign in (",", ";", "\t", "|")}
    raise ValueError(
        f"{name}: the first line, {lines[0][:40]!r}, has not as many entries as the others"
        f" ({max(counts.values())}): give --skip-rows if the table begins later, or --separator"
    )


def _fits(lines: Sequence[str], sign: str) -> int:
    """2 where a sign gives every line as many entries, 1 where the header has one more or less, else 0."""
    counts = [len(fields(line, sign, '"')) for line in _records(lines, '"')]
    width, often = Counter(counts[1:] or counts).most_common(1)[0]
    if width == 1 or max(counts[1:], default=width) > width or often < 0.9 * (len(counts) - 1):
        return 0
    return max(0, 2 - abs(counts[0] - width))


def _entries(rows: Sequence[Sequence[str]], i: int) -> list[str]:
    return [row[i] if i < len(row) else "" for row in rows]


def _names(header: list[str], rows: Sequence[Sequence[str]], name: str) -> tuple[list[str], list[str]]:
    """One name a column, and what is to be said about them."""
    width = max(map(len, rows), default=len(header))
    notes = []
    if width == len(header) + 1 and all(len(row) < width or not row[-1].strip() for row in rows):
        header = [*header, ""]  # a separator at the end of every row
    elif width == len(header) + 1 and _are_row_names(rows):
        header = ["", *header]  # R's row names
    elif width > len(header):
        row = next(i for i, each in enumerate(rows) if len(each) == width)
        raise ValueError(
            f"{name} is not a whole CSV file: row {row + 1} has {width} entries and the header {len(header)};"
            " --separator, --decimal or --skip-rows may help"
        )
    if all(map(numerals.is_number, header)) and any("." in each or "," in each for each in header):
        raise ValueError(
            f"{name}: the first line holds numbers, {', '.join(header[:3])}, where the names of the columns"
            " belong: put a line of names in front"
        )
    twice = [each for each, count in Counter(header).items() if each and count > 1]
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}; give one of them another name")
    for i, each in enumerate(header):
        if not each and any(len(row) > i and row[i].strip() for row in rows):
            notes.append(f"column {i + 1}, which has no name, is no regressor and left out")
    return header, notes


def _are_row_names(rows: Sequence[Sequence[str]]) -> bool:
    """Whether a first column without a heading names rows, and the first row is not the header itself."""
    columns = [("", _entries(rows, i)) for i in range(1, max(map(len, rows)))]
    return len({row[0] for row in rows if row}) == len(rows) and not _has_units(columns)


def _has_units(columns: Sequence[tuple[str, Sequence[str]]]) -> bool:
    """Whether the first row holds words in all columns of numbers, or words in brackets in some of them."""
    numeric = [
        entries
        for _, entries in columns
        if len(entries) > 2
        and all(numerals.is_number(each) or numerals.is_gap(each) for each in entries[1:])
        and not all(map(numerals.is_missing, entries[1:]))
    ]
    words = [each[0] for each in numeric if not numerals.is_missing(each[0])]
    bracketed = all(each.strip()[0] in "[(" and each.strip()[-1] in ")]" for each in words)
    return (
        bool(words) and not any(map(numerals.is_number, words)) and (bracketed or len(words) == len(numeric))
    )


def _check_begins(columns: Sequence[tuple[str, Sequence[str]]], name: str) -> None:
    """Raise ValueError where rows of words stand in front of numbers: the header is not the first line."""
    numeric = [entries for _, entries in columns if 2 * sum(map(numerals.is_number, entries)) > len(entries)]
    words = [
        next((k for k, each in enumerate(entries) if numerals.is_number(each)), 0) for entries in numeric
    ]
    present = any(not numerals.is_missing(entries[0]) for entries in numeric if entries)
    if words and min(words) > 0 and present:
        raise ValueError(
            f"{name}: {min(words)} rows of words stand between the first line and the numbers:"
            f" give --skip-rows {min(words)} if the last of them is the header, or take them out"
        )


def _sentence(separator: str, marks: Marks, encoding: str, comment: str | None) -> list[str]:
    said = []
    if separator != ",":
        said.append("separator " + {"\t": "tab", r"\s+": "space"}.get(separator, repr(separator)))
    if marks.decimal != ".":
        said.append(f"decimal {marks.decimal!r}")
    if encoding not in ("utf-8", "utf-8-sig"):
        said.append(f"encoding {encoding}")
    if comment:
        said.append(f"comments behind {comment!r}")
    return [f"read with {' and '.join(said)}"] if said else []
