"""The pool of starts of a fit, for rows as they are and for rows that are filled up."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr._xla import programs
from jaxmlr._xla.jit import wide_jit
from jaxmlr.batch import capacity
from jaxmlr.batch.best import SCREENED, linearised
from jaxmlr.batch.families import Law
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.starts.greedy import GROWN, from_smaller, roomy
from jaxmlr.batch.starts.kinds import pool
from jaxmlr.mixture import Mixture

FAR = 10.0  # standard deviations, beyond which a response is drawn in


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
def linear_rows(data: Rows, law: Law, trials: jax.Array | None) -> Rows:
    """Rows with responses that are about linear in phi, which starts are drawn from.

    Those of Student's t are drawn in to within `FAR` robust standard deviations of their median, so that no
    gross error moves a line of least squares.
    """
    linear = linearised(data, law, trials)
    if law.link != "identity":
        return linear
    counts = data.weight > 0
    centre = jnp.nanmedian(jnp.where(counts, data.y, jnp.nan))
    reach = FAR * 1.4826 * jnp.nanmedian(jnp.where(counts, jnp.abs(data.y - centre), jnp.nan))
    near = jnp.clip(data.y, centre - reach, centre + reach)
    # More than half of the responses may be one number.
    return linear._replace(y=jnp.where(counts & (reach > 0), near, data.y))
