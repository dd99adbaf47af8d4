"""The contract of a batch method."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxmlr.batch import Fit
from jaxmlr.mixture import Mixture
from jaxmlr.registry import Method
from jaxmlr.testing.promise import GLOBAL, TRACED, attempt, equal, require, require_finite, require_valid
from jaxmlr.testing.rows import degenerate, rows

TRIALS = 3


def check(method: Method, options: Mapping[str, Any], dim: int) -> None:
    """Raise `Broken` at the first promise that is not kept."""
    components = int(options.get("components", 2))
    angles = np.linspace(0, np.pi, components * dim).reshape(components, dim)  # of lines that differ
    start = np.cos(angles), np.full(components, 1 / components), np.ones(components)

    def fit(phi: Any, y: Any) -> Any:
        dtype = jnp.result_type(phi)
        facts = {
            "key": jax.random.key(0),
            "start": Mixture(*(jnp.asarray(leaf, dtype) for leaf in start)),
        }
        given = {name: fact for name, fact in facts.items() if name in method.parameters}
        return method.factory(phi, y, **(given | dict(options)))

    with jax.enable_x64(True):
        trials = [rows(dim, np.float64, trial) for trial in range(TRIALS)]
        need = "give check_method the options that it needs"
        first = attempt("a fit", fit, *trials[0], mend=need)
        require(
            isinstance(first, Fit | Mixture),
            f"a batch method must return a Fit or a Mixture, not {type(first).__name__}",
            "return a jaxmlr.Fit",
        )
        require_valid(_mixture(first), dim, np.float64)
        require(
            equal(first, fit(*trials[0])), "a fit must be pure: two calls with equal arguments differ", GLOBAL
        )
        for dtype in (np.float64, np.float32):
            names, phi, y = degenerate(dim, dtype)
            every = [
                np.concatenate(part).astype(dtype) for part in zip((phi, y), _stacked(trials), strict=True)
            ]
            together = attempt(f"vmap of {np.dtype(dtype)} data", jax.jit(jax.vmap(fit)), *every, mend=TRACED)
            require_finite(names, together, dtype)
            cases = len(names)
            ordinary = jax.tree.map(lambda leaf, cases=cases: leaf[cases:], _mixture(together))
            require_valid(jax.tree.map(lambda leaf: leaf[0], ordinary), dim, dtype)
            if dtype == np.float64:
                alone = jax.tree.map(
                    lambda *leaves: np.stack(leaves), *(_mixture(fit(*each)) for each in trials)
                )
                require(
                    equal(ordinary, alone, 1e-6), "vmap of data sets must equal the fits one by one", GLOBAL
                )


def _mixture(fitted: Any) -> Any:
    return getattr(fitted, "mixture", fitted)


def _stacked(trials: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    return [np.stack(part) for part in zip(*trials, strict=True)]
