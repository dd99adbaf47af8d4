"""Compiled programs kept between commands, in the user's cache folder."""

import jax
import platformdirs

from jaxmlr._xla.versions import applies


def keep() -> None:
    """A program is compiled once for studies and tables of one shape, and found again by later commands.

    Does nothing where jax is older than 0.12.
    """
    if not applies("noisy_cache"):
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("jaxmlr"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
