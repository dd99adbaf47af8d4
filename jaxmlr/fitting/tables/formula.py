"""Formulas in Wilkinson notation: checked word by word, and handed to formulaic in names it cannot mistake.

A formula is text of a stranger. Every name of a column becomes a plain word of our own before formulaic
sees it, so that a column may be called anything; a call may name the functions of `FUNCTIONS` only, on
columns and numbers, so that nothing in a formula can run code.
"""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

from jaxmlr.fitting.tables.functions import (
    CENTRED,
    COMPARISONS,
    CONSTANTS,
    CONTRASTS,
    FUNCTIONS,
    INDICATOR,
    INSTEAD,
    KEYWORDS,
    STATEFUL,
    WORD,
    check,
)

LONGEST = 20_000  # characters of a formula
_TOKEN = re.compile(
    r"""(?P<blank>\s+) | `(?P<quoted>[^`]*)` | (?P<string>"[^"\\]*"|'[^'\\]*')
    | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])) | (?P<name>\.?[^\W\d][\w.]*)
    | (?P<operator>%in%|\*\*|[<>=!]=|[-+*/:^(),=|.<>])""",
    re.VERBOSE,
)
_PLAIN = re.compile(r"\.?[^\W\d][\w.]*")


@dataclass
class Formula:
    """A formula whose columns have words of ours for names; `read` makes it."""

    text: str  # as it was written, both sides
    response: str = ""  # the left side as it was written, without backticks around a single name
    left: str = ""  # for formulaic
    right: str = ""
    gate: str = ""  # what the weights depend on, likewise; "" where they are constant
    common: str = ""  # terms of the right side whose coefficients all components share, likewise
    columns: dict[str, str] = field(default_factory=dict)  # the column that a word stands for
    factors: set[str] = field(default_factory=set)  # the words inside of C(...)
    labels: dict[str, str] = field(default_factory=dict)  # what was written for a word or a call
    numbers: set[str] = field(default_factory=set)  # columns that must hold numbers: those on the left
    arguments: dict[str, Any] = field(default_factory=dict)  # of `read`, which made it and can do so again

    @property
    def stateful(self) -> bool:
        """Whether a function has to see all rows before it can be applied to one."""
        sides = (self.left, self.right, self.gate)
        return any(re.search(rf"\b{name}\(", side) for side in sides for name in STATEFUL)

    def right_only(self) -> Self:
        """The same without the columns that only the left side needs."""
        right = {word: name for word, name in self.columns.items() if word in self.right + self.gate}
        return dataclasses.replace(self, columns=right, numbers=set())

    def label(self, name: str) -> str:
        """One of formulaic's names of a column of the design, in the words of the formula's author."""
        if not self.labels:
            return name
        known = "|".join(map(re.escape, sorted(self.labels, key=len, reverse=True)))
        return re.sub(known, lambda match: self.labels[match[0]], name)


def quoted(name: str) -> str:
    """A column's name as a formula has it: in backticks where it is not one word."""
    return name if _PLAIN.fullmatch(name) and name not in CONSTANTS else f"`{name}`"


def split(text: str) -> tuple[str, str | None]:
    """What is in front of the first bar outside of parentheses, and what is behind it; None without a bar."""
    depth = 0
    for token in re.finditer(r"`[^`]*`|\"[^\"]*\"|'[^']*'|[()|]", text):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "|" and depth <= 0:
            return text[: token.start()].strip(), text[token.end() :].strip()
    return text, None


