"""How many components: criteria over K, and a bootstrap test of K against K + 1."""

import functools
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.namespace import namespace
from jaxmlr.batch.families import Law
from jaxmlr.batch.fit import fit
from jaxmlr.batch.gate import prior
from jaxmlr.batch.outcome import Fit
from jaxmlr.batch.posterior import of_units
from jaxmlr.batch.problem import of_fit
from jaxmlr.batch.rows import checked
from jaxmlr.batch.terms import Terms, terms_of
from jaxmlr.mixture import Mixture


def parameters(fit: Fit) -> int:
    """How many numbers a fit has estimated, under the constraints that it carries.

    Args:
      fit: of a batch method, of which the shapes count.

    Returns:
      The number of parameters: K d coefficients (fewer where some are tied, common or known), K - 1
      weights, or (K - 1) m of the gate, K or 1 variances, or one a class, less what was known.
    """
    return fit.constraints.parameters(*fit.mixture.coefficients.shape[-2:])


def aic(fit: Fit) -> jax.Array:
    """Akaike's criterion, -2 log L + 2 q with q = `parameters`.

    Args:
      fit: of a method that maximises the likelihood.

    Returns:
      (), smaller is better.
    """
    return -2 * fit.log_likelihood + 2 * parameters(fit)


def bic(fit: Fit, n: ArrayLike) -> jax.Array:
    """Schwarz's criterion, -2 log L + q log n with q = `parameters`.

    Args:
      fit: of a method that maximises the likelihood.
      n: rows that count, or the sum of their weights; greater than 0.

    Returns:
      (), smaller is better.

    Raises:
      ValueError: `n` is not positive.
    """
    _check.number("n", n, above=0)
    xp = namespace(fit.log_likelihood, n)
    return -2 * fit.log_likelihood + parameters(fit) * xp.log(xp.asarray(n, fit.log_likelihood.dtype))


def icl(
    fit: Fit,
    phi: ArrayLike,
    y: ArrayLike,
    *,
    form: str = "map",
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    known: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    trials: ArrayLike | None = None,
) -> jax.Array:
    """Integrated complete likelihood (Biernacki, Celeux and Govaert 2000), as an approximation by BIC.

        map      BIC - 2 sum_i w_i log max_k p_ik          (flexmix's)
        entropy  BIC - 2 sum_i w_i sum_k p_ik log p_ik

    where p is the posterior. It asks for components that can be told apart. With groups the sums are over
    them, w_i is 1, and n in BIC remains that of the rows.

    Args:
      fit: of a method that maximises the likelihood.
      phi: (n, d).
      y: (n,).
      form: "map" or "entropy".
      mask: (n,) bool, as given to the method.
      row_weights: (n,), as given to the method.
      known: (n, K) bool, as given to the method.
      groups: (n,) integers, as given to the method.
      concomitant: (n, m), as given to the method.
      trials: (n,), as given to the method.

    Returns:
      (), smaller is better.

    Raises:
      ValueError: another form, bad rows, or `known` or `groups` given here and not to the method, or the
        other way round.
    """
    _check.choice("form", form, ("map", "entropy"))
    phi, y, weight, terms = of_fit(
        fit, phi, y, mask, row_weights, known=known, groups=groups, concomitant=concomitant, trials=trials
    )
    law = fit.constraints.law
    size, doubt = _doubt(fit.mixture, fit.gate, phi, y, weight, terms, form=form, law=law)
    return bic(fit, size) + 2 * doubt


@functools.partial(jax.jit, static_argnames=("form", "law"))
def _doubt(
    mixture: Mixture,
    gate: jax.Array | None,
    phi: jax.Array,
    y: jax.Array,
    weight: jax.Array,
    terms: Terms,
    *,
    form: str,
    law: Law | None,
) -> tuple[jax.Array, jax.Array]:
    """The sum of the row weights, and what the posterior leaves open of the labels."""
    posterior, units = of_units(mixture, gate, phi, y, weight, terms, law)
    if form == "map":
        doubt = -jnp.log(jnp.max(posterior, axis=-1))
    else:
        doubt = jnp.sum(jax.scipy.special.entr(posterior), axis=-1)
    return jnp.sum(weight), jnp.sum(units * doubt)


