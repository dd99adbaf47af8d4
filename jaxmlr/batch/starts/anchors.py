"""Starts in the order of the labels that are known: random ones have their components in any order."""

import jax
import jax.numpy as jnp
from optax.assignment import hungarian_algorithm

from jaxmlr.batch import steps
from jaxmlr.batch.starts.candidates import Rows, squares
from jaxmlr.mixture import Mixture

LEAST = -20.0  # log posterior, so that no single row decides


def aligned(start: Mixture, data: Rows, known: jax.Array) -> Mixture:
    """The components of a start, whose noise_variance is (K,), in the order that agrees best with the labels.

    Component l is named k so that the sum over rows of w_i known_ik / |known_i| log P(z_i = l | y_i) is
    greatest, P the start's posterior: an assignment problem.

    Args:
      start: a Mixture of K components.
      data: phi (n, d), y (n,), weight (n,).
      known: (n, K) bool.
    """
    error = jnp.sqrt(squares(data, start.coefficients))
    joint = steps.log_joint(error[..., None], start)[..., 0]
    belief = jnp.maximum(jax.nn.log_softmax(joint, axis=0), LEAST)
    members = known.astype(belief.dtype)
    fraction = members * (data.weight / jnp.maximum(jnp.sum(members, axis=1), 1))[:, None]
    agreement = jnp.einsum("nk,ln->kl", fraction, belief, precision="highest")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        name, own = hungarian_algorithm(-agreement)
    order = own[jnp.argsort(name)]
    return Mixture(*(leaf[order] for leaf in start))
