"""The functions that a formula may call, and on what."""

import ast
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

WORD = "jx"  # how our words for columns begin
MOST_COLUMNS = 100  # of one polynomial or spline
CENTRED = ("cr", "cs", "cc")  # as in mgcv: beside an intercept their columns would be collinear
STATEFUL = ("poly", "bs", "cr", "cs", "cc", "center", "scale")  # remember what they have learnt, for new rows
FUNCTIONS: dict[str, Callable[..., Any] | None] = {
    **{name: getattr(np, name) for name in ("log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs")},
    **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil")},
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "offset": lambda column: column,
    "c": lambda *numbers: list(numbers),
    **dict.fromkeys((*STATEFUL, "C", "I", "Q")),  # formulaic's own, and Q, which is a way to write a name
}
CONTRASTS = tuple(f"contr.{name}" for name in ("treatment", "sum", "poly", "helmert", "diff", "sas"))
_ARGUMENTS = ("degree", "df", "knots", "raw", "include_intercept", "lower_bound", "upper_bound")
KEYWORDS = (
    *_ARGUMENTS,
    "extrapolation",
    "constraints",
    "center",
    "scale",
    "ddof",
    "levels",
    "base",
    "contr",
)
CONSTANTS = {"TRUE": "True", "FALSE": "False", "NULL": "None", "True": "True", "False": "False"}
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
INDICATOR = (
    "jxindicator"  # our word for what makes 0 and 1 of a comparison, which sums of truth values are not
)
INSTEAD = {
    "factor": "C",
    "as.factor": "C",
    "ns": "cr",
    "s": "bs",
    "ln": "log",
    "power": "I",
    "rcs": "cr",
    "ifelse": "I",
}
_OF_MORE = ("C", "c", *STATEFUL, *CONTRASTS)  # take more than a column


def check(code: str) -> str:
    """The Python of a call or of arithmetic as formulaic writes it, with comparisons as numbers 0 and 1.

    Args:
      code: in words of `formula.Formula.columns`, of which every one begins with `WORD`.

    Raises:
      ValueError: it holds anything but calls of `FUNCTIONS` on columns, numbers and arithmetic.
    """
    try:
        tree = ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        _fail("it cannot be read")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            sizes = [*node.args[1:], *(each.value for each in node.keywords if each.arg in ("df", "degree"))]
            if name not in FUNCTIONS and name not in CONTRASTS:
                _fail(f"{name!r} is not a function of formulas")
            if name not in _OF_MORE and (len(node.args) != 1 or node.keywords):
                _fail(f"{name} takes one column")
            for size in sizes if name in STATEFUL else ():
                if isinstance(size, ast.BinOp | ast.UnaryOp):
                    _fail(f"{name} takes plain numbers behind its column")
                if (
                    isinstance(size, ast.Constant)
                    and isinstance(size.value, int)
                    and size.value > MOST_COLUMNS
                ):
                    _fail(f"{name} may make at most {MOST_COLUMNS} columns, not {size.value}")
        elif isinstance(node, ast.BinOp):
            if not all(map(_is_number, (node.left, node.right))):
                _fail("arithmetic takes columns and numbers")
            if isinstance(node.op, ast.Pow) and not _has_column(node):
                _fail("a power of numbers alone is not computed; write the number")
            if not isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div | ast.Pow):
                _fail("arithmetic has the signs + - * / ^")
        elif isinstance(node, ast.Compare):
            if len(node.ops) > 1:
                _fail("one comparison at a time: write I((x > 2) * (x < 3))")
            sides = (node.left, node.comparators[0])
            texts = [isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides]
            if not all(text or _is_number(side) for text, side in zip(texts, sides, strict=True)):
                _fail("a comparison takes columns, numbers and texts")
            if any(texts) and not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                _fail("texts are compared by == and !=")
        elif isinstance(node, ast.UnaryOp):
            if not _is_number(node.operand):
                _fail("arithmetic takes columns and numbers")
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node) not in CONTRASTS:
                _fail(f"{ast.unparse(node)!r} is not a column")
        elif not isinstance(node, _HARMLESS):
            _fail("it cannot be read")
    return " ".join(ast.unparse(_Indicators().visit(tree)).split())


class _Indicators(ast.NodeTransformer):
    """Every comparison as a call of the function that makes numbers of it."""

    def visit_Compare(self, node: ast.Compare) -> ast.Call:
        """The call."""
        self.generic_visit(node)
        return ast.Call(ast.Name(INDICATOR, ast.Load()), [node], [])


_HARMLESS = (ast.Name, ast.Constant, ast.keyword, ast.Load, ast.operator, ast.unaryop, ast.cmpop)


def _is_number(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) not in ("c", "C")
    return isinstance(node, ast.Name | ast.BinOp | ast.UnaryOp | ast.Compare)


def _has_column(node: ast.AST) -> bool:
    return any(isinstance(each, ast.Name) and each.id.startswith(WORD) for each in ast.walk(node))


def _fail(what: str) -> NoReturn:
    raise ValueError(what)