def read(
    left: str,
    right: str,
    columns: Sequence[str],
    default: Sequence[str],
    *,
    verbatim: bool,
    gate: str = "",
    common: str = "",
) -> Formula:
    """Check a formula and put words of ours in the place of its columns.

    Args:
      left: what is left of "~"; arithmetic there is arithmetic, as in R.
      right: what is right of it.
      columns: of the table.
      default: those among them that `.` stands for, without the ones on the left.
      verbatim: `left` is the name of a column as it is.
      gate: what is right of the bar "|", the concomitants that the weights depend on, or "".
      common: terms of the right side whose coefficients all components share, or "".

    Raises:
      ValueError: anything but columns, numbers, the operators of Wilkinson notation and calls of `FUNCTIONS`.
    """
    shown = quoted(left) if verbatim else left
    bar = f" | {gate}" if gate else ""
    formula = Formula(f"{shown} ~ {right}{bar}" if left else right)
    formula.arguments = {
        "left": left,
        "right": right,
        "columns": list(columns),
        "default": list(default),
        "verbatim": verbatim,
        "gate": gate,
        "common": common,
    }
    if len(formula.text) > LONGEST and not (verbatim and right == "."):
        raise ValueError(f"a formula must have at most {LONGEST:,} characters, not {len(formula.text):,}")
    if verbatim:
        formula.left = _Side(formula, left, columns, ()).column(left)
    else:
        formula.left = f"I({_Side(formula, left, columns, None).rewritten()})"
    formula.numbers = set(formula.columns.values())
    if not formula.numbers:
        raise ValueError(f"formula {formula.text!r}: its left side names no column")
    name = re.fullmatch(r"`([^`]*)`", left.strip())
    formula.response = left if verbatim else (name[1] if name else left.strip())
    others = [name for name in default if name not in formula.numbers]
    formula.right = _Side(formula, right, columns, others).rewritten()
    alone = re.fullmatch(rf"(?:I\(\s*)?({WORD}\d+_)(?:\s*\))?", formula.left)
    if gate:
        formula.gate = _Side(formula, gate, columns, others).rewritten()
    if common:
        formula.common = _Side(formula, common, columns, others).rewritten()
    if alone and alone[1] in f"{formula.right} {formula.gate}".split():
        raise ValueError(f"formula {formula.text!r}: the response stands on the right side too")
    return formula


