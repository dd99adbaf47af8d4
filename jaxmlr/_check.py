"""Checks of concrete arguments: one line that names the argument, what it was and what it must be.

Traced values carry no numbers, so these checks pass them through; that is what lets
hyper-parameters be vmapped and differentiated.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def _concrete(value: Any) -> np.ndarray | None:
    """The numbers behind `value`, or None where it is traced."""
    return None if isinstance(value, jax.core.Tracer) else np.asarray(value)


def number(
    name: str,
    value: Any,
    *,
    above: float = -np.inf,
    at_least: float = -np.inf,
    below: float = np.inf,
    finite: bool = True,
    scalar: bool = False,
) -> None:
    """Raise ValueError unless every entry of `value` is a real number in the stated range.

    `scalar` asks for a single number, traced or not.
    """
    if scalar and np.ndim(value):
        raise ValueError(f"{name} must be one number, not an array of shape {np.shape(value)}")
    array = _concrete(value)
    if array is None:
        return
    if array.dtype.kind not in "fiu" and array.dtype.name not in {"bfloat16", "float16"}:
        raise ValueError(f"{name} must be a real number, not {value!r}")
    array = array.astype(np.float64)
    limits = [
        (above > -np.inf, array > above, f"greater than {above:g}"),
        (at_least > -np.inf, array >= at_least, f"at least {at_least:g}"),
        (below < np.inf, array < below, f"less than {below:g}"),
        (finite, np.isfinite(array), "finite"),
        (not finite, ~np.isnan(array), "a number"),
    ]
    wanted = [text for applies, _, text in limits if applies]
    if not all(np.all(holds) for applies, holds, _ in limits if applies):
        raise ValueError(f"{name} must be {' and '.join(wanted)}, not {value}")


def nonzero(name: str, value: Any) -> None:
    """Raise ValueError where every entry of `value` is zero."""
    array = _concrete(value)
    if array is not None and not np.any(array):
        raise ValueError(f"{name} must not be zero, not {value}")


def choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def whole(name: str, value: Any, *, at_least: int) -> None:
    """Raise ValueError unless `value` is a Python or NumPy integer of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name} must be a whole number of at least {at_least}, not {value!r}")


def observations(phi: Any, y: Any, *, gaps: bool = False) -> None:
    """Raise ValueError unless `phi` is (n, d), `y` is (n,), both real and, where concrete, finite.

    `gaps` lets what is not finite pass.
    """
    if np.ndim(phi) != 2 or np.ndim(y) != 1 or np.shape(phi)[0] != np.shape(y)[0]:
        raise ValueError(
            f"phi must have shape (n, d) and y shape (n,), not {np.shape(phi)} and {np.shape(y)}"
        )
    for name, value in (("phi", phi), ("y", y)):
        if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            raise ValueError(f"{name} must hold floating-point numbers, not {jnp.result_type(value)}")
        array = None if gaps else _concrete(value)
        if array is not None and not np.isfinite(array.astype(np.float64)).all():
            rows = np.flatnonzero(~np.isfinite(array.astype(np.float64)).reshape(len(array), -1).all(1))
            raise ValueError(f"{name} must be finite: {len(rows)} bad rows, the first is row {rows[0]}")
