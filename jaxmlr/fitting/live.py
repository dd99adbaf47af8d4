"""A recursive method on rows as they come: what it says of each, and a state that is kept between runs."""

import functools
import json
import os
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmlr._xla import host
from jaxmlr.estimator import Estimator

BLOCKS = (8, 1024)  # rows of one call: few are answered soon, many fast
FORMAT = "jaxmlr stream 1"


class Said(NamedTuple):
    """What is said of rows, each from the estimate before it; NumPy outside of jit."""

    label: Any  # (n,) int32, the most probable component, from 0; -1 where the row is not finite
    probability: Any  # (n,) its posterior; NaN there
    prediction: Any  # (n,) E[y | x]


class Live:
    """A method's state, moved by rows in pieces of any size with the same bits, float64."""

    def __init__(self, estimator: Estimator, dim: int, seed: int, about: dict[str, Any]):
        """Start from `init`; `about` says in plain values what a saved state belongs to."""
        self.estimator, self.dim, self.about, self.rows = estimator, dim, about, 0
        with host.float64():
            self.state = estimator.init(dim, jax.random.key(seed), np.float64)

    def update(self, phi: np.ndarray, y: np.ndarray) -> Said:
        """Take rows phi (n, d) and y (n,); rows that are not finite are answered with NaN, not learnt."""
        parts = []
        with host.float64():
            first = 0
            while first < len(y):
                size = BLOCKS[len(y) - first > BLOCKS[0]]
                n = min(size, len(y) - first)
                whole = np.zeros((size, self.dim)), np.zeros(size)
                whole[0][:n], whole[1][:n] = phi[first : first + n], y[first : first + n]
                self.state, said = _advance(self.estimator, self.state, *whole, n)
                parts.append(Said(*(np.asarray(leaf)[:n] for leaf in said)))
                first += n
        self.rows += len(y)
        return Said(*(np.concatenate(leaves) for leaves in zip(*parts, strict=True)))

    def save(self, path: Path) -> None:
        """Write the state; an old file is replaced at once or not at all.

        Raises:
          OSError: the file cannot be written.
        """
        leaves = {f"leaf_{i}": _data(leaf) for i, leaf in enumerate(jax.tree.leaves(self.state))}
        about = json.dumps({"format": FORMAT, "rows": self.rows, "about": self.about})
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, about=np.array(about), **leaves)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def resume(self, path: Path) -> None:
        """Go on from what `save` wrote. It is data: nothing in it is run.

        Raises:
          OSError: the file cannot be read.
          ValueError: it is no saved state, or one of another stream.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                leaves, structure = jax.tree.flatten(self.state)
                saved = [file[f"leaf_{i}"] for i in range(len(leaves))]
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}")
        except (ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ValueError(f"{path} is not the state of a stream: {error}") from error
        for name, value in self.about.items():
            if about["about"].get(name) != value:
                raise ValueError(f"{path} belongs to {name} {about['about'].get(name)!r}, not {value!r}")
        with host.float64():
            self.state = jax.tree.unflatten(structure, map(_restored, saved, leaves))
        self.rows = int(about["rows"])


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _restored(saved: np.ndarray, leaf: Any) -> Any:
    if _data(leaf).shape != saved.shape or _data(leaf).dtype != saved.dtype:
        raise ValueError("the saved state has another shape than the method's")
    return jax.random.wrap_key_data(jnp.asarray(saved)) if _is_key(leaf) else jnp.asarray(saved)


@functools.partial(jax.jit, static_argnames="estimator")
def _advance(estimator: Estimator, state: Any, phi: jax.Array, y: jax.Array, n: int) -> tuple[Any, Said]:
    def body(i: jax.Array, carry: tuple[Any, Said]) -> tuple[Any, Said]:
        state, said = carry
        row, answer = phi[i], y[i]
        mixture = estimator.mixture(state)
        lines = jnp.sum(mixture.coefficients * row[None, :], axis=1)
        variance = jnp.broadcast_to(mixture.noise_variance, mixture.weights.shape)
        joint = (
            jnp.log(mixture.weights) - 0.5 * jnp.log(variance) - 0.5 * jnp.square(answer - lines) / variance
        )
        posterior = jax.nn.softmax(joint)
        known = jnp.isfinite(answer) & jnp.all(jnp.isfinite(row))
        moved, _ = estimator.step(state, (row, answer))
        state = jax.tree.map(lambda new, old: jnp.where(known, new, old), moved, state)
        label = jnp.where(known, jnp.argmax(posterior), -1).astype(jnp.int32)
        return state, Said(
            said.label.at[i].set(label),
            said.probability.at[i].set(jnp.where(known, jnp.max(posterior), jnp.nan)),
            said.prediction.at[i].set(jnp.sum(mixture.weights * lines)),
        )

    none: Any = Said(jnp.zeros(len(y), jnp.int32), jnp.zeros_like(y), jnp.zeros_like(y))
    done: tuple[Any, Said] = lax.fori_loop(0, n, body, (state, none))
    return done
