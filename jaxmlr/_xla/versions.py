"""Every quirk of a version of jax that this package works around, in one table, with when it may go.

Code asks `applies("name")` rather than for a version. When the least version that pyproject.toml allows is at
`until` of a quirk, delete its record and then what asks for it: nothing else knows of it.
"""

import os
from typing import NamedTuple

from jaxlib import version as _jaxlib

if _jaxlib.__version_info__ < (0, 12):  # the quirk "noisy_cache": the level is read when jax is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax

Version = tuple[int, ...]


class Quirk(NamedTuple):
    """One thing that some versions of jax do.

    Fields:
      what: they do, and what it costs.
      so: what is done about it, and where.
      since: the first version that does it; None: all before `until`.
      until: the first version that does not; None: none yet.
    """

    what: str
    so: str
    since: Version | None = None
    until: Version | None = None

    def within(self, version: Version) -> bool:
        """Whether a version has the quirk."""
        return (self.since or ()) <= version and (self.until is None or version < self.until)


QUIRKS = {
    "wrong_products": Quirk(
        "small batched matrix-vector products are silently wrong on CPU (jax issue 39103)",
        "refused at import by `require_sound`, and excluded in pyproject.toml",
        since=(0, 10, 2),
        until=(0, 10, 3),
    ),
    "quadratic_scans": Quirk(
        "a scan takes time quadratic in its length (jax issue 40101)",
        "excluded in pyproject.toml; right but slow where it is installed all the same",
        since=(0, 11, 1),
        until=(0, 11, 2),
    ),
    "kernel_for_every_array": Quirk(
        "a loop that carries over a kilobyte calls a kernel for every array of every step",
        "an option of XLA in `host.use_all_cores`, and larger chunks of trials in `study.compute.chunks`",
        until=(0, 11),
    ),
    "early_dropped_barriers": Quirk(
        "XLA drops optimization barriers before it fuses",
        "`materialise.stored` puts the barrier into a function that is not inlined",
        until=(0, 11),
    ),
    "blocks_found_anew": Quirk(
        "a loop over a block that is not copied first finds its place again for every number",
        "`batch.moments` copies the block",
        until=(0, 11),
    ),
    "noisy_cache": Quirk(
        "compiled programs are loaded with pages of false warnings about the processor",
        "this module silences the compiler's own log before jax is imported",
        until=(0, 12),
    ),
    "counted_carries": Quirk(
        "a scan's parameters count its constants and carries; later ones hold a tree, `ft_in`",
        "`lanes.dependence` reads both, whichever is there",
        until=(0, 12),
    ),
    "slow_llvm": Quirk(
        "LLVM's levels 2 and 3 take far longer to compile and gain nothing, on jax 0.10 most of all",
        "`jit.CPU_OPTIONS` asks for level 1",
    ),
    "slow_emitters": Quirk(
        "kernels go through MLIR one by one: twice the time to compile, and some faster on many rows",
        "`jit.QUICK_OPTIONS`, of programs that run once, and the fast tests ask for the emitters before",
        until=(0, 11, 1),  # later ones have no other emitters
    ),
    "narrow_vectors": Quirk(
        "XLA on CPU keeps to vectors of 256 bits where there are 512, at half the speed",
        "`jit.CPU_OPTIONS` asks for 512",
    ),
    "underived_custom_vmap": Quirk(
        "custom_vmap has no derivative where tangents alone are batched, nor where a leaf is None",
        "`jit.one_by_one` adds a derivative of its own",
    ),
}


def applies(name: str, version: Version = jax.__version_info__) -> bool:
    """Whether the version of jax in use has the quirk of a name."""
    return QUIRKS[name].within(version)


def require_sound(version: str = _jaxlib.__version__) -> None:
    """Raise ImportError where `version` of jaxlib computes wrong numbers on CPU."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if QUIRKS["wrong_products"].within(numbers):
        raise ImportError(
            f"jaxlib {version} gives wrong results on CPU: {QUIRKS['wrong_products'].what};"
            " install another one: pip install 'jax>=0.9,!=0.10.2,!=0.11.1'"
        )


require_sound()
