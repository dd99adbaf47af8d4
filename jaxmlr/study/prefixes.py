"""Batch methods in a study: fitted to the first n observations of every trial, which are drawn anew."""

import jax
import jax.numpy as jnp

from jaxmlr import metrics
from jaxmlr.data import noise
from jaxmlr.data.simulate import Observation, stream
from jaxmlr.estimator import nearest
from jaxmlr.lanes import lanes
from jaxmlr.mixture import Mixture
from jaxmlr.study import build
from jaxmlr.study.spec import Study

ENTRIES = 2**22  # numbers of data held at once


def values(study: Study, trials: jax.Array) -> build.PrefixValues:
    """Metrics of the batch methods at one grid point: method -> metric -> (trials, records).

    They are those that `metrics.track` names, but labels come from the fit to the very observations that
    they are given to. At recorded steps to which a method is not fitted all is NaN.
    """
    recorded = [int(n) for n in study.recorded]
    found: build.PrefixValues = {}
    for name in study.batch:
        method = study.make_batch(name)
        columns = {n: _fits(study, method, n, trials) for n in method.steps}
        like = next(iter(columns.values()))
        missing = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), like)
        rows = [columns.get(n, missing) for n in recorded]
        found[name] = jax.tree.map(lambda *x: jnp.stack(x, axis=1), *rows)
    return found


def _fits(study: Study, method: build.Batch, n: int, trials: jax.Array) -> dict[str, jax.Array]:
    """Metrics of one method fitted to n observations: metric -> (trials,)."""
    problem = study.problem
    truth = problem.mixture(study.precision)
    key = jax.random.key(study.seed)

    def draw(trial: jax.Array) -> Observation:
        source = stream(key, truth, problem.regressors(), trial)
        data: Observation = jax.lax.scan(source.step, source.init(), jnp.arange(1, n + 1, dtype=jnp.int32))[1]
        return data

    def fitted(row: tuple[jax.Array, Observation]) -> dict[str, jax.Array]:
        trial, data = row
        mixture = method.fit(data.phi, data.y, noise.method_key(noise.key_words(key), trial))
        return _measured(tuple(study.metrics), mixture, truth, data)

    def chunk(some: jax.Array) -> dict[str, jax.Array]:
        # One fit at a time: its data stay in cache, and no fit waits for the slowest of many.
        return jax.lax.map(fitted, (some, lanes(draw)(some)))

    most = max(1, ENTRIES // (n * (problem.dim + 2)))
    size = max(k for k in range(1, min(most, len(trials)) + 1) if len(trials) % k == 0)
    chunks = jax.lax.map(chunk, trials.reshape(-1, size))
    return {name: x.reshape(-1) for name, x in chunks.items()}


def _measured(
    wanted: tuple[str, ...], mixture: Mixture, truth: Mixture, data: Observation
) -> dict[str, jax.Array]:
    """Metrics, each of shape (), of a fit to `data`."""
    finite = jnp.all(jnp.isfinite(mixture.coefficients)).astype(data.y.dtype)
    found = {"finite": finite}
    if "coefficient_error" in wanted:
        found["coefficient_error"] = metrics.coefficient_error(mixture, truth)
    if "scale" in wanted:
        found["scale"] = metrics.scale(mixture)
    for name in metrics.CUMULATIVE:
        excess = f"excess_{name}"
        if name in wanted or excess in wanted:
            here, oracle = (_cumulative(name, m, truth, data) for m in (mixture, truth))
            found |= {key: x for key, x in ((name, here), (excess, here - oracle)) if key in wanted}
    return found


def _cumulative(name: str, mixture: Mixture, truth: Mixture, data: Observation) -> jax.Array:
    """A metric of labels, or of residuals, by the nearest line; shape ()."""
    info = jax.vmap(nearest)(mixture.lines(data.phi), data.y)
    if name == "within_cluster_error":
        return jnp.mean(info.residual * info.residual)
    order = metrics.matching(mixture.coefficients, truth.coefficients)
    return jnp.mean((info.label != order[data.label]).astype(data.y.dtype))
