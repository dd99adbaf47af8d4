"""Formulaic's parser with a limit on how many terms products and powers make."""

from typing import Any

from formulaic.parser import DefaultFormulaParser, DefaultOperatorResolver
from formulaic.parser.types import Operator

MOST_TERMS = 20_000


class _Resolver(DefaultOperatorResolver):  # type: ignore[misc]
    """Wilkinson's operators, which refuse to make more than `MOST_TERMS` terms."""

    @property
    def operators(self) -> list[Any]:
        """Formulaic's operators with a limit."""
        return [_limited(each) if each.symbol in _PRODUCTS else each for each in super().operators]


_PRODUCTS = ("*", ":", "/", "in", "**", "^")


def _limited(operator: Operator) -> Operator:
    def to_terms(first: Any, second: Any) -> Any:
        power = int(str(next(iter(second)))) if operator.symbol in ("**", "^") else 0
        if (len(first) ** power if power else len(first) * len(second)) > MOST_TERMS:
            raise ValueError(f"more than {MOST_TERMS:,} terms")
        return operator.to_terms(first, second)

    return Operator(
        operator.symbol,
        arity=operator.arity,
        precedence=operator.precedence,
        associativity=operator.associativity,
        fixity=operator.fixity,
        to_terms=to_terms,
    )


def parser(*, intercept: bool = True) -> DefaultFormulaParser:
    """Formulaic's parser with that limit; `intercept` says whether a right side has one unless told."""
    return DefaultFormulaParser(
        operator_resolver=_Resolver(), feature_flags=set(), include_intercept=intercept
    )
