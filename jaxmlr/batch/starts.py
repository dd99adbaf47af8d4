"""All kinds of starts by name. Each draws one start from a key, so `vmap` over keys draws many."""

from collections.abc import Callable

import jax

from jaxmlr.batch.line_starts import random_lines as random_lines
from jaxmlr.batch.line_starts import random_partition as random_partition
from jaxmlr.batch.line_starts import sequential_robust as sequential_robust
from jaxmlr.batch.line_starts import spread_lines as spread_lines
from jaxmlr.batch.lines import Data
from jaxmlr.batch.moment_starts import spectral as spectral
from jaxmlr.batch.moment_starts import tensor as tensor
from jaxmlr.mixture import Mixture

KINDS: dict[str, Callable[[jax.Array, Data, int], Mixture]] = {
    "random_partition": random_partition,
    "random_lines": random_lines,
    "spread_lines": spread_lines,
    "sequential_robust": sequential_robust,
    "spectral": spectral,
    "tensor": tensor,
}
