"""All kinds of starts by name, and a pool of starts of several kinds."""

from collections.abc import Callable, Sequence, Set

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxmlr._xla.target import target
from jaxmlr.batch.starts import moments
from jaxmlr.batch.starts.candidates import Rows, around
from jaxmlr.batch.starts.draws import derived
from jaxmlr.batch.starts.lines import GREEDY, PARTITION, SPREAD, lines_by
from jaxmlr.batch.starts.lines import greedy as greedy
from jaxmlr.batch.starts.lines import random_lines as random_lines
from jaxmlr.batch.starts.lines import random_partition as random_partition
from jaxmlr.batch.starts.lines import sequential_robust as sequential_robust
from jaxmlr.batch.starts.lines import spread_lines as spread_lines
from jaxmlr.batch.starts.moments import spectral as spectral
from jaxmlr.batch.starts.moments import tensor as tensor
from jaxmlr.mixture import Mixture

KINDS: dict[str, Callable[..., Mixture]] = {  # the first five in the order of the ways of `lines_by`
    "random_partition": random_partition,
    "random_lines": random_lines,
    "spread_lines": spread_lines,
    "sequential_robust": sequential_robust,
    "greedy": greedy,
    "spectral": spectral,
    "tensor": tensor,
}
SPECTRAL, TENSOR = 5, 6


def pool(
    key: jax.Array,
    data: Rows,
    used: ArrayLike | None = None,
    *,
    kinds: Sequence[tuple[str, int]],
    components: int,
) -> Mixture:
    """Starts of several kinds, each leaf with an axis of starts in front.

    Args:
      key: of all.
      data: phi (n, d), y (n,), weight (n,).
      used: how many of the K count, the first ones, where that is not all; it may be traced.
      kinds: names, and how many of each.
      components: K.

    Returns:
      What the functions of `KINDS` give for keys derived by the number of the kind and that of the start.
    """
    numbers = np.repeat(np.arange(len(kinds), dtype=np.uint32), [count for _, count in kinds])
    places = np.concatenate([np.arange(count, dtype=np.int32) for _, count in kinds])
    keys = jax.vmap(lambda number, place: derived(key, number, place))(
        jnp.asarray(numbers), jnp.asarray(places)
    )
    if target() != "cpu":  # all at once
        first = np.cumsum([0, *(count for _, count in kinds)])
        parts = [
            jax.vmap(lambda k, name=name: KINDS[name](k, data, components, used))(keys[i : i + count])
            for i, (name, count) in zip(first, kinds, strict=False)
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    order = {name: i for i, name in enumerate(KINDS)}
    own = jnp.asarray(np.array([order[name] for name, count in kinds for _ in range(count)], np.int32))
    named = {name for name, count in kinds if count}
    drawn: Mixture = lax.map(_draw(named, data, components, used), (own, keys))
    return drawn


def _draw(
    named: Set[str], data: Rows, components: int, used: ArrayLike | None
) -> Callable[[tuple[jax.Array, jax.Array]], Mixture]:
    """A function of (number in `KINDS`, key) that draws one start: one program for all kinds."""
    count = components if used is None else used
    whole = data._replace(columns=jnp.asarray(data.dim, jnp.int32))
    back = jnp.eye(data.phi.shape[1], dtype=data.y.dtype)
    views = [(whole, back)]
    if "spectral" in named:
        views.append(moments.spanned(whole, components, used))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *views)
    moment = moments.third_moment(data, components, used) if "tensor" in named else None

    def draw(each: tuple[jax.Array, jax.Array]) -> Mixture:
        kind, key = each
        rows, back = jax.tree.map(lambda leaf: leaf[jnp.where(kind == SPECTRAL, 1, 0)], stacked)

        def through_rows() -> tuple[jax.Array, jax.Array]:
            lines, label = lines_by(jnp.where(kind < SPECTRAL, kind, SPREAD), key, rows, components, used)
            return moments.product(lines, back), label

        def by_moments() -> tuple[jax.Array, jax.Array]:
            assert moment is not None
            return moments.decomposed(key, moment, components, used), jnp.zeros(data.y.shape, jnp.int32)

        if moment is None:
            lines, label = through_rows()
        else:
            lines, label = lax.cond(kind == TENSOR, by_moments, through_rows)
        return around(data, lines, count, label, (kind == PARTITION) | (kind == GREEDY))

    return draw
