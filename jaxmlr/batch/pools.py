"""The pool of starts of a fit, for rows as they are and for rows that are filled up."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmlr._xla import programs
from jaxmlr._xla.jit import wide_jit
from jaxmlr.batch import capacity, steps
from jaxmlr.batch.best import SCREENED, linearised
from jaxmlr.batch.families import Law
from jaxmlr.batch.starts.candidates import Rows, quantile, squares
from jaxmlr.batch.starts.greedy import GROWN, from_smaller, roomy
from jaxmlr.batch.starts.kinds import pool
from jaxmlr.mixture import Mixture

FAR = 10.0  # standard deviations, beyond which a response is drawn in
MEDIAN = 0.4549364  # of the square of a standard normal variable


def filled_starts(
    whole: Rows, key: jax.Array, components: int, kinds: tuple[tuple[str, int], ...], smaller: Mixture | None
) -> Mixture:
    """The pool of starts for filled rows, by a program that serves all sizes and whatever is tied."""
    dtype, room = whole.y.dtype, capacity.room(components)
    used: Any = np.int32(components)
    few = jax.tree.map(lambda leaf: leaf[:SCREENED] if leaf.ndim else leaf, whole)
    start = programs.Program(
        functools.partial(pool, kinds=kinds, components=room),
        "starts",
        (kinds, room),
        capacity.some_mixture(room, dtype, sum(count for _, count in kinds)),
    )
    starts: Mixture = start(key, few, used)
    if smaller is not None:
        grow = programs.Program(from_smaller, "grown", (room,), capacity.some_mixture(room, dtype, GROWN))
        before: Any = np.int32(np.shape(smaller.weights)[0])
        own = roomy(smaller, room, capacity.COLUMNS)
        starts = _joined(starts, grow(key, few, own, before, used), kinds)
    return starts


@functools.partial(wide_jit, static_argnames=("components", "kinds"))
def drawn_starts(
    key: jax.Array,
    data: Rows,
    smaller: Mixture | None,
    *,
    components: int,
    kinds: tuple[tuple[str, int], ...],
) -> Mixture:
    """The pool of starts for rows as they are."""
    starts = pool(key, data, kinds=kinds, components=components)
    if smaller is not None:
        before = smaller.weights.shape[0]
        own = roomy(smaller, components, data.phi.shape[1])
        starts = _joined(starts, from_smaller(key, data, own, before, components), kinds)
    return starts


def _joined(starts: Mixture, grown: Mixture, kinds: tuple[tuple[str, int], ...]) -> Mixture:
    """Starts with those that grew from a smaller fit in the place of greedy ones, which come first."""
    drop = min(GROWN, dict(kinds).get("greedy", 0))
    return jax.tree.map(lambda new, old: jnp.concatenate([new, old[drop:]]), grown, starts)


@functools.partial(wide_jit, static_argnames=("law",))
def linear_rows(data: Rows, law: Law | None, trials: jax.Array | None) -> Rows:
    """Rows with responses that are about linear in phi, which starts are drawn from.

    Where there may be gross errors, with Student's t or an outlier density, they are drawn in to within `FAR`
    robust standard deviations of their median, so that none moves a line of least squares.
    """
    linear = linearised(data, law, trials)
    if law is not None and law.link != "identity":
        return linear
    counts = data.weight > 0
    centre = jnp.nanmedian(jnp.where(counts, data.y, jnp.nan))
    reach = FAR * 1.4826 * jnp.nanmedian(jnp.where(counts, jnp.abs(data.y - centre), jnp.nan))
    # More than half of the responses may be one number. Rows that do not count must not widen the spread.
    near = jnp.where(reach > 0, jnp.clip(data.y, centre - reach, centre + reach), data.y)
    return linear._replace(y=jnp.where(counts, near, centre))


def narrowed(starts: Mixture, data: Rows) -> Mixture:
    """Starts with the variance of the median deviation from the nearest line, which outliers do not move."""

    def one(start: Mixture) -> Mixture:
        nearest = jnp.min(squares(data, start.coefficients), axis=0)
        middle = quantile(nearest, data.weight, jnp.asarray(0.5, nearest.dtype)) / MEDIAN
        least = jnp.maximum(middle, steps.resolution(data.y, data.weight))
        return start._replace(noise_variance=jnp.broadcast_to(least, start.noise_variance.shape))

    return lax.map(one, starts)
