"""A recursive method fed in pieces of any size: one compiled program, the same bits as one scan."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from jaxmlr import _check
from jaxmlr._xla import host
from jaxmlr.estimator import Estimator, Info
from jaxmlr.mixture import Mixture

BLOCK = 4096  # rows of one call of the compiled program
FEW = 8  # of that for a single row; of blocks of one row XLA makes a program that rounds otherwise


class OnlineFit:
    """`lax.scan(est.step, est.init(d, key), (phi, y))` over rows that arrive in pieces.

    However the rows are cut, the state is the scan's bit for bit: a piece runs through blocks of one shape, a
    single row through a smaller one, each as a loop of as many steps as it has rows, so nothing is masked.
    """

    def __init__(self, estimator: Estimator, dim: int, key: Any = None, dtype: DTypeLike = np.float64):
        """Start from `init`; float64 works whatever JAX's own default is."""
        self.estimator, self.dim, self.dtype = estimator, dim, np.dtype(dtype)
        with self._precision():
            self.state = estimator.init(dim, key, self.dtype)

    def update(self, phi: np.ndarray, y: np.ndarray) -> Info:
        """Take rows phi (n, d) and y (n,), n of any size; rows with NaN or infinity are skipped.

        Returns:
          The labels (n,) and residuals (n,), NumPy arrays, each from the estimate before its row.

        Raises:
          ValueError: wrong shapes or dtypes, or another d than before.
        """
        pieces = []
        with self._precision():
            _check.observations(phi, y, gaps=True)
            if phi.shape[1] != self.dim:
                raise ValueError(f"phi must have {self.dim} columns, not {phi.shape[1]}")
            block = BLOCK if len(y) > 1 else FEW
            for first in range(0, len(y), block):
                part, answers = phi[first : first + block], y[first : first + block]
                n = len(answers)
                padded = np.zeros((block, self.dim), self.dtype), np.zeros(block, self.dtype)
                padded[0][:n], padded[1][:n] = part, answers
                self.state, info = _advance(self.estimator, self.state, *padded, n)
                pieces.append((info, n))
        labels = [np.empty(0, np.int32), *(np.asarray(info.label)[:n] for info, n in pieces)]
        residuals = [np.empty(0, self.dtype), *(np.asarray(info.residual)[:n] for info, n in pieces)]
        given: list[Any] = [np.concatenate(labels), np.concatenate(residuals)]
        return Info(*given)

    def mixture(self) -> Mixture:
        """The current estimate, of NumPy arrays."""
        with self._precision():
            estimate: Mixture = jax.tree.map(np.asarray, _mixture(self.estimator, self.state))
            return estimate

    def _precision(self) -> Any:
        return host.float64() if self.dtype == np.float64 else jax.enable_x64(False)


@functools.partial(jax.jit, static_argnames="estimator")
def _mixture(estimator: Estimator, state: Any) -> Mixture:
    return estimator.mixture(state)


@functools.partial(jax.jit, static_argnames="estimator")
def _advance(estimator: Estimator, state: Any, phi: jax.Array, y: jax.Array, n: int) -> tuple[Any, Info]:
    def body(i: jax.Array, carry: tuple[Any, Info]) -> tuple[Any, Info]:
        state, info = carry
        state, new = estimator.step(state, (phi[i], y[i]))
        return state, Info(info.label.at[i].set(new.label), info.residual.at[i].set(new.residual))

    empty = Info(jnp.zeros(len(y), jnp.int32), jnp.zeros_like(y))
    done: tuple[Any, Info] = lax.fori_loop(0, n, body, (state, empty))
    return done
