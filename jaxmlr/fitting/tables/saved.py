"""A design as plain values for JSON, and back. What is read is checked as a formula of a stranger's is."""

from typing import Any

import formulaic
import numpy as np

from jaxmlr.fitting.tables import formula
from jaxmlr.fitting.tables.design import Design, Gate
from jaxmlr.fitting.tables.parser import parser


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
        "gate": None if design.gate is None else _dumped_gate(design.gate),
        "group": design.group,
        "labels": list(design.labels),
        "common": list(design.common),
    }


def _dumped_gate(gate: Gate) -> dict[str, Any]:
    return {
        "names": list(gate.names),
        "intercept": gate.intercept,
        "learnt": _plain(gate.spec.transform_state),
    }


def loaded(values: dict[str, Any]) -> Design:
    """The design that `dumped` wrote; nothing in it is run.

    Raises:
      ValueError: it is not such a design, or its formula calls what no formula may call.
    """
    try:
        parsed = formula.read(**values["formula"])
        learnt = values["learnt"]
        left = _spec(f"0 + {parsed.left}", learnt["left"])
        right = _spec(parsed.right, learnt["right"])
        gate = values.get("gate")
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
            left,
            right,
            tuple(map(int, values["offsets"])),
            None if gate is None else _loaded_gate(gate, parsed.gate),
            None if values.get("group") is None else str(values["group"]),
            tuple(map(str, values.get("labels", ()))),
            tuple(map(int, values.get("common", ()))),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the model's design cannot be read: {error!r}") from error


def _spec(text: str, learnt: Any) -> formulaic.ModelSpec:
    return formulaic.ModelSpec(
        formula=formulaic.Formula(text, _parser=parser()),
        transform_state=_numbered(learnt),
        output="numpy",
        ensure_full_rank=True,
    )


def _loaded_gate(values: dict[str, Any], text: str) -> Gate:
    intercept = values["intercept"]
    names = tuple(map(str, values["names"]))
    return Gate(names, None if intercept is None else int(intercept), _spec(text, values["learnt"]))


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
