"""SQUAREM: a long step from two steps of EM, taken back where it lowers the likelihood."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.moments import Moments
from jaxmlr.mixture import Mixture

FIRST, SECOND, LONG = range(3)  # the next step is the first of EM, the second; a long one was taken
LONGEST = 64.0  # of the factor that two steps of EM are stretched by

Place = tuple[Mixture, jax.Array | None]  # a mixture and its gate


class Point(NamedTuple):
    """A mixture in coordinates that may take any value."""

    coefficients: jax.Array  # (K, d)
    log_weights: jax.Array  # (K,)
    log_variance: jax.Array  # (K,)
    gate: jax.Array | None  # (K, m)


class Track(NamedTuple):
    """Where acceleration stands between two steps."""

    first: Point  # r, the first of two steps of EM in a row
    back: Mixture  # where EM would have gone without the long step
    back_gate: jax.Array | None
    turn: jax.Array  # () int32: FIRST, SECOND or LONG
    refused: jax.Array  # () bool, whether the long step has lowered the likelihood


def begun(mixture: Mixture, gate: jax.Array | None) -> Track:
    """The track before any step."""
    nothing = jax.tree.map(jnp.zeros_like, point(mixture, gate))
    return Track(nothing, mixture, gate, jnp.zeros((), jnp.int32), jnp.zeros((), bool))


def point(mixture: Mixture, gate: jax.Array | None) -> Point:
    """The coordinates of a mixture with noise_variance (K,)."""
    tiny = float(jnp.finfo(mixture.weights.dtype).tiny)
    weights, variance = (jnp.maximum(leaf, tiny) for leaf in (mixture.weights, mixture.noise_variance))
    return Point(mixture.coefficients, jnp.log(weights), jnp.log(variance), gate)


def next_goal(
    track: Track,
    current: Place,
    moved: Place,
    may: jax.Array,
    moments: Moments,
    constraints: Constraints,
    options: MStepOptions,
) -> tuple[Place, Track]:
    """The next mixture, and the track: a step of EM, a long one, or back from one that was refused.

    Args:
      track: as it stands at the current mixture.
      current: a mixture with noise_variance (K,), and its gate.
      moved: where a step of EM leads.
      may: () bool, whether a long step may be taken.
      moments: of the rows at the current mixture.
      constraints: what is known or tied stays so.
      options: `variance_floor` counts.
    """
    far = longer(current, moved, track.first, moments, constraints, options)
    long = may & (track.turn == SECOND)
    goal: Place = jax.tree.map(
        lambda plain, stretched, back: jnp.where(track.refused, back, jnp.where(long, stretched, plain)),
        moved,
        far,
        (track.back, track.back_gate),
    )
    first = jax.tree.map(lambda new, old: new - old, point(*moved), point(*current))
    ready = may & (track.turn == FIRST)
    turn = jnp.where(long, LONG, jnp.where(ready, SECOND, FIRST)).astype(jnp.int32)
    return goal, Track(first, *moved, turn, track.refused)


def longer(
    current: Place,
    moved: Place,
    first: Point,
    moments: Moments,
    constraints: Constraints,
    options: MStepOptions,
) -> Place:
    """The long step of SQUAREM (Varadhan and Roland 2008, scheme S3) from x0 through x1 to x2.

        x' = x0 - 2 a r + a^2 v,   r = x1 - x0,   v = (x2 - x1) - r,   a = -|r| / |v|, -1 at most

    in coefficients, log weights and log variances; a = -1 is EM. Lengths are measured by the information of
    labelled rows, sum_k (beta_k' diag(A_k) beta_k / sigma_k^2 + n_k (log weights_k)^2 + n_k (log s_k)^2 / 2),
    s_k the variance, so that units do not matter.

    Args:
      current: x1, a mixture with noise_variance (K,), and its gate.
      moved: x2, where a step of EM leads.
      first: r.
      moments: of the rows at x1.
      constraints: what is known or tied stays so.
      options: `variance_floor` counts.
    """
    middle, last = point(*current), point(*moved)
    bend = jax.tree.map(lambda x2, x1, r: x2 - x1 - r, last, middle, first)
    metric = jnp.diagonal(moments.gram, axis1=1, axis2=2) / current[0].noise_variance[:, None]

    def length(x: Point) -> jax.Array:
        of_rest = moments.size * (x.log_weights**2 + x.log_variance**2 / 2)
        return jnp.sum(metric * x.coefficients**2) + jnp.sum(of_rest)

    tiny = float(jnp.finfo(metric.dtype).tiny)
    stretch = jnp.clip(jnp.sqrt(length(first) / jnp.maximum(length(bend), tiny)), 1, LONGEST)
    far = jax.tree.map(
        lambda x1, r, v: x1 + (2 * stretch - 1) * r + stretch * stretch * v, middle, first, bend
    )
    mixture, gate = moved[0], far.gate
    weights, variance = mixture.weights, mixture.noise_variance
    if not constraints.known_weights:
        weights = jnp.where(weights > 0, jax.nn.softmax(far.log_weights), 0)
    if not constraints.known_variance:
        variance = jnp.maximum(jnp.exp(far.log_variance), options.variance_floor)
    sound = jnp.isfinite(stretch + jnp.sum(far.coefficients) + jnp.sum(variance))
    chosen = jax.tree.map(
        lambda new, old: jnp.where(sound, new, old),
        (Mixture(far.coefficients, weights, variance), gate),
        moved,
    )
    result: Place = chosen
    return result
