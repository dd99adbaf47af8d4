"""One more line where it raises the likelihood most: how a mixture grows."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from jaxmlr._xla.namespace import namespace
from jaxmlr.batch import steps
from jaxmlr.batch.starts.candidates import Rows, candidates, correction, squares
from jaxmlr.batch.starts.draws import derived
from jaxmlr.mixture import Mixture

FRACTIONS = (0.02, 0.05, 0.1, 0.25, 0.5)  # of the rows, tried for a new component
TRIES = 64  # lines tried for each component that a fit grows by


def log_normal(square: jax.Array, variance: jax.Array) -> jax.Array:
    """Log density of residuals, from their squares."""
    return -0.5 * (jnp.log(2 * jnp.pi * variance) + square / variance)


def best_addition(
    square: jax.Array, weight: jax.Array, log_density: jax.Array, least: jax.Array, dim: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The component that raises the likelihood of a mixture most, of all candidates and fractions.

        L(c, a) = sum_i w_i log((1 - a) f_i + a N(e_ci; 0, v_ca))

    where v_ca is the mean of e_c^2 over the fraction a of rows that are nearest to line c, 2 d + 1 at least.

    Args:
      square: (c, n) squared residuals of the candidates.
      weight: (n,).
      log_density: (n,) log f, of the mixture.
      least: () variance.
      dim: d.

    Returns:
      Which candidate, its variance v and its fraction a, each ().
    """
    order = jnp.argsort(square, axis=1)
    below = jnp.cumsum(weight[order], axis=1)
    nearest = jnp.take_along_axis(square, order, axis=1)
    counted = jnp.cumsum((weight[order] > 0).astype(jnp.int32), axis=1)
    rises = jnp.cumsum(weight[order] * nearest, axis=1)

    def one(fraction: jax.Array) -> tuple[jax.Array, jax.Array]:
        enough = (below >= fraction * below[:, -1:]) & (counted > 2 * jnp.asarray(dim, jnp.int32))
        place = jnp.where(
            jnp.any(enough, axis=1), jnp.argmax(enough, axis=1).astype(jnp.int32), square.shape[1] - 1
        )
        at = place[:, None]
        mean = jnp.take_along_axis(rises, at, axis=1) / jnp.take_along_axis(below, at, axis=1)
        variance = jnp.maximum(mean[:, 0], least)
        own = jnp.log(fraction) + log_normal(square, variance[:, None])
        grown = jnp.logaddexp(jnp.log1p(-fraction) + log_density[None, :], own)
        return jnp.sum(weight[None, :] * grown, axis=1), variance

    fractions = jnp.asarray(FRACTIONS, square.dtype)
    value, variance = lax.map(one, fractions)
    best = jnp.argmax(value).astype(jnp.int32)
    chosen, line = best // value.shape[1], best % value.shape[1]
    return line, variance[chosen, line], fractions[chosen]


def repeated(data: Rows) -> jax.Array:
    """The weights (n,) of the rows with the most frequent response; 0 where none occurs 2 d + 1 times."""
    key = jnp.where(data.weight > 0, data.y, jnp.inf)
    order = jnp.argsort(key)
    y = key[order]
    new = jnp.concatenate([jnp.ones(1, bool), y[1:] != y[:-1]])
    number = jnp.cumsum(new.astype(jnp.int32)) - 1
    times = jnp.zeros(y.shape, jnp.int32).at[number].add(jnp.isfinite(y).astype(jnp.int32))
    most = jnp.argmax(times).astype(jnp.int32)
    often = times[most] > 2 * jnp.asarray(data.dim, jnp.int32)
    same = jnp.zeros(y.shape, bool).at[order].set(number == most)
    return jnp.where(same & often, data.weight, 0)


