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

    need = "give check_method the options that it needs"
    with jax.enable_x64(True):
        trials = [rows(dim, np.float64, trial) for trial in range(TRIALS)]
        for dtype in (np.float32, np.float64):
            found = attempt(f"a fit to {np.dtype(dtype)} data", fit, *rows(dim, dtype), mend=need)
            require(
                isinstance(found, Fit | Mixture),
                f"a batch method must return a Fit or a Mixture, not {type(found).__name__}",
                "return a jaxmlr.Fit",
            )
            require_valid(getattr(found, "mixture", found), dim, dtype)
            names, phi, y = degenerate(dim, dtype)
            require_finite(names, attempt("jit of vmap", jax.jit(jax.vmap(fit)), phi, y, mend=TRACED), dtype)
        alone = [fit(*trial) for trial in trials]
        require(
            equal(alone[0], fit(*trials[0])),
            "a fit must be pure: two calls with equal arguments differ",
            GLOBAL,
        )
        together = jax.jit(jax.vmap(fit))(*(np.stack(part) for part in zip(*trials, strict=True)))
        estimates = [getattr(each, "mixture", each) for each in (together, *alone)]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *estimates[1:])
        require(
            equal(estimates[0], stacked, 1e-6), "vmap of data sets must equal the fits one by one", GLOBAL
        )