class Selection(NamedTuple):
    """One fit for each number of components, and their criteria."""

    best: Fit  # of the least value of the criterion asked for
    components: tuple[int, ...]
    fits: tuple[Fit, ...]
    aic: jax.Array  # (len(components),)
    bic: jax.Array
    icl: jax.Array


def select(
    phi: ArrayLike,
    y: ArrayLike,
    key: jax.Array,
    components: Iterable[int] = range(1, 6),
    *,
    criterion: str = "bic",
    mask: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    trials: ArrayLike | None = None,
    **options: Any,
) -> Selection:
    """Fit every number of components and take the one that a criterion likes best.

    Starts of each grow from the fit of fewer, so that the likelihood rises with K; see `smaller` of `fit`.

    BIC is consistent for the number of components; ICL asks besides that they can be told apart; AIC
    takes too many.

    Args:
      phi: (n, d).
      y: (n,).
      key: a PRNG key.
      components: the K to try.
      criterion: "aic", "bic" or "icl" (the "map" form).
      mask: (n,) bool, False for rows to leave out, whatever they hold.
      row_weights: (n,) w, at least 0: a row of weight 2 counts as two rows in the criteria.
      groups: (n,) integers. Rows of one group share their component.
      concomitant: (n, m) variables that the weights depend on.
      trials: (n,) of binomial responses.
      **options: further keyword arguments of `fit`, the same for every K; the criteria take the constraints
        from the fits.

    Returns:
      A Selection. A fit that `fit` refuses as spurious is not `best` while another is not refused. Where the
      likelihood falls with K among the others, a RuntimeWarning says so: the starts have missed an optimum.

    Raises:
      ValueError: another criterion, no components, or as `fit`.
    """
    _check.choice("criterion", criterion, ("aic", "bic", "icl"))
    counts = tuple(components)
    if not counts:
        raise ValueError("components must hold at least one number, not none")
    rows: dict[str, Any] = {"mask": mask, "row_weights": row_weights}
    rows |= {"groups": groups, "concomitant": concomitant, "trials": trials}
    n = jnp.sum(checked(phi, y, mask, row_weights)[2])
    by_count: dict[int, Fit] = {}
    sound: Mixture | None = None
    for count in sorted(set(counts)):
        by_count[count] = fit(phi, y, count, jax.random.fold_in(key, count), **rows, **options, smaller=sound)
        if not bool(by_count[count].spurious()):
            sound = by_count[count].mixture
    fits = tuple(by_count[count] for count in counts)
    values = {
        "aic": jnp.stack([aic(each) for each in fits]),
        "bic": jnp.stack([bic(each, n) for each in fits]),
        "icl": jnp.stack([icl(each, phi, y, **rows) for each in fits]),
    }
    _warn_where_likelihood_falls(counts, fits)
    best = _least(values[criterion], fits)
    return Selection(best, counts, fits, values["aic"], values["bic"], values["icl"])


def _least(criterion: jax.Array, fits: Sequence[Fit]) -> Fit:
    """The fit of the least criterion among those not refused; among all where every one is."""
    spurious = np.array([bool(each.spurious()) for each in fits])
    return fits[int(np.lexsort((np.asarray(criterion), spurious))[0])]


def _warn_where_likelihood_falls(counts: Sequence[int], fits: Sequence[Fit]) -> None:
    """Warn where more components have less likelihood, which no optimum found for fewer allows."""
    sound = sorted(
        (count, float(each.log_likelihood))
        for count, each in zip(counts, fits, strict=True)
        if not bool(each.spurious())
    )
    for (fewer, more_likely), (more, value) in itertools.pairwise(sound):
        if value < more_likely - 1e-6 * abs(more_likely) - 1e-3:
            warnings.warn(
                f"the log-likelihood falls from {more_likely:.8g} with {fewer} components to {value:.8g} with"
                f" {more}: the starts have missed the optimum; use more of them",
                RuntimeWarning,
                stacklevel=3,
            )


class BootstrapTest(NamedTuple):
    """A likelihood-ratio test whose law under the hypothesis is simulated."""

    statistic: jax.Array  # () 2 (log L of K + 1 - log L of K)
    simulated: jax.Array  # (replicates,) the statistic of data drawn from the fit of K components
    p_value: jax.Array  # () (1 + how many simulated are at least the statistic) / (1 + replicates)


