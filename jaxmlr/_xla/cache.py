"""Compiled programs kept between commands, in the user's cache folder."""

import jax
import platformdirs


def keep() -> None:
    """A program is compiled once for studies and tables of one shape, and found again by later commands."""
    jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("jaxmlr"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