def grown(key: jax.Array, data: Rows, mixture: Mixture, before: ArrayLike, used: ArrayLike) -> Mixture:
    """A mixture with more components: each new one is the best addition of many lines (greedy EM).

    After Vlassis and Likas (2002) and Verbeek, Vlassis and Krose (2003), for lines.

    Args:
      key: of the lines.
      data: phi (n, d), y (n,), weight (n,).
      mixture: room for all components, of which the first `before` count, with noise_variance (K,).
      before: components so far; it may be traced.
      used: components to come to; it may be traced.

    Returns:
      A Mixture, likelier on these rows than what it grew from if any line of those tried raises it.
    """
    phi, y, weight, _ = data
    least = steps.resolution(y, weight)
    often, places = repeated(data), jnp.arange(mixture.weights.shape[0], dtype=jnp.int32)

    def add(k: jax.Array, mixture: Mixture) -> Mixture:
        present = places < k
        joint = jnp.log(mixture.weights)[:, None] + log_normal(
            squares(data, mixture.coefficients), mixture.noise_variance[:, None]
        )
        density = jax.nn.logsumexp(jnp.where(present[:, None], joint, -jnp.inf), axis=0)
        lines = candidates(derived(key, k), data, weight, TRIES, often)
        square = squares(data, lines)
        best, variance, fraction = best_addition(square, weight, density, least, data.dim)
        # The line of least squares of its own rows.
        own = jnp.log(fraction) + log_normal(square[best], variance)
        posterior = jnp.exp(own - jnp.logaddexp(own, jnp.log1p(-fraction) + density))
        error = y - jnp.einsum("nd,d->n", phi, lines[best], precision="highest")
        line = lines[best] + correction(phi, error, weight * posterior)
        return Mixture(
            mixture.coefficients.at[k].set(line),
            jnp.where(present, (1 - fraction) * mixture.weights, 0).at[k].set(fraction),
            mixture.noise_variance.at[k].set(variance),
        )

    result: Mixture = lax.fori_loop(before, used, add, mixture)
    return result


def with_twin(mixture: Mixture, before: ArrayLike, used: ArrayLike) -> Mixture:
    """The same density by more components: the one of greatest variance as several that are equal."""
    places = jnp.arange(mixture.weights.shape[0], dtype=jnp.int32)
    widest = jnp.argmax(jnp.where(places < before, mixture.noise_variance, -1)).astype(jnp.int32)
    source = jnp.where((places >= before) & (places < used), widest, places)
    copies = 1 + jnp.asarray(used, jnp.int32) - jnp.asarray(before, jnp.int32)
    beta, weights, variance = (leaf[source] for leaf in mixture)
    shared = jnp.where(source == widest, weights / copies.astype(weights.dtype), weights)
    return Mixture(beta, shared, variance)


FROM_SMALLER = 100  # of the numbers that keys are derived by; those of the kinds of starts are less
GROWN = 4  # starts from a fit of fewer components: the last is that fit itself


def from_smaller(key: jax.Array, data: Rows, mixture: Mixture, before: ArrayLike, used: ArrayLike) -> Mixture:
    """Starts that grow from a fit of fewer components, each leaf with an axis of `GROWN` in front.

    The last has the density of that fit, so that the best of them is not below it.

    Args:
      key: of all.
      data: phi (n, d), y (n,), weight (n,).
      mixture: as of `grown`.
      before: components of the fit; it may be traced.
      used: components of the starts; it may be traced.
    """
    places = jnp.arange(GROWN - 1, dtype=jnp.int32)
    starts = lax.map(
        lambda place: grown(derived(key, FROM_SMALLER, place), data, mixture, before, used), places
    )
    twin = with_twin(mixture, before, used)
    return jax.tree.map(lambda many, one: jnp.concatenate([many, one[None]]), starts, twin)


def roomy(mixture: Mixture, components: int, columns: int) -> Mixture:
    """A mixture in arrays of so many components, behind its own, and columns, before its own."""
    xp = namespace(mixture)
    beta, weights, variance = map(xp.asarray, mixture)
    behind, before = components - len(weights), columns - beta.shape[1]
    return Mixture(
        xp.pad(beta, ((0, behind), (before, 0))),
        xp.pad(weights, (0, behind)),
        xp.pad(xp.broadcast_to(variance, weights.shape), (0, behind), constant_values=1),
    )
