"""`fit`: the best of many starts of several kinds, with spurious optima refused."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla import programs
from jaxmlr._xla.jit import wide_jit
from jaxmlr.batch import capacity, steps
from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.em import iterate
from jaxmlr.batch.outcome import BITS, Fit
from jaxmlr.batch.problem import ridge_of, tolerance_of
from jaxmlr.batch.rows import checked, counted_blocks, pack
from jaxmlr.batch.spurious import distinct, plausible
from jaxmlr.batch.starts.candidates import Rows, line_variance
from jaxmlr.batch.starts.kinds import KINDS, pool
from jaxmlr.batch.starts.moments import check_tensor
from jaxmlr.mixture import Mixture

DRAWN_FROM = 4096  # rows, of those in an order by chance: starts need no more
MIXED = {
    "random_partition": 4,
    "random_lines": 8,
    "spread_lines": 16,
    "sequential_robust": 16,
    "spectral": 4,
    "tensor": 2,
}


def fit(
    phi: ArrayLike,
    y: ArrayLike,
    components: int,
    key: jax.Array,
    *,
    starts: Mapping[str, int] | None = None,
    weights: ArrayLike | None = None,
    noise_variance: ArrayLike | None = None,
    equal_variance: bool = False,
    tie: str = "none",
    screening: int = 40,
    finalists: int = 8,
    max_iterations: int = 2000,
    tolerance: ArrayLike | None = None,
    variance_floor: ArrayLike | None = None,
    ridge: ArrayLike = 0.0,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    sample: int = 16_384,
) -> Fit:
    """Maximum likelihood from nothing: EM from many starts of several kinds, of which the best stays.

    All starts take `screening` steps of EM side by side; the `finalists` of greatest likelihood go on to
    convergence. With free variances the likelihood has spurious optima, a line through a few rows that
    happen to lie on it, and at worst it is unbounded. A fit is refused where a component whose sigma is below
    a tenth of the greatest gains no more by it than the best of all lines through d rows would by chance;
    `batch.spurious.plausible` has the test.

    Args:
      phi: (n, d) regressors.
      y: (n,) responses.
      components: K.
      key: a PRNG key; the same key gives the same fit.
      starts: how many of each kind, by name: "random_partition", "random_lines", "spread_lines",
        "sequential_robust", "spectral", "tensor" (needs K <= d). None: 50 of all kinds.
      weights: (K,), where they are known.
      noise_variance: () or (K,), where it is known.
      equal_variance: one sigma^2 for all components.
      tie: "none"; "symmetric" for two components with coefficients [beta, -beta]; "common" for one beta.
      screening: steps of EM that every start takes, at least 1.
      finalists: starts that go on, at least 1.
      max_iterations: most steps of a finalist.
      tolerance: stop when a step moves lines, variances and weights by less; see `em`. None: the square root
        of the dtype's precision.
      variance_floor: least sigma_k^2; None: 1e-6 of the residual variance of a single line.
      ridge: () or (d,), at least 0: the prior beta_k | sigma_k^2 ~ N(0, sigma_k^2 / ridge).
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,) w, at least 0. Weights w and c w give the same mixture.
      sample: where there are more rows than this, the starts climb on so many of them, drawn at random, and
        the best goes on to convergence on all rows.

    Returns:
      The Fit of greatest likelihood among those not refused; where all are, the best of them, and `result`
      says "spurious optimum". Components are sorted by the last coefficient, unless known weights, known
      variances or a tie name them. `trace` and `iterations` count from after the screening.
      `agreed` counts the finalists that ended at that likelihood, on the sample where there is one.

    Raises:
      ValueError: a concrete argument is out of range, or shapes do not fit.
    """
    phi, y, weight = checked(phi, y, mask, row_weights)
    dtype, d = weight.dtype, phi.shape[1]
    _check.whole("components", components, at_least=1)
    for name, value in (
        ("screening", screening),
        ("finalists", finalists),
        ("max_iterations", max_iterations),
        ("sample", sample),
    ):
        _check.whole(name, value, at_least=1)
    constraints = Constraints(weights is not None, noise_variance is not None, equal_variance, tie)
    constraints.check_components(components)
    filled_up = capacity.holds(
        min(len(y), sample), d, components, constraints, phi, y, weight, key, tolerance, variance_floor, ridge
    )
    chosen = dict(MIXED if starts is None else starts)
    if starts is not None and chosen.get("tensor"):
        check_tensor(components, d)
    if starts is None and components > d and not filled_up:
        chosen.pop("tensor")
    for name, count in chosen.items():
        _check.choice("starts", name, tuple(KINDS))
        _check.whole(f"starts[{name!r}]", count, at_least=0)
    if sum(chosen.values()) < 1:
        raise ValueError("starts must hold at least one start, not 0")
    if weights is not None:
        _check.number("weights", weights, above=0)
        if np.shape(weights) != (components,):
            raise ValueError(f"weights must have shape ({components},), not {np.shape(weights)}")
    if noise_variance is not None:
        _check.number("noise_variance", noise_variance, above=0)
        if np.shape(noise_variance) not in ((), (components,)):
            raise ValueError(
                f"noise_variance must have shape () or ({components},), not {np.shape(noise_variance)}"
            )
    tolerance, ridge = tolerance_of(tolerance, dtype), ridge_of(ridge, d, dtype)
    if variance_floor is not None:
        _check.number("variance_floor", variance_floor, at_least=0)
        variance_floor = jnp.asarray(variance_floor, dtype)
    data = Rows(phi, y, weight)
    part = data
    if len(y) > sample:
        rows = jax.random.choice(jax.random.fold_in(key, len(KINDS)), len(y), (sample,), replace=False)
        part = Rows(phi[rows], y[rows], weight[rows])
    known = [None if value is None else jnp.asarray(value, dtype) for value in (weights, noise_variance)]
    statics: dict[str, Any] = {
        "constraints": constraints,
        "screening": screening,
        "finalists": min(finalists, sum(chosen.values())),
        "max_iterations": max_iterations,
    }
    kinds = tuple(sorted(chosen.items()))
    numbers = (ridge, variance_floor, tolerance)
    best: Fit
    if filled_up:
        best = _fit_filled(part, key, components, kinds, numbers, statics)
    else:
        best = _fit(part, key, *numbers, *known, components=components, kinds=kinds, **statics)
    if part is not data:
        limits: dict[str, Any] = {"constraints": constraints, "max_iterations": max_iterations}
        best = _go_on(data, best, ridge, variance_floor, tolerance, **limits)
    return best


def _options(data: Rows, ridge: jax.Array, variance_floor: jax.Array | None) -> MStepOptions:
    if variance_floor is None:
        variance_floor = 1e-6 * line_variance(data)
    least = jnp.maximum(variance_floor, steps.resolution(data.y, data.weight))
    return MStepOptions(ridge, least, jnp.zeros_like(least))


@functools.partial(wide_jit, static_argnames=("constraints", "max_iterations"))
def _go_on(
    data: Rows,
    best: Fit,
    ridge: jax.Array,
    variance_floor: jax.Array | None,
    tolerance: jax.Array,
    *,
    constraints: Constraints,
    max_iterations: int,
) -> Fit:
    """From the best fit to a sample to that of all rows."""
    options = _options(data, ridge, variance_floor)
    done: Fit = iterate(
        pack(*data[:3]),
        best.mixture,
        options,
        tolerance,
        max_iterations=max_iterations,
        constraints=constraints,
        e_step=steps.e_step,
    )
    done = _judged(done, plausible(done, data, data.weight > 0))
    return _named(done._replace(agreed=best.agreed))


def _judged(fit: Fit, sound: jax.Array) -> Fit:
    """A fit whose ending says whether it is refused."""
    return fit._replace(ending=fit.ending_bits() | jnp.where(sound, 0, BITS["spurious"]).astype(jnp.int32))


def _named(fit: Fit, used: jax.Array | None = None) -> Fit:
    """Components in the order of their last coefficients, unless a tie or known parts name them.

    Those that only fill the arrays up come first.
    """
    known = fit.constraints
    if (
        known.tie != "none"
        or known.known_weights
        or (known.known_variance and fit.mixture.noise_variance.ndim)
    ):
        return fit
    last = fit.mixture.coefficients[:, -1]
    if used is not None:
        last = jnp.where(jnp.arange(len(last), dtype=jnp.int32) < used, last, -jnp.inf)
    order = jnp.argsort(last)
    return fit._replace(
        mixture=jax.tree.map(lambda leaf: leaf if leaf.ndim == 0 else leaf[order], fit.mixture)
    )


def _fit_filled(
    data: Rows,
    key: jax.Array,
    components: int,
    kinds: tuple[tuple[str, int], ...],
    numbers: tuple[jax.Array, jax.Array | None, jax.Array],
    statics: dict[str, Any],
) -> Fit:
    """By two programs, which are compiled side by side and serve rows of all sizes."""
    d, dtype, whole = data.phi.shape[1], data.y.dtype, capacity.filled(data, key)
    ridge, *others = numbers
    filled_ridge = np.pad(np.asarray(ridge), (capacity.COLUMNS - d, 0))
    room, count = capacity.room(components), sum(count for _, count in kinds)
    used: Any = np.int32(components)
    start = programs.Program(
        functools.partial(pool, kinds=kinds, components=room),
        "starts",
        (kinds, room),
        capacity.some_mixture(room, dtype, count),
    )
    steps = max(statics["screening"], statics["max_iterations"])
    climb = programs.Program(
        functools.partial(_best, **statics),
        "fit",
        statics,
        capacity.some_fit(room, dtype, statics["constraints"], steps),
    )
    climb.begin(whole, start.like, filled_ridge, *others, used)
    few = jax.tree.map(lambda leaf: leaf[:DRAWN_FROM] if leaf.ndim else leaf, whole)
    best: Fit = climb(whole, start(key, few, used), filled_ridge, *others, used)
    return capacity.taken_fit(best, components, d)


@functools.partial(
    wide_jit,
    static_argnames=("components", "kinds", "constraints", "screening", "finalists", "max_iterations"),
)
def _fit(
    data: Rows,
    key: jax.Array,
    ridge: jax.Array,
    variance_floor: jax.Array | None,
    tolerance: jax.Array,
    weights: jax.Array | None,
    noise_variance: jax.Array | None,
    *,
    components: int,
    kinds: tuple[tuple[str, int], ...],
    constraints: Constraints,
    **limits: int,
) -> Fit:
    starts = pool(key, data, kinds=kinds, components=components)
    if weights is not None:
        starts = starts._replace(weights=jnp.broadcast_to(weights, starts.weights.shape))
    if noise_variance is not None:
        shape = (starts.weights.shape[0], *noise_variance.shape)
        starts = starts._replace(noise_variance=jnp.broadcast_to(noise_variance, shape))
    starts = starts._replace(coefficients=constraints.project(starts.coefficients))
    return _best(data, starts, ridge, variance_floor, tolerance, None, constraints=constraints, **limits)


def _best(
    data: Rows,
    pool: Mixture,
    ridge: jax.Array,
    variance_floor: jax.Array | None,
    tolerance: jax.Array,
    used: jax.Array | None,
    *,
    constraints: Constraints,
    screening: int,
    finalists: int,
    max_iterations: int,
) -> Fit:
    """The best fit from a pool of starts; `used` as in `plausible`."""
    options = _options(data, ridge, variance_floor)
    rows, counts = pack(*data[:3]), distinct(data)
    if data.columns is not None:  # the rows are filled up as well
        rows = rows._replace(blocks=counted_blocks(rows))

    def climb(pool: Mixture, limits: jax.Array, most: int) -> tuple[Fit, jax.Array]:
        """Fits from all starts, the best first, with all that are refused behind; and whether each is not."""

        def one(start: Mixture, limit: jax.Array) -> Fit:
            fit: Fit = iterate(
                rows,
                start,
                options,
                tolerance,
                limit,
                max_iterations=most,
                constraints=constraints,
                e_step=steps.e_step,
            )
            return fit

        fits = jax.vmap(one)(pool, limits)
        sound = lax.map(lambda fit: plausible(fit, data, counts, used), fits)
        likelihood = jnp.where(jnp.isnan(fits.log_likelihood), -jnp.inf, fits.log_likelihood)
        places = jnp.lexsort((-likelihood, ~sound, limits == 0))
        ordered: tuple[Fit, jax.Array] = jax.tree.map(lambda leaf: leaf[places], (fits, sound))
        return ordered

    count = pool.weights.shape[0]
    if used is None:
        first, _ = climb(pool, jnp.full(count, screening, jnp.int32), screening)
        chosen = jax.tree.map(lambda leaf: leaf[:finalists], first.mixture)
        final, sound = climb(chosen, jnp.full(finalists, max_iterations, jnp.int32), max_iterations)
    else:  # one loop for both, as it takes most of the time to compile
        place = jnp.arange(count, dtype=jnp.int32)
        limits = jnp.stack([jnp.full_like(place, screening), jnp.where(place < finalists, max_iterations, 0)])

        def phase(pool: Mixture, limits: jax.Array) -> tuple[Mixture, tuple[Fit, jax.Array]]:
            fits, sound = climb(pool, limits, max(screening, max_iterations))
            return fits.mixture, (fits, sound)

        final, sound = jax.tree.map(lambda leaf: leaf[1, :finalists], lax.scan(phase, pool, limits)[1])
    best: Fit = _named(jax.tree.map(lambda leaf: leaf[0], final), used)
    if used is not None:  # components that only fill up are not lost
        room = best.mixture.weights.shape[0]
        own = jnp.arange(room, dtype=jnp.int32) >= room - used
        lost = jnp.where(jnp.any(own & (best.mixture.weights * _rows(data) < 1)), BITS["lost"], 0)
        best = best._replace(ending=best.ending_bits() & ~BITS["lost"] | lost.astype(jnp.int32))
    mean_weight = jnp.sum(data.weight) / jnp.maximum(_rows(data), 1)
    precision = 10 * float(jnp.finfo(data.y.dtype).eps)
    near = jnp.maximum(0.01 * mean_weight, precision * jnp.abs(best.log_likelihood))
    agree = (jnp.abs(final.log_likelihood - best.log_likelihood) <= near) & (sound == sound[0])
    return _judged(best, sound[0])._replace(agreed=jnp.sum(agree).astype(jnp.int32))


def _rows(data: Rows) -> jax.Array:
    """How many rows count, (), in the dtype of the data; a multiple of the row weights is the same data."""
    return jnp.sum(data.weight > 0, dtype=jnp.int32).astype(data.y.dtype)
