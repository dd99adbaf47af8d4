"""Options of a method as the user of a table gives them, in the units of the table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxmlr import registry

_SQUARES = ("noise_variance", "variance_floor")  # in the square of the unit of the response
_INVERSE = ("outlier_density",)
_GIVEN = {
    "components": "--components",
    "key": "--seed",
    "row_weights": "--weights",
    "groups": "--group",
    "concomitant": "--concomitant",
    "known": "--known-labels",
    "common": "--common",
    "phi": "the formula",
    "y": "the formula",
    "mask": "--missing",
}
_OF_SCALED = ("ridge", "start", "delta")  # speak of regressors that are centred and scaled


def in_units(method: str, options: Mapping[str, Any], unit: float) -> dict[str, Any]:
    """Options of a method for a response that is divided by `unit`.

    Args:
      method: as `registry.find` takes it.
      options: keyword arguments; variances and densities are those of the response in the table.
      unit: what the response is divided by.

    Raises:
      ValueError: the method has no such option, or one that a table cannot give.
    """
    parameters = registry.find(method).parameters
    converted = {}
    for name, value in options.items():
        if name in _GIVEN and name in parameters:
            raise ValueError(f"--option {name}: it is given by {_GIVEN[name]}")
        if name in parameters and (name in _OF_SCALED or name.startswith("initial_")):
            raise ValueError(
                f"--option {name}: it speaks of the scaled regressors that a table is fitted in; call the"
                " method from Python"
            )
        power = 2 if name in _SQUARES else -1 if name in _INVERSE else 0
        if power and (isinstance(value, bool) or not isinstance(value, int | float | list)):
            raise ValueError(f"--option {name} must be a number, not {value!r}")
        converted[name] = value if not power else (np.asarray(value, np.float64) / unit**power).tolist()
    return converted