FEW = {"random_lines": 4, "spread_lines": 4, "sequential_robust": 4}


def bootstrap_test(
    phi: ArrayLike,
    y: ArrayLike,
    components: int,
    key: jax.Array,
    *,
    replicates: int = 99,
    batch: int = 16,
    starts: Mapping[str, int] | None = None,
    groups: ArrayLike | None = None,
    concomitant: ArrayLike | None = None,
    trials: ArrayLike | None = None,
    **options: Any,
) -> BootstrapTest:
    """Parametric bootstrap of the likelihood ratio of K against K + 1 components (McLachlan 1987).

    The ratio has no chi-squared law here: K components are K + 1 at a point where weights vanish or lines
    coincide. So responses are drawn from the fit of K components, at the same phi, and both models are
    fitted to each draw by `fit`, exactly as to the data.

    Args:
      phi: (n, d).
      y: (n,).
      components: K, the hypothesis.
      key: a PRNG key.
      replicates: data sets to simulate, at least 1.
      batch: replicates fitted side by side, at least 1; memory grows with it.
      starts: how many of each kind, by the names that `fit` knows; None: 12 of three kinds.
      groups: (n,) integers. Rows of one group share their component, in the data and in the draws.
      concomitant: (n, m) variables that the weights depend on.
      trials: (n,) of binomial responses, in the draws too.
      **options: further keyword arguments of `fit`, the same for both models and every draw.

    Returns:
      A BootstrapTest.

    Raises:
      ValueError: as `fit`.
    """
    _check.whole("components", components, at_least=1)
    _check.whole("replicates", replicates, at_least=1)
    _check.whole("batch", batch, at_least=1)
    phi, y, _ = checked(phi, y)
    kinds = FEW if starts is None else starts
    given: dict[str, Any] = {"groups": groups, "concomitant": concomitant, "trials": trials}
    terms = terms_of(len(y), components, **given).of_dtype(y.dtype)

    def both(y: jax.Array, key: jax.Array) -> tuple[Fit, jax.Array]:
        small, large = (
            fit(phi, y, count, jax.random.fold_in(key, count), starts=kinds, **given, **options)
            for count in (components, components + 1)
        )
        return small, 2 * (large.log_likelihood - small.log_likelihood)

    own, draw = jax.random.split(key)
    null, statistic = both(y, own)

    def replicate(key: jax.Array) -> jax.Array:
        noise, again = jax.random.split(key)
        return both(responses(noise, null, phi, terms), again)[1]

    keys = jax.random.split(draw, replicates)
    simulated = jax.jit(lambda keys: lax.map(replicate, keys, batch_size=min(batch, replicates)))(keys)
    exceed = jnp.sum(simulated >= statistic)
    return BootstrapTest(statistic, simulated, (1 + exceed) / (1 + replicates))


def responses(key: jax.Array, fit: Fit, phi: jax.Array, terms: Terms | None = None) -> jax.Array:
    """Responses (n,) that a fit draws at the regressors phi (n, d): a label for each row, or each group."""
    mixture, n, dtype = fit.mixture, phi.shape[0], phi.dtype
    label_key, noise_key = jax.random.split(key)
    chances = jnp.log(mixture.weights)
    if fit.gate is not None and terms is not None and terms.concomitant is not None:
        chances = jnp.log(prior(fit, terms.concomitant))
    label = jax.random.categorical(label_key, chances, shape=(n,))
    if terms is not None and terms.groups is not None:  # that of the group's first row
        place = jnp.arange(n, dtype=jnp.int32)
        label = label[jnp.full(n, n - 1, jnp.int32).at[terms.groups].min(place)[terms.groups]]
    variance = jnp.broadcast_to(mixture.noise_variance, mixture.weights.shape)
    line = jnp.take_along_axis(mixture.linear_predictors(phi), label[:, None], axis=1)[:, 0]
    law = fit.constraints.law
    if law is not None:
        return law.draw(noise_key, line, variance[label], None if terms is None else terms.trials)
    sigma = jnp.sqrt(variance)
    return line + sigma[label] * jax.random.normal(noise_key, (n,), dtype)
