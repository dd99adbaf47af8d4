"""A design as plain values for JSON, and back. What is read is checked as a formula of a stranger's is."""

from typing import Any

import formulaic
import numpy as np

from jaxmlr.fitting.tables import formula
from jaxmlr.fitting.tables.design import Design


def dumped(design: Design) -> dict[str, Any]:
    """A design as dictionaries, lists, texts and numbers.

    Of formulaic's specifications it holds what functions have learnt, such as means and knots; the rest
    follows from the formula and the levels.
    """
    return {
        "formula": design.parsed.arguments,
        "names": list(design.names),
        "intercept": design.intercept,
        "levels": design.levels,
        "notes": list(design.notes),
        "offsets": list(design.offsets),
        "learnt": {
            "left": _plain(design.left.transform_state),
            "right": _plain(design.right.transform_state),
        },
    }


def loaded(values: dict[str, Any]) -> Design:
    """The design that `dumped` wrote; nothing in it is run.

    Raises:
      ValueError: it is not such a design, or its formula calls what no formula may call.
    """
    try:
        parsed = formula.read(**values["formula"])
        sides = [
            formulaic.ModelSpec(
                formula=formulaic.Formula(text, _parser=formula.parser()),
                transform_state=_numbered(values["learnt"][side]),
                output="numpy",
                ensure_full_rank=True,
            )
            for side, text in (("left", f"0 + {parsed.left}"), ("right", parsed.right))
        ]
        levels = {str(word): [str(text) for text in texts] for word, texts in values["levels"].items()}
        names = tuple(map(str, values["names"]))
        intercept = values["intercept"]
        return Design(
            parsed.text,
            parsed.response,
            names,
            None if intercept is None else int(intercept),
            levels,
            tuple(map(str, values["notes"])),
            parsed,
            sides[0],
            sides[1],
            tuple(map(int, values["offsets"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the model's design cannot be read: {error!r}") from error


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {str(key): _plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple | np.ndarray):
        return [_plain(value) for value in state]
    return state.item() if isinstance(state, np.generic) else state


def _numbered(state: Any) -> Any:
    """The state with whole numbers for keys and with matrices, where JSON has texts and lists of lists."""
    if isinstance(state, dict):
        whole = bool(state) and all(key.isdigit() for key in state)
        return {int(key) if whole else key: _numbered(value) for key, value in state.items()}
    if not isinstance(state, list):
        return state
    values = [_numbered(value) for value in state]
    return np.array(values) if any(isinstance(value, list) for value in values) else values
