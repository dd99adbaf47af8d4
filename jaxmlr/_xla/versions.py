"""Refuse the jaxlib releases that are known to compute wrong numbers on CPU."""

from jaxlib import version as _jaxlib

WRONG = {"0.10.2": "small batched matrix-vector products are silently wrong (jax issue 39103)"}


def require_sound(version: str = _jaxlib.__version__) -> None:
    """Raise ImportError where `version` of jaxlib is known to be wrong on CPU."""
    if version in WRONG:
        raise ImportError(
            f"jaxlib {version} gives wrong results on CPU: {WRONG[version]};"
            " install another one: pip install 'jax>=0.9,!=0.10.2,!=0.11.1'"
        )


require_sound()
