"""The best fit of a pool of starts: all climb a little, a few to the top; what chance explains is last."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmlr._xla.jit import wide_jit
from jaxmlr._xla.target import target
from jaxmlr.batch import steps
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.em import iterate
from jaxmlr.batch.families import Law
from jaxmlr.batch.gate import centred, first_gate
from jaxmlr.batch.outcome import BITS, Fit
from jaxmlr.batch.rows import LANES, TILES, counted_blocks, pack
from jaxmlr.batch.spurious import distinct, plausible
from jaxmlr.batch.starts.anchors import aligned
from jaxmlr.batch.starts.candidates import Rows, line_variance
from jaxmlr.batch.terms import Terms
from jaxmlr.mixture import Mixture

SCREENED = 4096  # rows, of those in an order by chance: starts and screening need no more

Starts = tuple[Mixture, jax.Array | None]  # mixtures and their gates
How = tuple[jax.Array, jax.Array, jax.Array | None]  # limits, whether accelerated, blocks of rows


def _options(data: Rows, ridge: jax.Array, variance_floor: jax.Array) -> MStepOptions:
    floor = jnp.where(jnp.isnan(variance_floor), 1e-6 * line_variance(data), variance_floor)
    least = jnp.maximum(floor, steps.resolution(data.y, data.weight))
    return MStepOptions(ridge, least, jnp.zeros_like(least))


def linearised(data: Rows, law: Law | None, trials: jax.Array | None) -> Rows:
    """Rows with responses that are about linear in phi, and about normal."""
    return data if law is None else data._replace(y=law.transformed(data.y, trials))


@functools.partial(wide_jit, static_argnames=("constraints", "max_iterations"))
def go_on(
    data: Rows,
    best: Fit,
    ridge: jax.Array,
    variance_floor: jax.Array,
    tolerance: jax.Array,
    terms: Terms,
    *,
    constraints: Constraints,
    max_iterations: int,
) -> Fit:
    """From the best fit to a sample to that of all rows."""
    linear = linearised(data, constraints.law, terms.trials)
    options = _options(linear, ridge, variance_floor)
    done: Fit = iterate(
        pack(*data[:3], terms),
        best.mixture
        if terms.known is None or constraints.names_components
        else aligned(best.mixture, linear, terms.known),
        options,
        tolerance,
        gate=best.gate,
        accelerated=jnp.ones((), bool),
        max_iterations=max_iterations,
        constraints=constraints,
        e_step=steps.e_step,
    )
    done = _judged(done, plausible(done, linear, data.weight > 0))
    return _named(done._replace(agreed=best.agreed))


def _judged(fit: Fit, sound: jax.Array) -> Fit:
    """A fit whose ending says whether it is refused."""
    return fit._replace(ending=fit.ending_bits() | jnp.where(sound, 0, BITS["spurious"]).astype(jnp.int32))


def _named(fit: Fit, used: jax.Array | None = None) -> Fit:
    """Components in the order of their last own coefficients, unless a tie or known parts name them.

    Those that only fill the arrays up come first.
    """
    known = fit.constraints
    if (
        known.names_components
        or known.known_weights
        or known.known_labels
        or (known.known_variance and fit.mixture.noise_variance.ndim)
    ):
        return fit
    last = fit.mixture.coefficients[:, _telling_column(known, *fit.mixture.coefficients.shape)]
    if used is not None:
        last = jnp.where(jnp.arange(len(last), dtype=jnp.int32) < used, last, -jnp.inf)
    order = jnp.argsort(last)
    return fit._replace(
        mixture=jax.tree.map(lambda leaf: leaf if leaf.ndim == 0 else leaf[order], fit.mixture),
        gate=None if fit.gate is None else centred(fit.gate, order),
    )


def _telling_column(constraints: Constraints, components: int, d: int) -> int:
    """The last column in which the components have coefficients of their own, else the last."""
    own = np.flatnonzero(constraints.own_columns(components, d))
    return int(own[-1]) if len(own) else d - 1


def best_of(
    data: Rows,
    pool: Mixture,
    ridge: jax.Array,
    variance_floor: jax.Array,
    tolerance: jax.Array,
    used: jax.Array | None,
    terms: Terms | None = None,
    *,
    constraints: Constraints,
    screening: int,
    finalists: int,
    max_iterations: int,
) -> Fit:
    """The best fit from a pool of starts; `used` as in `plausible`, and a floor of NaN is the default."""
    linear = linearised(data, constraints.law, None if terms is None else terms.trials)
    options = _options(linear, ridge, variance_floor)
    rows, counts = pack(*data[:3], terms), distinct(data)
    blocks = None
    if data.columns is not None:  # the rows are filled up as well, and in an order by chance
        blocks = counted_blocks(rows)
        blocks = jnp.stack([jnp.minimum(blocks, SCREENED // (TILES * LANES)), blocks])

    def climb(
        pool: Mixture,
        gates: jax.Array | None,
        how: How,
        most: int,
    ) -> tuple[Fit, jax.Array, jax.Array]:
        """Fits from all starts, whether each is not refused, and their places from the best to the worst."""
        limits, accelerated, blocks = how

        def one(start: Mixture, limit: jax.Array, gate: jax.Array | None) -> Fit:
            fit: Fit = iterate(
                rows._replace(blocks=blocks),
                start,
                options,
                tolerance,
                limit,
                gate,
                accelerated,
                max_iterations=most,
                constraints=constraints,
                e_step=steps.e_step,
            )
            return fit._replace(options=None)  # they are of all

        fits = jax.vmap(one)(pool, limits, gates)
        sound = lax.map(lambda fit: plausible(fit, linear, counts, used), fits)
        likelihood = jnp.where(jnp.isnan(fits.log_likelihood), -jnp.inf, fits.log_likelihood)
        return fits, sound, jnp.lexsort((-likelihood, ~sound, limits == 0))

    count, gates = pool.weights.shape[0], None
    if constraints.concomitants:
        gates = jax.vmap(functools.partial(first_gate, rows))(pool.weights)
    if target() != "cpu":  # side by side all would wait for the finalists
        limits = jnp.full(count, screening, jnp.int32)
        first, _, places = climb(pool, gates, (limits, jnp.zeros((), bool), None), screening)
        places = places[:finalists]
        chosen, gates = jax.tree.map(lambda leaf: leaf[places], (first.mixture, first.gate))
        limits = jnp.full(finalists, max_iterations, jnp.int32)
        fits, sound, places = climb(chosen, gates, (limits, jnp.ones((), bool), None), max_iterations)
    else:  # one loop for both, as it takes most of the time to compile
        place = jnp.arange(count, dtype=jnp.int32)
        limits = jnp.where(place < finalists, max_iterations, 0)

        def phase(start: Starts, how: How) -> tuple[Starts, tuple[Fit, jax.Array, jax.Array]]:
            fits, sound, places = climb(*start, how, max(screening, max_iterations))
            mixture, shape = fits.mixture, pool.noise_variance.shape
            if mixture.noise_variance.shape != shape:
                shared = jnp.broadcast_to(mixture.noise_variance[:, None], shape)
                mixture = mixture._replace(noise_variance=shared)
            return jax.tree.map(lambda leaf: leaf[places], (mixture, fits.gate)), (fits, sound, places)

        how = jnp.stack([jnp.full_like(place, screening), limits]), jnp.array([False, True]), blocks
        phases = lax.scan(phase, (pool, gates), how)[1]
        fits, sound, places = jax.tree.map(lambda leaf: leaf[1], phases)
    best = _named(jax.tree.map(lambda leaf: leaf[places[0]], fits), used)
    best = best._replace(options=options, trace=best.trace[: max_iterations + 1])
    if used is not None:  # components that only fill up are not lost
        room = best.mixture.weights.shape[0]
        own = jnp.arange(room, dtype=jnp.int32) >= room - used
        lost = jnp.where(jnp.any(own & (best.mixture.weights * _rows(data) < 1)), BITS["lost"], 0)
        best = best._replace(ending=best.ending_bits() & ~BITS["lost"] | lost.astype(jnp.int32))
    mean_weight = jnp.sum(data.weight) / jnp.maximum(_rows(data), 1)
    precision = 10 * float(jnp.finfo(data.y.dtype).eps)
    near = jnp.maximum(0.01 * mean_weight, precision * jnp.abs(best.log_likelihood))
    agree = (jnp.abs(fits.log_likelihood - best.log_likelihood) <= near) & (sound == sound[places[0]])
    agreed = jnp.sum(agree & (limits > 0), dtype=jnp.int32)
    return _judged(best, sound[places[0]])._replace(agreed=agreed)


def _rows(data: Rows) -> jax.Array:
    """How many rows count, (), in the dtype of the data; a multiple of the row weights is the same data."""
    return jnp.sum(data.weight > 0, dtype=jnp.int32).astype(data.y.dtype)
