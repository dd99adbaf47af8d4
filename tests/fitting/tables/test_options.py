"""Options of methods in the units of a table."""

import pytest

from jaxmlr.fitting.tables.options import in_units


def test_variances_and_densities_have_units():
    given = {"noise_variance": 8.0, "variance_floor": [4, 12], "screening": 3}
    assert in_units("fit", given, 2.0) == {"noise_variance": 2.0, "variance_floor": [1, 3], "screening": 3}
    assert in_units("em", {"outlier_density": 0.5}, 2.0) == {"outlier_density": 1.0}


@pytest.mark.parametrize("name", ["initial_coefficients", "initial_scale"])
def test_what_speaks_of_scaled_regressors_is_refused(name):
    with pytest.raises(ValueError, match=f"--option {name}: it speaks of the scaled regressors"):
        in_units("recursive_em", {name: 1.0}, 1.0)
