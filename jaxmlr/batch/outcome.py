"""What a batch method returns: the mixture, how it was made, and how the search for it ended."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr.batch.constraints import Constraints, MStepOptions
from jaxmlr.batch.rows import PackedRows
from jaxmlr.mixture import Mixture

WORDS = {  # of the bits of `Fit.ending`, from the lowest; a fit may have several
    "out_of_steps": "ran out of steps",
    "not_finite": "stopped where the likelihood or its gradient is not finite",
    "out_of_range": "squares of the rows leave the range of their dtype: scale them",
    "lost": "lost a component: less than one row belongs to it",
    "on_floor": "a variance rests on its floor",
    "spurious": "spurious optimum: a line through a few rows, which chance explains",
    "few_rows": "a coefficient rests on fewer than five rows",
    "singular": "the information is not positive definite",
}
BITS = {name: 1 << place for place, name in enumerate(WORDS)}


class Fit(NamedTuple):
    """What a batch method returns; a pytree, so a vmapped method returns a batch of them."""

    mixture: Mixture
    log_likelihood: jax.Array  # () of the mixture, row weights counted
    trace: jax.Array  # (max_iterations + 1,) what the method raises, at the start and after every step
    iterations: jax.Array  # () int32, steps taken; the trace stays at its last value from there on
    converged: jax.Array  # () bool, whether the last step moved less than the tolerance, and nothing else
    agreed: jax.Array | None = None  # () int32, of `fit` alone: how many finalists ended at this likelihood
    constraints: Constraints = Constraints()  # what was given or tied: static, without leaves
    options: MStepOptions | None = None  # ridge, variance floor, ddof and outlier density, as used
    ending: jax.Array | None = None  # () int32, the bits of `result`
    gate: jax.Array | None = None  # (K, m) alpha of softmax(alpha_k' z), whose means are the weights

    @property
    def result(self) -> str | np.ndarray:
        """How the search ended, in words: "converged" alone where all is well.

        Otherwise what is wrong, after a semicolon where there is more than one thing: "ran out of steps",
        "lost a component", "a variance rests on its floor", "spurious optimum", ... A batch of fits has an
        array of such strings, of the batch's shape.

        Raises:
          ValueError: the fit is traced; `ending` and `converged` are what can be computed with.
        """
        if any(isinstance(leaf, jax.core.Tracer) for leaf in (self.converged, self.ending)):
            raise ValueError("result must be read outside of jit and vmap, not from a traced fit")
        words: Any = np.frompyfunc(_words, 2, 1)(np.asarray(self.converged), np.asarray(self.ending_bits()))
        return words if np.ndim(words) else str(words)

    def spurious(self) -> jax.Array:
        """Whether `fit` refused the optimum, (); it may be traced."""
        return (self.ending_bits() & BITS["spurious"]) > 0

    def marked(self, name: str) -> "Fit":
        """The fit with one more of the marks in `WORDS`."""
        return self._replace(ending=self.ending_bits() | np.int32(BITS[name]))

    def ending_bits(self) -> jax.Array:
        """`ending`, or zeros where a fit made by hand has none."""
        return jnp.zeros(jnp.shape(self.converged), jnp.int32) if self.ending is None else self.ending


def _words(converged: bool, ending: int) -> str:
    reasons = [words for name, words in WORDS.items() if ending & BITS[name]]
    if not converged and not reasons:
        reasons = [WORDS["out_of_steps"]]
    return "; ".join((["converged"] if converged else []) + reasons)


def ending(**flags: jax.Array) -> jax.Array:
    """`Fit.ending`, () int32, of flags () by the names in `WORDS`."""
    parts = [jnp.where(flag, jnp.int32(BITS[name]), jnp.int32(0)) for name, flag in flags.items()]
    return jnp.sum(jnp.stack(parts), dtype=jnp.int32)


def with_ending(fit: Fit, rows: PackedRows, size: jax.Array) -> Fit:
    """A fit by EM with its `ending`: size (K,) is the weight of the rows in each component.

    Where squares of the rows underflow, or overflow, no step moves: that is not convergence.
    """
    mixture, options = fit.mixture, fit.options
    info = jnp.finfo(fit.log_likelihood.dtype)
    peaks = jnp.append(jnp.max(jnp.abs(rows.phi), axis=(0, 2, 3)), jnp.max(jnp.abs(rows.y)))
    low, high = float(info.tiny / info.eps) ** 0.5, float(info.max) ** 0.5
    out_of_range = jnp.any(((peaks > 0) & (peaks < low)) | (peaks > high))
    n = jnp.sum(rows.weight > 0, dtype=jnp.int32).astype(size.dtype)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in (*mixture, fit.log_likelihood)]
    converged = fit.converged & ~out_of_range
    floor = jnp.zeros((), bool)
    if options is not None and not fit.constraints.known_variance:
        floor = jnp.any(on_floor(mixture, options))
    flags = ending(
        out_of_steps=~fit.converged,
        not_finite=~jnp.all(jnp.stack(finite)),
        out_of_range=out_of_range,
        lost=jnp.any(size * n < jnp.sum(size)),
        on_floor=floor,
    )
    return fit._replace(converged=converged, ending=flags)


def on_floor(mixture: Mixture, options: MStepOptions) -> jax.Array:
    """Whether a variance is the least that the method allowed, () or (K,) as the variances."""
    return mixture.noise_variance <= 1.001 * options.variance_floor
