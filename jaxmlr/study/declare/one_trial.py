"""One trial of a study: its data, and the path of one method's estimate."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
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
from jaxmlr.study.declare.grid import same

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
    at = at_point(study, point, ("problem.",))
    most = at.problem.regressors().trials
    if most is not None and trial >= most:
        raise StudyError(("trial",), f"trial must be less than {most}, those of the recording, not {trial}")
    drawn: SimulatedRow = jax.tree.map(np.asarray, _compiled(at, "", _drawing)(np.int32(trial)))
    return drawn


def trajectory(study: "Study", trial: int, method: str, point: Mapping[str, Any]) -> Trajectory:
    """The estimates of one method along one trial; see `Study.trajectory`."""
    check_choice(("method",), method, study.estimators)
    at = at_point(study, point, ("problem.", f"estimators.{method}."))
    rows = data(at, trial, {})
    follow = _compiled(at, method, _fits if method in study.batch else _path)
    with jax.enable_x64(study.precision == "float64"):
        key = noise.method_key(noise.key_words(jax.random.key(study.seed)), trial)
        mixture, info = jax.tree.map(np.asarray, follow(rows.phi, rows.y, key))
        steps = np.asarray(at.make_batch(method).steps) if info is None else np.arange(1, study.steps + 1)
        return Trajectory(steps, mixture, info, _truth(at, steps))


def _drawing(study: "Study", method: str) -> Callable[..., SimulatedRow]:
    """A function of the number of a trial that draws it."""
    del method
    problem, precision = study.problem, study.precision

    def draw(trial: jax.Array) -> SimulatedRow:
        truth, laws = problem.mixture(precision), problem.laws(precision)
        key = jax.random.key(study.seed)
        return simulate(key, truth, problem.regressors(), study.steps, trial=trial, **laws)

    return draw


def _path(study: "Study", method: str) -> Callable[..., tuple[Mixture, Info]]:
    """A function of phi (n, d), y (n,) and a key: a recursive method's estimates, and its labels."""

    def follow(phi: jax.Array, y: jax.Array, key: jax.Array) -> tuple[Mixture, Info]:
        estimator = study.make(method)

        def step(state: Any, row: Any) -> tuple[Any, tuple[Mixture, Info]]:
            state, info = estimator.step(state, row)
            return state, (estimator.mixture(state), info)

        path: tuple[Mixture, Info] = jax.lax.scan(
            step, estimator.init(study.problem.dim, key, study.precision), (phi, y)
        )[1]
        return path

    return follow


def _fits(study: "Study", method: str) -> Callable[..., tuple[Mixture, None]]:
    """A function of phi (n, d), y (n,) and a key: a batch method's fits to its prefixes."""

    def follow(phi: jax.Array, y: jax.Array, key: jax.Array) -> tuple[Mixture, None]:
        batch = study.make_batch(method)
        fits = [batch.fit(phi[:n], y[:n], key) for n in batch.steps]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *fits), None

    return follow


def _compiled(study: "Study", method: str, make: Callable[..., Callable[..., Any]]) -> Callable[..., Any]:
    """`make(study, method)` as a program, which all trials of a study at one point share."""
    key = (study.fingerprint(), tuple(study.functions.values()), method)
    if key not in _programs:
        _programs[key] = jax.jit(make(study, method))
        while len(_programs) > PROGRAMS:
            _programs.popitem(last=False)
    program = _programs[key]

    def call(*args: Any) -> Any:
        with jax.enable_x64(study.precision == "float64"):
            return program(*args)

    return call


PROGRAMS = 16  # of trials kept compiled
_programs: OrderedDict[tuple[Any, ...], Callable[..., Any]] = OrderedDict()


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
        places = [k for k in range(len(axis)) if all(same(axis.columns[p][k], v) for p, v in given.items())]
        if not places or (not given and len(axis) > 1):
            path = next(iter(given or axis.columns))
            said = f", not {point[path]!r}" if path in point else ""
            reason = f"{path} must be one of {', '.join(map(str, axis.columns[path]))}{said}"
            raise StudyError(("grid", path), reason)
        values |= {path: column[places[0]] for path, column in axis.columns.items()}
    return study.at({path: value for path, value in values.items() if path.startswith(roots)})
