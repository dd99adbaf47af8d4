"""One trial of a study: its data, and the path of one method's estimate."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr import _check
from jaxmlr.data import noise
from jaxmlr.data.simulate import SimulatedRow, simulate
from jaxmlr.estimator import Info
from jaxmlr.mixture import Mixture
from jaxmlr.study.declare.errors import StudyError, blamed_on, check_choice

if TYPE_CHECKING:
    from jaxmlr.study.declare.spec import Study


class Trajectory(NamedTuple):
    """Estimates of one method along one trial, of NumPy arrays.

    Fields:
      step: (m,) n of the estimates.
      mixture: the estimates after n observations, each leaf with a first axis (m,).
      info: labels and residuals of every observation, (n,), each from the estimate before it; None of a batch
        method. Of a response that is missing the residual is NaN.
      truth: the mixtures that produced the observations `step`, each leaf with a first axis (m,).
    """

    step: np.ndarray
    mixture: Mixture
    info: Info | None
    truth: Mixture


def data(study: "Study", trial: int, point: Mapping[str, Any]) -> SimulatedRow:
    """The data of one trial; see `Study.data`."""
    with blamed_on(("trial",)):
        _check.whole("trial", trial, at_least=0)
    if trial >= 2**31:
        raise StudyError(("trial",), f"trial must be less than {2**31}, not {trial}")
    problem = at_point(study, point, ("problem.",)).problem
    with jax.enable_x64(study.precision == "float64"):
        rows = simulate(
            jax.random.key(study.seed),
            problem.mixture(study.precision),
            problem.regressors(),
            study.steps,
            trial=trial,
            **problem.laws(study.precision),
        )
        drawn: SimulatedRow = jax.tree.map(np.asarray, rows)
        return drawn


def trajectory(study: "Study", trial: int, method: str, point: Mapping[str, Any]) -> Trajectory:
    """The estimates of one method along one trial; see `Study.trajectory`."""
    check_choice(("method",), method, study.estimators)
    at = at_point(study, point, ("problem.", f"estimators.{method}."))
    rows = data(at, trial, {})
    with jax.enable_x64(study.precision == "float64"):
        key = noise.method_key(noise.key_words(jax.random.key(study.seed)), trial)
        phi, y = jnp.asarray(rows.phi), jnp.asarray(rows.y)
        if method in study.batch:
            batch = at.make_batch(method)
            fits = [batch.fit(phi[:n], y[:n], key) for n in batch.steps]
            estimates: Mixture = jax.tree.map(lambda *leaves: np.stack(leaves), *fits)
            return Trajectory(np.asarray(batch.steps), estimates, None, _truth(at, batch.steps))
        estimator = at.make(method)

        def step(state: Any, row: Any) -> tuple[Any, tuple[Info, Mixture]]:
            state, info = estimator.step(state, row)
            return state, (info, estimator.mixture(state))

        start = estimator.init(at.problem.dim, key, study.precision)
        info, mixture = jax.tree.map(np.asarray, jax.lax.scan(step, start, (phi, y))[1])
        steps = np.arange(1, study.steps + 1)
        return Trajectory(steps, mixture, info, _truth(at, steps))


def _truth(study: "Study", steps: Sequence[int] | np.ndarray) -> Mixture:
    """The mixtures that produce the responses of steps (m,), each leaf with a first axis (m,)."""
    truth, drift = study.problem.mixture(study.precision), study.problem.drifting()
    numbers = jnp.asarray(steps, jnp.int32)
    moved = jax.vmap(lambda n: truth if drift is None else drift.at(truth, n), axis_size=len(steps))(numbers)
    return jax.tree.map(np.asarray, moved)


def at_point(study: "Study", point: Mapping[str, Any], roots: tuple[str, ...]) -> "Study":
    """The study at one point of its grid; only axes whose paths begin with one of `roots` are needed.

    Paths of an axis that go together need one value.

    Raises:
      StudyError: a path is no axis, a value is missing, or not on its axis.
    """
    axes = study.axes
    for path in point:
        check_choice(("grid",), path, [path for axis in axes for path in axis.columns])
    values: dict[str, Any] = {}
    for axis in axes:
        given = {path: point[path] for path in axis.columns if path in point}
        if not any(path.startswith(roots) for path in axis.columns):
            continue
        places = [k for k in range(len(axis)) if all(axis.columns[p][k] == v for p, v in given.items())]
        if not places or (not given and len(axis) > 1):
            path = next(iter(given or axis.columns))
            said = f", not {point[path]!r}" if path in point else ""
            reason = f"{path} must be one of {', '.join(map(str, axis.columns[path]))}{said}"
            raise StudyError(("grid", path), reason)
        values |= {path: column[places[0]] for path, column in axis.columns.items()}
    return study.at({path: value for path, value in values.items() if path.startswith(roots)})
