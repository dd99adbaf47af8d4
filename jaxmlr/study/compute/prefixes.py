"""Batch methods in a study: fitted to the first n observations of every trial, which are drawn anew."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxmlr._xla.lanes.transform import lanes
from jaxmlr.data import noise
from jaxmlr.data.simulate import SimulatedRow
from jaxmlr.estimator import nearest
from jaxmlr.evaluation import diagnostics, metrics
from jaxmlr.mixture import Mixture
from jaxmlr.study.compute import chunks
from jaxmlr.study.compute.plan import Variant
from jaxmlr.study.declare import measured, resolve
from jaxmlr.study.declare.spec import Study

ENTRIES = 2**22  # numbers of data held at once


def values(
    study: Study, variants: Mapping[str, Variant], options: Mapping[str, Any], trials: jax.Array
) -> resolve.PrefixValues:
    """Metrics of the batch methods at one problem: key of a variant -> metric -> (E, records, trials).

    They are those that `metrics.track` names, but labels come from the fit to the very observations that
    they are given to. At recorded steps to which a method is not fitted all is NaN.
    """
    longest = max(n for v in variants.values() for n in study.make_batch(v.name).steps)
    problem = study.problem
    key = jax.random.key(study.seed)

    def draw(trial: jax.Array) -> SimulatedRow:
        source = problem.source(study.seed, trial, study.precision)
        steps = jnp.arange(1, longest + 1, dtype=jnp.int32)
        data: SimulatedRow = jax.lax.scan(source.step, source.init(), steps)[1]
        return data

    def fitted(row: tuple[jax.Array, SimulatedRow]) -> resolve.PrefixValues:
        trial, data = row
        start_key = noise.method_key(noise.key_words(key), trial)
        curves = {}
        for name, v in variants.items():

            def fit(own: Mapping[str, Any], v: Variant = v) -> dict[str, jax.Array]:
                method = study.make_batch(v.name, {**v.static, **own})
                return _at_records(study, method, data, start_key)

            own = options[name]
            curves[name] = jax.lax.map(fit, own) if own else jax.tree.map(lambda x: x[None], fit({}))
        return curves

    def chunk(part: jax.Array) -> resolve.PrefixValues:
        # One fit at a time: its data stay in cache, and no fit waits for the slowest of many.
        data = chunks.in_chunks(lanes(draw), part, chunks.side_by_side(len(part), 0))
        values: resolve.PrefixValues = jax.lax.map(fitted, (part, data))
        return values

    most = max(1, ENTRIES // (longest * (problem.dim + 2)))
    size = max(k for k in range(1, min(most, len(trials)) + 1) if len(trials) % k == 0)
    values = jax.lax.map(chunk, trials.reshape(-1, size))
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, *x.shape[2:]), 0, -1), values)


def _at_records(
    study: Study, method: resolve.Batch, data: SimulatedRow, key: jax.Array
) -> dict[str, jax.Array]:
    """Metrics of one method in one trial: metric -> (records,)."""
    at_prefix = {}
    for n in method.steps:
        part = jax.tree.map(lambda x, n=n: x[:n], data)
        at_prefix[n] = _measured(study, method.fit(part.phi, part.y, key), part)
    missing = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), at_prefix[method.steps[0]])
    return jax.tree.map(lambda *x: jnp.stack(x), *(at_prefix.get(int(n), missing) for n in study.recorded))


def _measured(study: Study, mixture: Mixture, data: SimulatedRow) -> dict[str, jax.Array]:
    """Metrics, each of shape (), of a fit to `data`; those of the truth at the last of them."""
    wanted, problem = study.metric_names, study.problem
    truth, drift = problem.mixture(study.precision), problem.drifting()
    numbers = jnp.arange(1, len(data.y) + 1, dtype=jnp.int32)
    last, lines = truth, truth.linear_predictors(data.phi)
    if drift is not None:
        last = drift.at(truth, numbers[-1])
        lines = jax.vmap(lambda n, phi: drift.at(truth, n).linear_predictors(phi))(numbers, data.phi)
    finite = jnp.all(jnp.isfinite(mixture.coefficients)).astype(data.y.dtype)
    nan = jnp.full_like(finite, jnp.nan)
    values = {"finite": finite}
    values |= metrics.of_estimate(wanted, mixture, last, measured.own(study.metrics))
    # Diagnostics are of streams.
    values |= {name: nan for name in wanted if name in diagnostics.METRICS}
    means, own_lines, gaps = metrics.running_means(wanted), mixture.linear_predictors(data.phi), problem.gaps
    fitted = {name: _mean(x, own_lines, mixture, last, data, gaps=gaps) for name, x in means.items()}
    optimum = {name: _mean(x, lines, last, last, data, gaps=gaps) for name, x in means.items()}
    values |= {name: fitted[mean] - optimum[mean] for name, mean in metrics.excesses(wanted).items()}
    return values | {name: x for name, x in fitted.items() if name in wanted}


def _mean(
    running: metrics.Running,
    lines: jax.Array,
    mixture: Mixture,
    truth: Mixture,
    data: SimulatedRow,
    *,
    gaps: bool,
) -> jax.Array:
    """A running mean over all rows, labelled by the nearest of lines (n, K); shape ()."""
    of_rows = running.of_rows(jax.vmap(nearest)(lines, data.y), data.label, mixture, truth)
    return jnp.mean(of_rows, where=jnp.isfinite(data.y)) if gaps else jnp.mean(of_rows)
