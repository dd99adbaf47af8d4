"""All kinds of starts by name. Each draws one start from a key, so `vmap` over keys draws many."""

from collections.abc import Callable

from jaxmlr.batch.starts.lines import random_lines as random_lines
from jaxmlr.batch.starts.lines import random_partition as random_partition
from jaxmlr.batch.starts.lines import sequential_robust as sequential_robust
from jaxmlr.batch.starts.lines import spread_lines as spread_lines
from jaxmlr.batch.starts.moments import spectral as spectral
from jaxmlr.batch.starts.moments import tensor as tensor
from jaxmlr.mixture import Mixture

KINDS: dict[str, Callable[..., Mixture]] = {
    "random_partition": random_partition,
    "random_lines": random_lines,
    "spread_lines": spread_lines,
    "sequential_robust": sequential_robust,
    "spectral": spectral,
    "tensor": tensor,
}
