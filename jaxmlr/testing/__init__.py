"""The contract of a method, as a check: for the package's methods and for anyone's own.

    from jaxmlr.testing import check_method

    check_method(my_method)                     # a function that makes an Estimator
    check_method(my_method, step_size=0.05)     # with options of its own
    check_method(my_fit)                        # a function of phi and y that returns a Fit

It needs neither pytest nor data, takes some seconds, and raises an AssertionError that names the broken
promise and how to keep it.
"""

from typing import Any

from jaxmlr import registry
from jaxmlr.testing import batch, recursive
from jaxmlr.testing.promise import Broken

__all__ = ["check_method"]


def check_method(factory: Any, *, dim: int = 2, **options: Any) -> None:
    """Check that a method keeps what studies, tables, streams, `vmap` and `lanes` rely on.

    A recursive method, which is a function that returns an `Estimator`, promises:

      1. `init(dim, key=None, dtype=None)` makes a state of arrays whose floats have that dtype, float32 or
         float64, and JAX's default float where it is None; whether 64 bits are enabled or not.
      2. `step` keeps structure, shapes and dtypes of the state, also where phi and y have another dtype, and
         gives an `Info` of a () int32 label and a () residual.
      3. `mixture` gives a valid `Mixture`: coefficients (K, dim), weights of at least 0 that sum to 1,
         positive variances, all finite and of the state's dtype.
      4. Label and residual are those of the line nearest to y in the estimate BEFORE the update.
      5. All three are pure: equal arguments give equal results, and no argument is changed.
      6. No Python branch depends on values; a step is traced once; `lax.scan` equals the loop.
      7. `vmap` and `lanes` of trials equal the trials one by one.
      8. Degenerate data (zeros, one row repeated, other scales) leave everything finite.

    A batch method, which is a function of `phi` and `y` first, gets `components`, `key` and `start` where it
    has parameters of these names; of its `Fit` or `Mixture` promises 3, 5, 6 (no branch on values),
    7 (`vmap`) and 8 are checked.

    Args:
      factory: the function, or its name as `registry.find` takes it.
      dim: d, the number of regressors to try, at least 1.
      **options: keyword arguments of the method; `components` is 2 where it is left out.

    Raises:
      AssertionError: a promise is broken; the message says which and how to keep it.
      ValueError: `factory` is no function.
    """
    record = registry.find(factory, label="factory")
    if "components" in record.parameters:
        options = {"components": 2} | options
    try:
        if record.kind == "batch":
            batch.check(record, options, dim)
        else:
            recursive.check(record, options, dim)
    except Broken as broken:
        raise AssertionError(f"{record.name}: {broken}") from broken.__cause__