class _Side:
    """One side of a formula, read from left to right."""

    def __init__(self, formula: Formula, text: str, columns: Sequence[str], dot: Sequence[str] | None):
        self.formula, self.text, self.columns = formula, text, set(columns)
        self.dot = dot  # None on the left side, which is arithmetic
        self.words: list[str] = []
        self.open: list[tuple[str, int, int]] = []  # function or "", where it begins in text and in words
        self.at = 0

    def rewritten(self) -> str:
        """The side for formulaic."""
        while self.at < len(self.text):
            token = _TOKEN.match(self.text, self.at)
            if token is None:
                self.fail(self._strange())
            self.at = token.end()
            kind = str(token.lastgroup)
            if kind != "blank":
                self._take(kind, token[kind], token.start())
        if self.open:
            self.fail("a parenthesis is not closed")
        if not self.words:
            self.fail("the left side has no term" if self.dot is None else "the right side has no term")
        whole = " ".join(self.words)
        if self.dot is None:
            self._checked(whole)
        return whole

    @property
    def arithmetic(self) -> bool:
        """Whether signs mean what they mean in arithmetic here."""
        return self.dot is None or any(function for function, *_ in self.open)

    def column(self, name: str, factor: bool = False) -> str:
        """The word for a column."""
        if name not in self.columns:
            self.fail(self._unknown(name))
        place = len(self.formula.columns)
        for word, known in self.formula.columns.items():
            if known == name and (word in self.formula.factors) == factor:
                return word
        word = f"{WORD}{place}_"
        self.formula.columns[word] = self.formula.labels[word] = name
        if factor:
            self.formula.factors.add(word)
        return word

    def fail(self, what: str) -> NoReturn:
        """Raise ValueError with the formula in front."""
        raise ValueError(f"formula {self.formula.text!r}: {what}")

    def _take(self, kind: str, token: str, start: int) -> None:
        called = self.text[self.at :].lstrip()[:1] == "("
        in_factor = bool(self.open) and self.open[-1][0] == "C"
        if kind == "quoted":
            self.words.append(self.column(token, in_factor))
        elif kind == "number":
            self.words.append(token)
        elif kind == "string":
            if not any(function for function, *_ in self.open):
                self.fail(f"{token} is a text; a column's name is written in backticks")
            self.words.append(token)
        elif kind == "name":
            self._name(token, called, in_factor, start)
        elif token == "(":
            self._enter("", start)
        elif token == ")":
            self._leave()
        else:
            self._operator(token)

    def _name(self, name: str, called: bool, in_factor: bool, start: int) -> None:
        if in_factor and name in CONTRASTS:
            self.words.append(name)
        elif called:
            self._call(name, start)
        elif self.arithmetic and self.open and re.match(r"\s*=(?!=)", self.text[self.at :]):
            if name not in KEYWORDS:
                self.fail(f"{name!r} is not one of the arguments {', '.join(KEYWORDS)}")
            self.words.append(name)
        elif name not in self.columns and name in CONSTANTS and self.open:
            self.words.append(CONSTANTS[name])
        else:
            self.words.append(self.column(name, in_factor))

    def _call(self, name: str, start: int) -> None:
        if name not in FUNCTIONS:
            instead = INSTEAD.get(name)
            hint = f"write {instead}(...) instead" if instead else f"the functions are {', '.join(FUNCTIONS)}"
            self.fail(f"{name!r} is not a function of formulas; {hint}")
        if name == "c" and not any(function for function, *_ in self.open):
            self.fail("c(...) lists numbers inside of a call")
        self.at = self.text.index("(", self.at) + 1
        if name == "Q":
            name_of = re.compile(r"""\s*("([^"]*)"|'([^']*)')\s*\)""").match(self.text, self.at)
            if name_of is None:
                self.fail('Q takes the name of a column, as Q("heart rate")')
            self.at = name_of.end()
            within = bool(self.open) and self.open[-1][0] == "C"
            self.words.append(self.column(name_of[2] or name_of[3] or "", within))
            return
        self._enter(name, start)

    def _enter(self, function: str, start: int) -> None:
        if len(self.open) >= 30:
            self.fail("parentheses are nested more than 30 deep")
        self.open.append((function, start, len(self.words)))
        self.words.append(f"{function}(")

    def _leave(self) -> None:
        if not self.open:
            self.fail("a parenthesis is closed that was not opened")
        function, start, first = self.open.pop()
        if function in CENTRED and "constraints" not in self.words[first:]:
            self.words += [",", "constraints", "=", "'center'"]
        self.words.append(")")
        if (
            function and not self.arithmetic
        ):  # a whole factor: formulaic's name for it gives way to the author's
            written = self._checked(" ".join(self.words[first:]))
            if INDICATOR in written:
                self.words[first:] = [written]
            self.formula.labels[written] = self.text[start : self.at]

    def _checked(self, code: str) -> str:
        try:
            return check(code)
        except ValueError as error:
            self.fail(self.formula.label(str(error)))

    def _operator(self, token: str) -> None:
        if token == "|":
            if self.open:
                self.fail("'|' in parentheses names random effects, which are not taken; see --group")
            self.fail("'|' stands once, between regressors and concomitants, as y ~ x | z")
        if token == "." and not self.arithmetic:
            if not self.dot:
                self.fail("'.' stands for all other columns, and there is none")
            self.words.append(f"( {' + '.join(self.column(name) for name in self.dot or ())} )")
        elif self.arithmetic:
            if token in (":", ".", "%in%") or (token in ("=", ",") and not self.open):
                self.fail(f"{token!r} has no meaning inside of a call or on the left side")
            if token in COMPARISONS and self.dot is None:
                self.fail(f"{token!r} has no meaning on the left side")
            self.words.append("**" if token == "^" else token)
        elif token == "%in%":
            self.words.append(":")  # as in R
        else:
            if token in COMPARISONS:
                self.fail(f"a comparison stands inside of I(...), as I(x {token} 2)")
            if token in (",", "="):
                self.fail(f"{token!r} outside of a call")
            if token in ("^", "**") and not re.match(
                r"\s*([1-9]|10)(?!\s*(\^|\*\*|[\w.]))", self.text[self.at :]
            ):
                self.fail("outside of I(...) a power must be a whole number from 1 to 10")
            self.words.append(token)

    def _strange(self) -> str:
        sign = self.text[self.at]
        if sign == "{":
            return "Python in braces is not run; write arithmetic as I(...)"
        if sign == "&":
            return "write the product of comparisons, as I((x > 2) * (w < 1))"
        return self._backticks() or f"{sign!r} is not a sign of formulas"

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.columns, n=1, cutoff=0.6)
        known = sorted(self.columns)
        shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        hint = f"did you mean {near[0]!r}?" if near else f"the table has {shown}"
        return f"no column {name!r}; {self._backticks() or hint}"

    def _backticks(self) -> str:
        """Advice where the name of a column stands in the formula without the backticks that it needs."""
        bare = [name for name in self.columns if name in self.text and quoted(name) != name]
        return f"write {quoted(max(bare, key=len))} with backticks" if bare else ""
