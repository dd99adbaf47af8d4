"""Laws of the response beside the normal one: Poisson, binomial, gamma and Student's t.

Each gives the E-step its log density and the M-step what one step of Newton, or of weighted least squares, is
made of. `Mixture.noise_variance` holds the dispersion v. Formulas take NumPy's arrays or JAX's alike.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxmlr import _check
from jaxmlr._xla.namespace import namespace, special
from jaxmlr.batch.gamma_shape import shape_of, stirling

DEGREES = 4.0  # of freedom of Student's t, where none are given (Lange, Little and Taylor 1989)
NAMES = ("normal", "poisson", "binomial", "gamma", "student")


class Working(NamedTuple):
    """What rows tell the M-step of predictors eta = beta_k' phi, each of the shape of eta."""

    score: Any  # v d log f / d eta
    curvature: Any  # of the step: -v d^2 log f / d eta^2, or the weight of least squares
    spread: Any  # whose mean gives the dispersion, by `Law.dispersion`; None where that is known


class Law:
    """The law of y given eta and the dispersion v; `trials` are those of binomial responses, else None."""

    name: str
    link = "log"  # from the mean of y to eta
    words: str  # what it is, for reports
    wanted: str  # of y, for those who gave something else
    dispersed = False  # whether there is a dispersion to estimate
    # Whether the steps are Newton's, of a log density f with |f'''| <= |f''|, damped by `damping`.
    newton = True

    def log_density(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Any:
        """Log f(y | eta, v) but for `base`."""
        raise NotImplementedError

    def working(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Working:
        """What one step of the M-step is made of, as `Working`."""
        raise NotImplementedError

    def base(self, y: Any, trials: Any = None) -> Any:
        """The part of log f that no parameter enters, of the shape of y."""
        return namespace(y).zeros_like(y)

    def mean(self, eta: Any, trials: Any = None) -> Any:
        """E[y | eta]."""
        return namespace(eta).exp(_bounded(eta))

    def variance(self, mean: Any, dispersion: Any, trials: Any = None) -> Any:
        """Var[y], of responses of mean `mean`."""
        raise NotImplementedError

    def transformed(self, y: Any, trials: Any = None) -> Any:
        """Responses that are about linear in phi: what starts are made from."""
        raise NotImplementedError

    def dispersion(self, spread: jax.Array) -> jax.Array:
        """The dispersion of the mean `spread`."""
        return spread

    def draw(self, key: jax.Array, eta: jax.Array, variance: jax.Array, trials: Any = None) -> jax.Array:
        """Responses of the shape of eta."""
        raise NotImplementedError

    def holds(self, y: np.ndarray, trials: Any = None) -> Any:
        """Whether each y can be a response."""
        raise NotImplementedError


class _Poisson(Law):
    """Counts: log E[y] = eta, Var[y] = E[y]."""

    name = "poisson"
    words = "Poisson, the mean of the response is exp(line)"
    wanted = "whole numbers of at least 0"

    def log_density(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Any:
        eta = _bounded(eta)
        return y * eta - namespace(eta).exp(eta)

    def working(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Working:
        mean = self.mean(eta)
        return Working(y - mean, mean, None)

    def base(self, y: Any, trials: Any = None) -> Any:
        return -special(y).gammaln(y + 1)

    def variance(self, mean: Any, dispersion: Any, trials: Any = None) -> Any:
        return mean

    def transformed(self, y: Any, trials: Any = None) -> Any:
        return namespace(y).log(y + 0.5)

    def draw(self, key: jax.Array, eta: jax.Array, variance: jax.Array, trials: Any = None) -> jax.Array:
        return jax.random.poisson(key, self.mean(eta)).astype(eta.dtype)

    def holds(self, y: np.ndarray, trials: Any = None) -> Any:
        return (y >= 0) & (y == np.floor(y))


class _Binomial(Law):
    """Successes in `trials`, 1 where none are given: logit E[y / trials] = eta."""

    name = "binomial"
    words = "binomial, the mean of the response is 1 / (1 + exp(-line))"
    link = "logit"
    wanted = "whole numbers from 0 to the number of trials (1 where no trials are given)"

    def log_density(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Any:
        xp = namespace(eta)
        m = 1.0 if trials is None else trials
        return y * eta - m * (xp.maximum(eta, 0) + xp.log1p(xp.exp(-xp.abs(eta))))

    def working(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Working:
        m = 1.0 if trials is None else trials
        p = special(eta).expit(eta)
        return Working(y - m * p, m * p * special(eta).expit(-eta), None)

    def base(self, y: Any, trials: Any = None) -> Any:
        if trials is None:
            return namespace(y).zeros_like(y)
        log_factorial = special(y).gammaln
        return log_factorial(trials + 1) - log_factorial(y + 1) - log_factorial(trials - y + 1)

    def mean(self, eta: Any, trials: Any = None) -> Any:
        return special(eta).expit(eta) * (1.0 if trials is None else trials)

    def variance(self, mean: Any, dispersion: Any, trials: Any = None) -> Any:
        return mean * (1 - mean / (1.0 if trials is None else trials))

    def transformed(self, y: Any, trials: Any = None) -> Any:
        xp = namespace(y)
        return xp.log(y + 0.5) - xp.log((1.0 if trials is None else trials) - y + 0.5)

    def draw(self, key: jax.Array, eta: jax.Array, variance: jax.Array, trials: Any = None) -> jax.Array:
        p = jax.nn.sigmoid(eta)
        return jax.random.binomial(key, jnp.ones_like(p) if trials is None else trials, p).astype(eta.dtype)

    def holds(self, y: np.ndarray, trials: Any = None) -> Any:
        return (y >= 0) & (y == np.floor(y)) & (y <= (1 if trials is None else trials))


class _Gamma(Law):
    """Positive responses of constant coefficient of variation: log E[y] = eta, Var[y] = v E[y]^2.

    The shape is a = 1 / v. Given eta it has its maximum where log a - digamma(a) is the mean of
    y / mu - 1 - log(y / mu).
    """

    name = "gamma"
    words = "gamma, the mean of the response is exp(line), its variance the dispersion times that squared"
    wanted = "greater than 0"
    dispersed = True

    def log_density(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Any:
        return stirling(1 / variance) - self.working(eta, y, variance).spread / variance

    def working(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Working:
        eta, xp = _bounded(eta), namespace(eta)
        ratio = _positive(y) * xp.exp(-eta)
        return Working(ratio - 1, ratio, ratio - 1 - (xp.log(_positive(y)) - eta))

    def base(self, y: Any, trials: Any = None) -> Any:
        return -namespace(y).log(_positive(y))

    def variance(self, mean: Any, dispersion: Any, trials: Any = None) -> Any:
        return dispersion * mean**2

    def transformed(self, y: Any, trials: Any = None) -> Any:
        return namespace(y).log(_positive(y))

    def dispersion(self, spread: jax.Array) -> jax.Array:
        return 1 / shape_of(spread)

    def draw(self, key: jax.Array, eta: jax.Array, variance: jax.Array, trials: Any = None) -> jax.Array:
        return self.mean(eta) * variance * jax.random.gamma(key, 1 / variance)

    def holds(self, y: np.ndarray, trials: Any = None) -> Any:
        return y > 0


class _Student(Law):
    """(y - eta) / sqrt(v) has Student's t distribution of given degrees of freedom nu.

    Steps are of least squares with the weights (nu + 1) / (nu + (y - eta)^2 / v), an EM algorithm whose
    missing data are the rows' precisions (Lange, Little and Taylor 1989).
    """

    name = "student"
    words = "Student's t about the lines, of scale sigma"
    link = "identity"
    wanted = "numbers"
    dispersed = True
    newton = False

    def __init__(self, degrees: float):
        self.degrees = degrees

    def log_density(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Any:
        xp, nu = namespace(eta, variance), self.degrees
        constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - math.log(nu * math.pi) / 2
        return constant - xp.log(variance) / 2 - (nu + 1) / 2 * xp.log1p((y - eta) ** 2 / (nu * variance))

    def working(self, eta: Any, y: Any, variance: Any, trials: Any = None) -> Working:
        error = y - eta
        weight = (self.degrees + 1) / (self.degrees + error * error / variance)
        return Working(weight * error, weight, weight * error * error)

    def mean(self, eta: Any, trials: Any = None) -> Any:
        return eta

    def variance(self, mean: Any, dispersion: Any, trials: Any = None) -> Any:
        nu = self.degrees
        return namespace(mean).full_like(mean, nu / (nu - 2) if nu > 2 else math.inf) * dispersion

    def transformed(self, y: Any, trials: Any = None) -> Any:
        return y

    def draw(self, key: jax.Array, eta: jax.Array, variance: jax.Array, trials: Any = None) -> jax.Array:
        return eta + jnp.sqrt(variance) * jax.random.t(key, self.degrees, eta.shape, eta.dtype)

    def holds(self, y: np.ndarray, trials: Any = None) -> Any:
        return np.isfinite(y)


_FIXED = {law.name: law for law in (_Poisson(), _Binomial(), _Gamma())}


@functools.lru_cache(maxsize=64)
def law(family: str, degrees: float | None = None) -> Law | None:
    """The law of that name; None for "normal", which needs none."""
    if family == "student":
        return _Student(DEGREES if degrees is None else degrees)
    return _FIXED.get(family)


def facts(family: str, degrees: Any = None, **options: Any) -> dict[str, Any]:
    """What `Constraints` says of a family, once the options of `em` are such as it can combine with.

    Raises:
      ValueError: no such family, degrees of another than "student", or an option that it has no use for.
    """
    _check.choice("family", family, NAMES)
    if degrees is not None:
        if family != "student":
            raise ValueError(f"degrees must be None with family={family!r}: they are of 'student'")
        if isinstance(degrees, jax.core.Tracer):
            raise ValueError("degrees must be concrete, not traced: a law is made for them")
        _check.number("degrees", degrees, above=0, scalar=True)
    chosen = law(family)
    if chosen is None:
        return {}
    refused = {"outlier_density"}
    if chosen.newton:
        refused |= {"ddof"}
        refused |= {"ridge"} if chosen.dispersed else {"equal_variance", "known_variance", "variance_floor"}
    for name in sorted(refused & set(options)):
        value = options[name]
        none = value is None or (not isinstance(value, jax.core.Tracer) and not np.any(value))
        if not none:
            raise ValueError(f"{name} must not be given with family={family!r}, which it cannot combine with")
    given = {"degrees": DEGREES if degrees is None else float(degrees)} if family == "student" else {}
    return {"family": family} | given


def check_responses(family: str, y: ArrayLike, weight: ArrayLike, trials: ArrayLike | None = None) -> None:
    """Raise ValueError unless the concrete responses y (n,) of positive weight (n,) can be of the family."""
    if trials is not None and family != "binomial":
        raise ValueError(f"trials must be None with family={family!r}: they are of 'binomial'")
    chosen = law(family)
    if chosen is None or any(isinstance(each, jax.core.Tracer) for each in (y, weight, trials)):
        return
    responses, counts = np.asarray(y, np.float64), np.asarray(weight) > 0
    wrong = np.flatnonzero(counts & ~chosen.holds(responses, None if trials is None else np.asarray(trials)))
    if len(wrong):
        raise ValueError(
            f"y must be {chosen.wanted} with family={family!r}: {len(wrong)} rows are not, the first is row"
            f" {wrong[0]} with {responses[wrong[0]]:g}"
        )


def damping(delta: jax.Array, reach: jax.Array) -> jax.Array:
    """How much of Newton's steps delta (K, d) is taken, (K,), so that each raises what it is to raise.

        t = log(1 + R) / R,   R = max_i |delta_k' phi_i|,   bounded by sum_j |delta_kj| max_i |phi_ij|

    Along delta the third derivative of a `newton` law's log density is at most R times the second, so that
    this t raises the sum of log densities always (self-concordance, Bach 2010); near the optimum t is 1.

    Args:
      delta: (K, d).
      reach: (d,) the largest |phi_ij|.
    """
    far = jnp.sum(jnp.abs(delta) * reach[None, :], axis=1)
    some = jnp.maximum(far, float(jnp.finfo(far.dtype).eps))
    return jnp.where(far > jnp.finfo(far.dtype).eps, jnp.log1p(some) / some, 1)


def _bounded(eta: Any) -> Any:
    """Predictors whose exponentials stay in the range of their dtype."""
    xp = namespace(eta)
    most = 0.9 * float(np.log(float(jnp.finfo(eta.dtype).max)))
    return xp.clip(eta, -most, most)


def _positive(y: Any) -> Any:
    """Responses with 1 for those that are not positive, which do not count."""
    return namespace(y).where(y > 0, y, 1)
