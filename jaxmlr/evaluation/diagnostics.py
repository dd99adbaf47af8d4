"""What a user must know about a run: is the information there, and is the method where it should be?

`diagnosed(estimator)` follows any method without changing it; `report(state)` turns what was followed
into numbers and alarms, and `advice(report)` into sentences that name the setting to change.

Everything is made of sums along the stream. The information matrix obeys the exact recursion

    G[n] = G[n-1] + phi[n] phi[n]',      lambda_min(n) its least eigenvalue, taken only where a report is

and a copy of the sums is put aside whenever n is a power of 8. With m the older of the last two such n,
n / m is in [8, 64), and growth exponents are slopes between m and n on log-log scales:

    excitation   log(lambda_min(n) / lambda_min(m)) / log(n / m)          1 where persistently exciting
    growth       log(trace G[n] / trace G[m]) / log(n / m) - 1            delta in |phi[n]|^2 = O(n^delta)

Whether n^kappa = o(lambda_min(n)), the condition of arXiv 2503.18500, is judged by excitation > kappa
with kappa = 1/2 + max(growth, 0); the paper's kappa could not be seen, this one is reconstructed. The
alarms, their thresholds and the advice are this project's.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jaxmlr._xla.linear import dot
from jaxmlr.estimator import Estimator, Info, Row, plain_step

POWERS_OF_8 = 0x49249249  # the bits 0, 3, 6, ..., 30
PERSISTENT = 0.9  # least excitation exponent that passes for 1
GROWTH = 0.1  # least growth exponent that counts
RANK = 1e-5  # share of the largest eigenvalue below which a direction was never visited
RESTS = 0.1  # share of steps at an end of D_n that counts as resting there: noise leaves it every other step
SIGNIFICANT = 2.33  # normal quantile: 1 % of balanced mixtures pass as imbalanced


class Sums(NamedTuple):
    """What is summed along the stream and put aside at powers of 8."""

    n: jax.Array  # () int32, n
    information: jax.Array  # (d, d) G
    at_upper: jax.Array  # () int32, steps after which q is at the upper end of D_n
    at_one: jax.Array  # () int32, steps after which q is at its lower end 1
    residual: jax.Array  # () sum of squared distances to the nearest line
    response: jax.Array  # () sum of y^2


class DiagnosedState(NamedTuple):
    """State of `diagnosed`."""

    method: Any  # the state of the method itself
    sums: Sums
    older: tuple[Sums, Sums]  # the sums at the last two powers of 8, the later one first
    moment: jax.Array  # (d,) sum of phi y
    spread: jax.Array  # (d, d) sum of y^2 phi phi', the variance of `moment` if its mean is 0


class Report(NamedTuple):
    """Numbers, then alarms. Exponents and shares are NaN before n = 8, and alarms are then off."""

    excitation: jax.Array  # () lambda_min(n)
    excitation_exponent: jax.Array  # () 1 where persistently exciting, 0 where a direction is never visited
    growth_exponent: jax.Array  # () delta in |phi|^2 = O(n^delta)
    at_upper: jax.Array  # () share of recent steps with q at the upper end of D_n
    at_one: jax.Array  # () share of recent steps with q = 1
    direction_z: jax.Array  # () evidence against theta = (2p - 1) beta = 0, a standard normal if it is 0
    residual_share: jax.Array  # () recent mean square distance to the nearest line over that to 0
    weak: jax.Array  # () bool, n^kappa = o(lambda_min) is not plausible
    fading: jax.Array  # () bool, not persistently exciting, though not weak
    growing: jax.Array  # () bool, regressors grow
    bounded: jax.Array  # () bool, q rests at its upper bound
    overdamped: jax.Array  # () bool, q rests at 1
    balanced: jax.Array  # () bool, theta cannot be told from 0 by a method that needs it
    diverged: jax.Array  # () bool, not finite, or farther from the data than the line 0


FINDINGS = {
    "weak": "the excitation lambda_min(n) grows as n^{excitation_exponent:.2f} only",
    "fading": "excitation is not persistent, lambda_min(n) grows as n^{excitation_exponent:.2f}",
    "growing": "regressors grow, |phi|^2 as n^{growth_exponent:.2f}",
    "bounded": "the scale q was at its upper bound in {at_upper:.0%} of recent steps",
    "overdamped": "the scale q was at 1 in {at_one:.0%} of recent steps",
    "balanced": "theta = (2p - 1) beta cannot be told from 0 (z = {direction_z:.1f})",
    "diverged": "the estimate is farther from the data than the line 0",
}
ADVICE = {
    "weak": "some coefficients may never be learnt, though labels can be; change the input that makes phi,"
    " or leave the unexcited columns out",
    "fading": 'use gain="newton" in two_step, as gain="em" may stall, and forgetting=1',
    "growing": "set delta of two_step to at least that exponent; from 1/2 on it is beyond the theorem",
    "bounded": "raise bound, the C of D_n",
    "overdamped": "lower noise_variance, or use fisher_scoring; right only for a single line",
    "balanced": "p may be near 1/2; use fisher_scoring or symmetric_em in place of two_step",
    "diverged": 'lower the step size, raise forgetting towards 1, scale phi, or use precision="float64"',
}
ALARMS = tuple(ADVICE)
NUMBERS = tuple(name for name in Report._fields if name not in ALARMS)
LONG_NAMES = {  # by what they are called in studies
    "excitation": "lambda_min of the sum of phi phi'",
    "excitation_exponent": "growth exponent of lambda_min, 1 where persistently exciting",
    "growth_exponent": "delta in |phi|^2 = O(n^delta)",
    "at_upper": "fraction of recent steps with q at the upper end of D_n",
    "at_one": "fraction of recent steps with q at 1",
    "direction_z": "evidence against theta = 0, standard normal if it is 0",
    "residual_share": "recent mean square distance to the nearest line over that to 0",
    **{f"alarm_{name}": text for name, text in ADVICE.items()},
}
METRICS = tuple(LONG_NAMES)


def diagnosed(estimator: Estimator) -> Estimator:
    """The same method with diagnostics in its state: its info and its mixture are unchanged.

    q at an end of D_n, and theta near 0, are followed where the method's state has a field `scale`, as
    `two_step`'s has. Costs two (d, d) sums a step; in float32 sums are good up to about 10^7 observations.

    Args:
      estimator: any method.

    Returns:
      An Estimator whose state is a `DiagnosedState`; `report` reads it.

    Raises:
      ValueError: `estimator` is not an Estimator, or is diagnosed already (at `init`).
    """
    if not isinstance(estimator, Estimator):
        raise ValueError(f"estimator must be an Estimator, not {estimator!r}")

    def init(dim: int, key: jax.Array | None = None, dtype: DTypeLike | None = None) -> DiagnosedState:
        dtype = jnp.result_type(float) if dtype is None else dtype
        method = estimator.init(dim, key, dtype)
        if isinstance(method, DiagnosedState):
            raise ValueError("estimator must not be diagnosed already")
        vector, zero, none = jnp.zeros((dim,), dtype), jnp.zeros((), dtype), jnp.zeros((), jnp.int32)
        matrix = jnp.zeros((dim, dim), dtype)
        sums = Sums(none, matrix, none, none, zero, zero)
        return DiagnosedState(method, sums, (sums, sums), vector, matrix)

    def step(state: DiagnosedState, row: Row) -> tuple[DiagnosedState, Info]:
        sums = state.sums
        dtype = sums.information.dtype
        phi, y = row[0].astype(dtype), row[1].astype(dtype)
        method, info = plain_step(estimator)(state.method, row)
        outer = phi[:, None] * phi[None, :]
        at_upper, at_one = sums.at_upper, sums.at_one
        if hasattr(method, "scale"):
            near = 1 + 4 * float(jnp.finfo(dtype).eps)
            upper = _upper(estimator, state.method, row)
            at_upper = at_upper + (method.scale * near >= upper).astype(jnp.int32)
            at_one = at_one + (method.scale <= near).astype(jnp.int32)
        count = sums.n + 1
        residual = info.residual.astype(dtype)
        sums = Sums(
            count,
            sums.information + outer,
            at_upper,
            at_one,
            sums.residual + residual * residual,
            sums.response + y * y,
        )
        keep = ((count & (count - 1)) == 0) & ((count & POWERS_OF_8) != 0)
        later, earlier = state.older
        older = jax.tree.map(lambda new, old: jnp.where(keep, new, old), (sums, later), (later, earlier))
        moment, spread = state.moment + y * phi, state.spread + (y * y) * outer
        return DiagnosedState(method, sums, older, moment, spread), info

    return Estimator(init, step, lambda state: estimator.mixture(state.method))


def _upper(estimator: Estimator, before: Any, row: Row) -> jax.Array:
    """The upper end of D_n: what a step with phi = 0 makes of a scale that is far too large."""
    huge = jnp.full_like(
        before.scale, float(jnp.finfo(before.scale.dtype).max) ** 0.125
    )  # powers of it are finite
    nothing = jax.tree.map(jnp.zeros_like, row)
    scale: jax.Array = plain_step(estimator)(before._replace(scale=huge), nothing)[0].scale
    return scale


def report(state: DiagnosedState) -> Report:
    """Numbers and alarms; pure, so it can be jitted and vmapped.

    theta = (2p - 1) beta is tested by the score of least squares with variances that may depend on phi,

        W = h' S^+ h,   h = sum phi y,   S = sum y^2 phi phi',

    chi-squared with rank(S) degrees of freedom where theta = 0, turned into a standard normal by the cube
    root of Wilson and Hilferty (1931). Under theta = 0 the variance of h is that of White (1980).

    Args:
      state: of a diagnosed method.

    Returns:
      A Report in the dtype of the state.

    Raises:
      ValueError: the state is not that of a diagnosed method.
    """
    if not isinstance(state, DiagnosedState):
        raise ValueError(f"state must be that of a diagnosed method, not {type(state).__name__}")
    now, then = state.sums, state.older[1]
    dtype = now.information.dtype
    n, m = now.n.astype(dtype), then.n.astype(dtype)
    measured = then.n > 0
    span = jnp.log(n / jnp.where(measured, m, 1))

    values, old = (_eigenvalues(sums.information) for sums in (now, then))
    visited = values[0] > RANK * values[-1]
    slope = _slope(values[0], old[0], span)
    exponent = jnp.where(visited, slope, 0)
    growth = _slope(jnp.sum(values), jnp.sum(old), span) - 1
    exponent, growth = (jnp.where(measured, x, jnp.nan) for x in (exponent, growth))

    def recent(after: jax.Array, before: jax.Array) -> jax.Array:
        return jnp.where(measured, (after - before).astype(dtype) / jnp.maximum(n - m, 1), jnp.nan)

    at_upper, at_one = recent(now.at_upper, then.at_upper), recent(now.at_one, then.at_one)
    response = jnp.where(now.response > then.response, now.response - then.response, jnp.nan)
    residual_share = jnp.where(measured, (now.residual - then.residual) / response, jnp.nan)
    evidence = jnp.where(measured, _evidence(state.moment, state.spread), jnp.nan)

    weak = exponent <= 0.5 + jnp.maximum(growth, 0)
    learns_scale = hasattr(state.method, "scale")
    return Report(
        values[0],
        exponent,
        growth,
        at_upper,
        at_one,
        evidence,
        residual_share,
        weak,
        (exponent < PERSISTENT) & ~weak,
        growth > GROWTH,
        at_upper > RESTS,
        at_one > RESTS,
        (evidence < SIGNIFICANT) & learns_scale,
        measured & (~jnp.isfinite(now.residual) | (residual_share > 1)),
    )


def _eigenvalues(matrix: jax.Array) -> jax.Array:
    """Eigenvalues in increasing order, not below 0."""
    return jnp.maximum(jnp.linalg.eigvalsh(matrix), 0)


def _slope(after: jax.Array, before: jax.Array, span: jax.Array) -> jax.Array:
    """The exponent between two values; that before it, where 0, counts as rounding."""
    tiny = jnp.finfo(after.dtype).tiny
    return jnp.log(jnp.maximum(after, tiny) / jnp.maximum(before, tiny)) / span


def _evidence(h: jax.Array, S: jax.Array) -> jax.Array:
    """The statistic of `report` against theta = 0."""
    values, vectors = jnp.linalg.eigh(S)
    kept = values > RANK * values[-1]
    along = dot(vectors.T, h)
    W = jnp.sum(jnp.where(kept, along * along / jnp.where(kept, values, 1), 0))
    freedom = jnp.maximum(jnp.sum(kept), 1).astype(h.dtype)
    part = 2 / (9 * freedom)
    return (jnp.cbrt(W / freedom) - (1 - part)) / jnp.sqrt(part)


def advice(diagnosis: Report) -> list[str]:
    """A sentence for every alarm that is on, with the setting to change; an empty list if none is.

    Args:
      diagnosis: a concrete Report of one run.

    Raises:
      ValueError: a batch of reports.
    """
    if np.ndim(diagnosis.excitation):
        raise ValueError(f"diagnosis must be one report, not of shape {np.shape(diagnosis.excitation)}")
    numbers = {name: float(np.asarray(value)) for name, value in diagnosis._asdict().items()}
    return [f"{FINDINGS[name].format(**numbers)}: {ADVICE[name]}" for name in ALARMS if numbers[name]]


def values(state: DiagnosedState) -> dict[str, jax.Array]:
    """The report under the names of `METRICS`, as numbers of one dtype; alarms are 0 or 1."""
    values = report(state)._asdict()
    dtype = values["excitation"].dtype
    alarms = {f"alarm_{name}": values[name].astype(dtype) for name in ALARMS}
    return {name: values[name] for name in NUMBERS} | alarms
