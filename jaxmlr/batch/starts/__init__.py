"""Starts of batch methods: each kind draws one start from a key, so `vmap` over keys draws many."""

from jaxmlr.batch.starts.candidates import Rows as Rows
from jaxmlr.batch.starts.kinds import KINDS as KINDS
from jaxmlr.batch.starts.lines import greedy as greedy
from jaxmlr.batch.starts.lines import random_lines as random_lines
from jaxmlr.batch.starts.lines import random_partition as random_partition
from jaxmlr.batch.starts.lines import sequential_robust as sequential_robust
from jaxmlr.batch.starts.lines import spread_lines as spread_lines
from jaxmlr.batch.starts.moments import spectral as spectral
from jaxmlr.batch.starts.moments import tensor as tensor
