"""Checks of concrete arguments: one line that names the argument, what it was and what it must be.

Traced values carry no numbers, so these checks pass them through; that is what lets
hyper-parameters be vmapped and differentiated.

Number formats, the same for rows, mixtures and hyper-parameters (`float_dtype`, `floats`):

- Arrays of float32 and float64 keep their format, float64 only where JAX's 64 bits are on. Where rows of
  both meet, the wider holds.
- Integers of any width, Python numbers, NumPy scalars and lists are numbers without a format of their own:
  they take that of the arrays beside them, else JAX's default float.
- float16 and bfloat16 are computed in float32: in less no covariance keeps its sign.
- Text, objects, complex numbers and booleans are refused by name.
- Hyper-parameters take the format of the rows.
- 64-bit rows that 32 bits cannot tell apart, as times in seconds since 1970, are refused while 64 bits are
  off.
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


def float_dtype(**values: Any) -> np.dtype:
    """The one format in which arguments by name are computed, by the rules above.

    Raises:
      ValueError: an argument does not hold real numbers.
    """
    floating = []
    for name, value in values.items():
        dtype = _real_dtype(name, value)
        scalar = not hasattr(value, "dtype") or isinstance(value, np.generic)
        if not scalar and jnp.issubdtype(dtype, jnp.floating):
            floating.append(max(dtype, np.dtype(np.float32), key=lambda kind: kind.itemsize))
    widest = max(floating, key=lambda kind: kind.itemsize, default=np.dtype(np.float64))
    return jnp.dtype(jax.dtypes.canonicalize_dtype(widest))


def floats(**values: Any) -> list[jax.Array]:
    """Arguments by name as arrays of the one format that `float_dtype` gives."""
    dtype = float_dtype(**values)
    return [jnp.asarray(value, dtype) for value in values.values()]


def _real_dtype(name: str, value: Any) -> np.dtype:
    """The format of an argument; ValueError where that is not of real numbers."""
    try:
        dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    except jax.errors.TracerArrayConversionError:
        dtype = jnp.asarray(value).dtype
    except ValueError:
        raise ValueError(f"{name} must hold numbers in rows of one length, not {value!r}") from None
    if not (jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)):
        raise ValueError(f"{name} must hold real numbers, not {dtype}")
    return dtype


def observations(phi: Any, y: Any, *, gaps: bool = False) -> None:
    """Raise ValueError unless `phi` is (n, d), `y` is (n,), d at least 1, real and, where concrete, finite.

    `gaps` lets what is not finite pass.
    """
    if np.ndim(phi) != 2 or np.ndim(y) != 1 or np.shape(phi)[0] != np.shape(y)[0]:
        raise ValueError(
            f"phi must have shape (n, d) and y shape (n,), not {np.shape(phi)} and {np.shape(y)}"
        )
    if np.shape(phi)[1] < 1:
        raise ValueError(f"phi must have at least one column, not shape {np.shape(phi)}")
    for name, value in (("phi", phi), ("y", y)):
        _real_dtype(name, value)
        array = _concrete(value)
        if array is None:
            continue
        wide = array.astype(np.float64)
        finite = np.isfinite(wide).all(axis=tuple(range(1, wide.ndim)))
        if not gaps and not finite.all():
            rows = np.flatnonzero(~finite)
            raise ValueError(f"{name} must be finite: {len(rows)} bad rows, the first is row {rows[0]}")
        if array.dtype.itemsize == 8 and not jax.config.read("jax_enable_x64") and finite.any():
            _representable(name, wide[finite].reshape(np.count_nonzero(finite), -1))


def _representable(name: str, array: np.ndarray) -> None:
    """Raise ValueError where a column (n, d) of 64 bits varies by less than a thousand roundings to 32."""
    largest, spread = np.abs(array).max(axis=0), array.std(axis=0)
    lost = (spread > 1e-13 * largest) & (spread < 1e3 * np.finfo(np.float32).eps * largest)
    if lost.any():
        which = f" in column {np.flatnonzero(lost)[0]}" if array.shape[1] > 1 else ""
        raise ValueError(
            f"{name} must vary more than 32 bits round it{which}: subtract its mean, or turn on"
            " jax_enable_x64"
        )
