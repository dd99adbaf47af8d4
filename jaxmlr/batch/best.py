"""The best fit of a pool of starts: all climb a little, a few to the top; what chance explains is last."""

import functools
from collections.abc import Callable
from typing import NamedTuple

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
# Of each round after the screening: how many finalists take part, None: all, and at most how many steps.
ROUNDS = ((None, 60), (None, 140), (4, 300), (1, None))

How = tuple[jax.Array, jax.Array, jax.Array | None]  # limits, whether accelerated, blocks of rows
Climb = Callable[[Mixture, jax.Array | None, How, int], tuple[Fit, jax.Array]]


def _options(
    data: Rows, ridge: jax.Array, variance_floor: jax.Array, outlier_density: jax.Array | None
) -> MStepOptions:
    floor = jnp.where(jnp.isnan(variance_floor), 1e-6 * line_variance(data), variance_floor)
    least = jnp.maximum(floor, steps.resolution(data.y, data.weight))
    return MStepOptions(ridge, least, jnp.zeros_like(least), outlier_density)


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
    outlier_density: jax.Array | None = None,
    *,
    constraints: Constraints,
    max_iterations: int,
) -> Fit:
    """From the best fit to a sample to that of all rows."""
    linear = linearised(data, constraints.law, terms.trials)
    options = _options(linear, ridge, variance_floor, outlier_density)
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
    outlier_density: jax.Array | None = None,
    *,
    constraints: Constraints,
    screening: int,
    finalists: int,
    max_iterations: int,
) -> Fit:
    """The best fit from a pool of starts; `used` as in `plausible`, and a floor of NaN is the default."""
    linear = linearised(data, constraints.law, None if terms is None else terms.trials)
    options = _options(linear, ridge, variance_floor, outlier_density)
    rows, counts = pack(*data[:3], terms), distinct(data)
    blocks = None
    if data.columns is not None:  # the rows are filled up as well, and in an order by chance
        blocks = counted_blocks(rows)
        blocks = jnp.stack([jnp.minimum(blocks, SCREENED // (TILES * LANES)), *[blocks] * len(ROUNDS)])

    def climb(
        pool: Mixture,
        gates: jax.Array | None,
        how: How,
        most: int,
    ) -> tuple[Fit, jax.Array]:
        """Fits from all starts that have a limit of 0 steps or more, and whether each is not refused."""
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

        def judged(fit: Fit, limit: jax.Array) -> jax.Array:
            first = None if blocks is None else blocks * (TILES * LANES)
            return lax.cond(
                limit < 0,
                lambda: jnp.zeros((), bool),
                lambda: plausible(fit, linear, counts, used, first),
            )

        fits = jax.vmap(one)(pool, limits, gates)
        return fits, lax.map(lambda each: judged(*each), (fits, limits))

    count, gates = pool.weights.shape[0], None
    if constraints.concomitants:
        gates = jax.vmap(functools.partial(first_gate, rows))(pool.weights)
    if target() != "cpu":  # side by side all would wait for the finalists
        limits, all_alive = jnp.full(count, screening, jnp.int32), jnp.ones(count, bool)
        first, sound = climb(pool, gates, (limits, jnp.zeros((), bool), None), screening)
        places = _places(first, sound, all_alive)[:finalists]
        chosen, gates = jax.tree.map(lambda leaf: leaf[places], (first.mixture, first.gate))
        limits, alive = jnp.full(finalists, max_iterations, jnp.int32), all_alive[:finalists]
        fits, sound = climb(chosen, gates, (limits, jnp.ones((), bool), None), max_iterations)
        fits, sound, alive = _sorted(fits, sound, alive)
    else:
        most = {"screening": screening, "finalists": finalists, "max_iterations": max_iterations}
        fits, sound, alive = _raced(climb, pool, gates, blocks, constraints, **most)
    best = _named(jax.tree.map(lambda leaf: leaf[0], fits), used)
    best = best._replace(options=options, trace=best.trace[: max_iterations + 1])
    if used is not None:  # components that only fill up are not lost
        room = best.mixture.weights.shape[0]
        own = jnp.arange(room, dtype=jnp.int32) >= room - used
        lost = jnp.where(jnp.any(own & (best.mixture.weights * _rows(data) < 1)), BITS["lost"], 0)
        best = best._replace(ending=best.ending_bits() & ~BITS["lost"] | lost.astype(jnp.int32))
    mean_weight = jnp.sum(data.weight) / jnp.maximum(_rows(data), 1)
    precision = 10 * float(jnp.finfo(data.y.dtype).eps)
    near = jnp.maximum(0.01 * mean_weight, precision * jnp.abs(best.log_likelihood))
    agree = (jnp.abs(fits.log_likelihood - best.log_likelihood) <= near) & (sound == sound[0])
    agreed = jnp.sum(agree & alive, dtype=jnp.int32)
    return _judged(best, sound[0])._replace(agreed=agreed)


class _Race(NamedTuple):
    """Fits on their way from all starts, from the best to the worst."""

    fits: Fit  # with noise variances (starts, K), whatever is tied
    sound: jax.Array  # (starts,) bool, not refused
    alive: jax.Array  # (starts,) bool, has not been given up
    limits: jax.Array  # (starts,) int32, steps of the next round, negative where it takes no part


def _raced(
    climb: Climb,
    pool: Mixture,
    gates: jax.Array | None,
    blocks: jax.Array | None,
    constraints: Constraints,
    *,
    screening: int,
    finalists: int,
    max_iterations: int,
) -> tuple[Fit, jax.Array, jax.Array]:
    """Fits by `climb` in the `ROUNDS`, from the best to the worst, whether each is sound, and whether alive.

    One loop for all rounds, as it takes most of the time to compile.
    """
    count, dtype, most = len(pool.weights), pool.weights.dtype, max(screening, max_iterations)
    rank, whole = jnp.arange(count, dtype=jnp.int32), int(jnp.iinfo(jnp.int32).max)

    def advance(race: _Race, how: tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]) -> _Race:
        number, keep, budget, blocks = how
        later, sound = climb(race.fits.mixture, race.fits.gate, (race.limits, number > 0, blocks), most)
        fits, sound, alive = _sorted(*_continued(race, later, sound), race.alive)
        fits = fits._replace(iterations=jnp.where(number == 0, 0, fits.iterations))
        done = (number > 0) & (fits.converged | (fits.iterations >= max_iterations))
        # What is refused after a round stays so: the climb to such an optimum is the longest of all.
        goes = alive & ~done & (rank < keep) & (sound | (rank == 0) | (number == 0))
        limits = jnp.where(goes, jnp.minimum(budget, max_iterations - fits.iterations), -1)
        return _Race(fits, sound, jnp.where(number < len(ROUNDS), goes | (alive & done), alive), limits)

    nothing = jnp.zeros((count, most + 1), dtype)
    first = Fit(
        *(pool, nothing[:, 0], nothing, jnp.zeros_like(rank), jnp.zeros(count, bool)),
        gate=gates,
        ending=jnp.zeros_like(rank),
        constraints=constraints,
    )
    race = _Race(first, first.converged, ~first.converged, jnp.full_like(rank, screening))
    number = jnp.arange(len(ROUNDS) + 1, dtype=jnp.int32)
    keep = jnp.asarray([min(finalists, share or finalists) for share, _ in ROUNDS] + [0], jnp.int32)
    budget = jnp.asarray([steps or whole for _, steps in ROUNDS] + [0], jnp.int32)
    how = number, keep, budget, blocks
    (fits, sound, alive, _), _ = lax.scan(lambda race, how: (advance(race, how), None), race, how)
    if constraints.equal_variance and not constraints.known_variance:
        mixture = fits.mixture
        fits = fits._replace(mixture=mixture._replace(noise_variance=mixture.noise_variance[:, 0]))
    return fits, sound, alive


def _places(fits: Fit, sound: jax.Array, alive: jax.Array) -> jax.Array:
    """The places of fits from the best to the worst: those given up are last, before them those refused."""
    likelihood = jnp.where(jnp.isnan(fits.log_likelihood), -jnp.inf, fits.log_likelihood)
    return jnp.lexsort((-likelihood, ~sound, ~alive))


def _sorted(fits: Fit, sound: jax.Array, alive: jax.Array) -> tuple[Fit, jax.Array, jax.Array]:
    """Fits, whether each is sound and alive, in the order of `_places`."""
    places = _places(fits, sound, alive)
    ordered: tuple[Fit, jax.Array, jax.Array] = jax.tree.map(lambda leaf: leaf[places], (fits, sound, alive))
    return ordered


def _continued(race: _Race, later: Fit, sound: jax.Array) -> tuple[Fit, jax.Array]:
    """The fits of a race after a round in which some went on, their traces joined."""
    went, fits = race.limits >= 0, race.fits
    step = jnp.arange(fits.trace.shape[1], dtype=jnp.int32)[None, :] - fits.iterations[:, None]
    trace = jnp.take_along_axis(later.trace, jnp.maximum(step, 0), axis=1)
    variance = later.mixture.noise_variance
    if variance.ndim < fits.mixture.noise_variance.ndim:
        variance = jnp.broadcast_to(variance[:, None], fits.mixture.noise_variance.shape)
    later = later._replace(
        mixture=later.mixture._replace(noise_variance=variance),
        iterations=fits.iterations + later.iterations,
        trace=jnp.where(step < 0, fits.trace, trace),
    )

    def chosen(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(went.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    joined: tuple[Fit, jax.Array] = jax.tree.map(chosen, (later, sound), (fits, race.sound))
    return joined


def _rows(data: Rows) -> jax.Array:
    """How many rows count, (), in the dtype of the data; a multiple of the row weights is the same data."""
    return jnp.sum(data.weight > 0, dtype=jnp.int32).astype(data.y.dtype)
