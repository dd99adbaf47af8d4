"""Every test runs in double precision, without implicit promotion of ranks or dtypes, on two devices."""

from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 2)

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles"


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of independent answers; tests that need it are skipped where it is absent."""
    if not ORACLES.is_dir():
        pytest.skip(f"no reference answers in {ORACLES}")
    return ORACLES
