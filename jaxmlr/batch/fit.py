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
from jaxmlr._xla.jit import traced, wide_jit
from jaxmlr.batch import capacity, families
from jaxmlr.batch.best import best_of, go_on, linearised
from jaxmlr.batch.constraints import Constraints, constraints_of
from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.pools import drawn_starts, filled_starts, linear_rows, narrowed
from jaxmlr.batch.problem import check_density, ridge_of, tolerance_of
from jaxmlr.batch.rows import checked
from jaxmlr.batch.starts.anchors import aligned
from jaxmlr.batch.starts.candidates import Rows
from jaxmlr.batch.starts.draws import derived, uniform
from jaxmlr.batch.starts.kinds import KINDS
from jaxmlr.batch.starts.moments import check_tensor
from jaxmlr.batch.support import few_rows
from jaxmlr.batch.terms import Terms, drawn_rows, terms_of
from jaxmlr.mixture import Mixture

SHUFFLED = 101  # of the numbers that keys are derived by; those of the kinds of starts are less
MIXED = {
    "random_partition": 2,
    "random_lines": 6,
    "greedy": 4,
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
    coefficients: ArrayLike | None = None,
    equal_variance: bool | ArrayLike = False,
    tie: str = "none",
    common: ArrayLike | None = None,
    screening: int = 40,
    finalists: int = 8,
    max_iterations: int = 2000,
    tolerance: ArrayLike | None = None,
    variance_floor: ArrayLike | None = None,
    ridge: ArrayLike = 0.0,
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    sample: int = 16_384,
    smaller: Mixture | None = None,
    family: str = "normal",
    degrees: float | None = None,
    trials: ArrayLike | None = None,
    outlier_density: ArrayLike | None = None,
) -> Fit:
    """Maximum likelihood from nothing: EM from many starts of several kinds, of which the best stays.

    All starts take `screening` steps of EM side by side. The `finalists` of greatest likelihood go on, with
    every third step a long one (SQUAREM, Varadhan and Roland 2008; see `batch.acceleration.longer`). On a
    CPU those that are refused after 60 steps stop, after 200 all but the best 4, after 500 all but the best;
    on other devices all go on side by side.

    With free variances the likelihood has spurious optima, a line through a few rows that happen to lie on
    it, and at worst it is unbounded. A fit is refused where a component whose sigma is below a third of the
    greatest, or that rests on fewer than 2 d rows, gains no more by being there than the best of all lines
    through d rows would by chance; `batch.spurious.suspects` has the test.

    Args:
      phi: (n, d) regressors.
      y: (n,) responses.
      components: K.
      key: a PRNG key; the same key gives the same fit.
      starts: how many of each kind, by name: "random_partition", "random_lines", "spread_lines",
        "sequential_robust", "greedy", "spectral", "tensor" (needs K <= d). None: 50 of all kinds.
      weights: (K,), where they are known.
      noise_variance: () or (K,), where it is known.
      coefficients: (d,) for all components alike, or (K, d): those that are known, NaN where they are not.
      equal_variance: one sigma^2 for all components; or (K,) integers, one for all components of one number.
      tie: "none"; "symmetric" for two components with coefficients [beta, -beta]; "common" for one beta.
      common: regressors whose coefficient is one for all components, by their columns or a mask (d,) of
        booleans; or (K, d) integers: components of one number in a column have one coefficient there.
      screening: steps of EM that every start takes, at least 1; of larger tables on some 4,096 rows, drawn at
        random, where rows are filled up to a common size (on a CPU, nothing tied, K <= 5, d <= 13).
      finalists: starts that go on, at least 1.
      max_iterations: most steps of a finalist.
      tolerance: stop when a step moves lines, variances and weights by less; see `em`. None: the square root
        of the dtype's precision.
      variance_floor: least sigma_k^2; None: 1e-6 of the residual variance of a single line.
      ridge: () or (d,), at least 0: the prior beta_k | sigma_k^2 ~ N(0, sigma_k^2 / ridge).
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,) w, at least 0. Weights w and c w give the same mixture.
      known: (n, K) bool, the components that each row may belong to; it names the components.
      groups: (n,) integers. Rows of one group share their component; see `em`.
      concomitant: (n, m) z: weights are softmax(alpha_k' z), and `Fit.gate` has alpha; see `em`.
      sample: where there are more rows than this, the starts climb on so many of them, drawn at random, and
        the best goes on to convergence on all rows.
      smaller: the mixture of a fit of fewer components to the same rows. Starts that grow from it take the
        place of "greedy" ones, and one is that mixture itself, with a component twice: the likelihood is then
        not below its, unless what gains is refused, weights depend on variables, or the starts climb on a
        sample.
      family: "normal", "poisson", "binomial", "gamma" or "student"; see `em`. Starts are made from responses
        that are about linear in phi: log(y + 1/2), log((y + 1/2) / (trials - y + 1/2)), log y, and for
        "student" y where it is within 10 standard deviations, by the median deviation, of the median.
      degrees: of freedom of "student", greater than 0; None: 4.
      trials: (n,) whole numbers of at least 1, of "binomial"; None: 1.
      outlier_density: c > 0, in units of 1/y, as in `em`; with `equal_variance` or known variances. Starts
        are then made from responses drawn in as those of "student", and their sigma is that of the median
        deviation from the nearest line. 0.001 over a robust standard deviation of y does for gross errors of
        any size in 20 % of the rows, unless they lie on a line of their own. None: no outliers.

    Returns:
      The Fit of greatest likelihood among those not refused; where all are, the best of them, and `result`
      says "spurious optimum". Components are sorted by the last coefficient that is not common, unless
      a tie, classes, or what is known of weights, variances, labels or coefficients name them. `trace` and
      `iterations` count from after the screening.
      `agreed` counts the finalists that went on until they ended at that likelihood, on the sample where
      there is one.

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
    numbers_of_variance = {"variance_floor": variance_floor, "known_variance": noise_variance is not None}
    numbers_of_variance |= {"equal_variance": equal_variance, "ridge": ridge}
    numbers_of_variance |= {"outlier_density": outlier_density}
    of_family = families.facts(family, degrees, **numbers_of_variance)
    of_rows = {"known": known, "groups": groups, "concomitant": concomitant, "trials": trials}
    terms = terms_of(len(y), components, mask=mask, **of_rows).of_dtype(dtype)
    families.check_responses(family, y, weight, terms.trials)
    values = None if coefficients is None else _known_values(coefficients, components, d)
    constraints = constraints_of(
        components,
        d,
        known_weights=weights is not None,
        known_variance=noise_variance is not None,
        equal_variance=equal_variance,
        tie=tie,
        common=common,
        held=None if values is None else ~np.isnan(values),
        **terms.facts(),
        **of_family,
    )
    if smaller is not None:
        before, width = np.shape(smaller.coefficients)
        if width != d or not before < components:
            raise ValueError(
                f"smaller must have {d} coefficients a component and fewer than {components} components, not"
                f" {width} and {before}"
            )
    arrays = (phi, y, weight, key, tolerance, variance_floor, ridge, smaller)
    filled_up = capacity.holds(min(len(y), sample), d, components, *arrays)
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
    floor = jnp.asarray(jnp.nan if variance_floor is None else variance_floor, dtype)
    data = Rows(phi, y, weight)
    part, part_terms = data, terms
    if len(y) > sample:
        rows = drawn_rows(jax.random.fold_in(key, len(KINDS)), len(y), sample, terms)
        part, part_terms = Rows(phi[rows], y[rows], weight[rows]), terms.of_rows(rows)
    law = constraints.law
    density = None
    if outlier_density is not None:
        check_density(outlier_density, constraints)
        density = jnp.asarray(outlier_density, dtype)
    drawn_in = density is not None or (law is not None and law.link == "identity")
    linear = part if law is None and density is None else linear_rows(part, law, part_terms.trials)
    if law is not None and not law.dispersed:
        noise_variance = 1.0
    elif drawn_in and variance_floor is None:
        floor = 1e-6 * jnp.var(linear.y)
    weights, noise_variance, coefficients = (
        None if value is None else jnp.asarray(value, dtype) for value in (weights, noise_variance, values)
    )
    statics: dict[str, Any] = {
        "constraints": constraints,
        "screening": screening,
        "finalists": min(finalists, sum(chosen.values())),
        "max_iterations": max_iterations,
    }
    kinds = tuple(sorted(chosen.items()))
    numbers = (ridge, floor, tolerance)
    best: Fit
    if filled_up and capacity.fits(constraints) and trials is None and density is None:
        best = _fit_filled(part, linear, key, components, kinds, numbers, smaller, statics)
    else:
        if filled_up:
            whole = capacity.filled(linear, key)
            wide = filled_starts(whole, key, components, kinds, smaller)
            drawn = capacity.taken_starts(wide, components, d)
        else:
            drawn = drawn_starts(key, linear, smaller, components=components, kinds=kinds)
        given = (weights, noise_variance, coefficients)
        best = _fit(part, drawn, key, *numbers, *given, part_terms, density, **statics)
    if part is not data:
        limits: dict[str, Any] = {"constraints": constraints, "max_iterations": max_iterations}
        best = go_on(data, best, ridge, floor, tolerance, terms, density, **limits)
    plain = all(each is None for each in terms)
    if plain and not traced(best, data) and np.any(few_rows(best.mixture, phi, y, weight, law)):
        best = best.marked("few_rows")
    return best


def _fit_filled(
    data: Rows,
    linear: Rows,
    key: jax.Array,
    components: int,
    kinds: tuple[tuple[str, int], ...],
    numbers: tuple[jax.Array, jax.Array, jax.Array],
    smaller: Mixture | None,
    statics: dict[str, Any],
) -> Fit:
    """By two programs, which are compiled side by side and serve rows of all sizes."""
    d, dtype, whole = data.phi.shape[1], data.y.dtype, capacity.filled(data, key)
    ridge, *others = numbers
    filled_ridge = np.pad(np.asarray(ridge), (capacity.COLUMNS - d, 0))
    room, count = capacity.room(components), sum(count for _, count in kinds)
    used: Any = np.int32(components)
    law = statics["constraints"].law

    def dispersed(starts: Mixture) -> Mixture:
        """Starts with the dispersion of the law, where that is known."""
        if law is None or law.dispersed:
            return starts
        ones: Any = np.ones(np.shape(starts.weights)[0], dtype)
        return starts._replace(noise_variance=ones)

    climb = programs.Program(
        functools.partial(best_of, **statics),
        "fit",
        statics,
        capacity.some_fit(room, dtype, statics["constraints"], statics["max_iterations"]),
    )
    some = dispersed(capacity.some_mixture(room, dtype, count))
    climb.begin(whole, some, filled_ridge, *others, used)
    from_rows = whole if linear is data else capacity.filled(linear, key)
    starts = dispersed(filled_starts(from_rows, key, components, kinds, smaller))
    best: Fit = climb(whole, starts, filled_ridge, *others, used)
    return capacity.taken_fit(best, components, d)


@functools.partial(wide_jit, static_argnames=("constraints", "screening", "finalists", "max_iterations"))
def _fit(
    data: Rows,
    starts: Mixture,
    key: jax.Array,
    ridge: jax.Array,
    variance_floor: jax.Array,
    tolerance: jax.Array,
    weights: jax.Array | None,
    noise_variance: jax.Array | None,
    coefficients: jax.Array | None,
    terms: Terms,
    outlier_density: jax.Array | None,
    *,
    constraints: Constraints,
    **limits: Any,
) -> Fit:
    """The best fit from starts, once they have what is known."""
    if outlier_density is not None:
        starts = narrowed(starts, data)
    known = terms.known
    if known is not None:
        linear = linearised(data, constraints.law, terms.trials)
        starts = lax.map(lambda start: aligned(start, linear, known), starts)
    elif constraints.common or constraints.held or constraints.variance_classes:
        starts = _shuffled(derived(key, SHUFFLED), starts)
    if weights is not None:
        starts = starts._replace(weights=jnp.broadcast_to(weights, starts.weights.shape))
    if noise_variance is not None:
        shape = (starts.weights.shape[0], *noise_variance.shape)
        starts = starts._replace(noise_variance=jnp.broadcast_to(noise_variance, shape))
    lines = starts.coefficients
    if coefficients is not None:
        values = jnp.broadcast_to(coefficients, lines.shape)
        lines = jnp.where(jnp.isnan(values), lines, values)
    starts = starts._replace(coefficients=jax.vmap(constraints.project)(lines))
    numbers = (ridge, variance_floor, tolerance, None, terms, outlier_density)
    return best_of(data, starts, *numbers, constraints=constraints, **limits)


def _shuffled(key: jax.Array, starts: Mixture) -> Mixture:
    """Starts with their components in a random order each: what names components may name any."""
    order = jnp.argsort(uniform(key, starts.weights.shape, starts.weights.dtype), axis=1)
    shuffled: Mixture = jax.vmap(lambda start, order: jax.tree.map(lambda leaf: leaf[order], start))(
        starts, order
    )
    return shuffled


def _known_values(coefficients: ArrayLike, components: int, d: int) -> np.ndarray:
    """The known coefficients, (d,) or (K, d), with NaN where they are free."""
    if isinstance(coefficients, jax.core.Tracer):
        raise ValueError("coefficients must be concrete, not traced: they say what is estimated")
    values = np.asarray(coefficients, np.float64)
    if values.shape not in ((d,), (components, d)) or np.any(np.isinf(values)):
        raise ValueError(
            f"coefficients must be numbers, or NaN, of shape ({d},) or ({components}, {d}),"
            f" not {coefficients!r}"
        )
    return values
