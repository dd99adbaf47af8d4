"""Methods by name on rows, and one's own by "package.module:function"; what is said where it cannot be."""

import numpy as np
import pytest

from jaxmlr import registry, river
from jaxmlr.fitting import methods
from jaxmlr.sklearn import MixtureOfLinearRegressions

OWN = """
import jaxmlr
from jaxmlr import Mixture, em, fit, least_squares, recursive_em, two_step


def lines(components, forgetting=1.0):
    return recursive_em(components, learn_variance=True, forgetting=forgetting)


def pair(bound=1.0):
    return two_step(0.04, bound=bound)


def one():
    return least_squares(form="information")


def started(phi, y, start, row_weights=None):
    return em(phi, y, start, row_weights=row_weights)


def plain(phi, y, components, key):
    return fit(phi, y, components, key, starts={"spread_lines": 4}, finalists=2)


def number():
    return 3


def mixture(phi, y):
    return Mixture(phi[:1], phi[:1, 0], phi[0, 0])


def needy(something):
    return least_squares()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A module `own_methods` that can be imported."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_methods.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "own_methods"


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    y = np.where(rng.random(200) < 0.6, 1 + 2 * x[:, 0], -1 - x[:, 0]) + 0.2 * rng.normal(size=200)
    return x, y


@pytest.mark.parametrize(
    ("function", "registered", "components"),
    [("lines", "recursive_em", 2), ("lines", "recursive_em", 3), ("one", "least_squares", 1)],
)
def test_a_recursive_method_by_its_path_is_that_method(own, rows, function, registered, components):
    x, y = rows
    path = f"{own}:{function}"
    theirs = MixtureOfLinearRegressions(components, method=registered, random_state=0).fit(x, y)
    ours = MixtureOfLinearRegressions(components, method=path, random_state=0).fit(x, y)
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    ours.partial_fit(x, y)  # a recursive method has it
    one_by_one = [river.MixtureOfLinearRegressions(components, method=m) for m in (path, registered)]
    for model in one_by_one:
        for value, answer in zip(x[:5, 0], y[:5], strict=True):
            model.learn_one({"x": value}, answer)
    assert one_by_one[0].predict_one({"x": 1.0}) == one_by_one[1].predict_one({"x": 1.0})


def test_a_batch_method_by_its_path_gets_what_it_asks_for(own, rows):
    x, y = rows
    for function, registered in (("started", "em"), ("plain", "em")):
        ours = MixtureOfLinearRegressions(method=f"{own}:{function}", random_state=0).fit(x, y)
        theirs = MixtureOfLinearRegressions(method=registered, random_state=0).fit(x, y)
        np.testing.assert_allclose(np.sort(ours.weights_), np.sort(theirs.weights_), rtol=1e-5)
        assert not hasattr(ours, "partial_fit")
    weight = np.arange(200) % 3
    MixtureOfLinearRegressions(method=f"{own}:started", random_state=0).fit(x, y, sample_weight=weight)
    with pytest.raises(ValueError, match="own_methods:plain' takes no row_weights"):
        MixtureOfLinearRegressions(method=f"{own}:plain").fit(x, y, sample_weight=weight)


@pytest.mark.parametrize("function", ["lines", "pair", "started"])
def test_the_command_line_takes_a_path(call, own, rows, tmp_path, function):
    table = tmp_path / "rows.csv"
    np.savetxt(table, np.column_stack(rows), delimiter=",", header="x,y", comments="")
    status, printed, errors = call("fit", table, "--response", "y", "--method", f"{own}:{function}")
    assert (status, errors) == (0, "")
    assert "200 rows used" in printed


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("own_methods:nothing", "--method: cannot import 'own_methods:nothing': module 'own_methods' has no"),
        ("no_such_module:f", "--method: cannot import 'no_such_module:f': No module named"),
        (
            "own_methods:Mixture",
            "needs coefficients and weights and noise_variance, which a table does not give",
        ),
        ("own_methods:needy", "needs something, which a table does not give"),
        ("own_methods:number", "method 'own_methods:number' returns 3, which is no Estimator"),
        ("own_methods:mixture", "method 'own_methods:mixture' returns a Mixture, which is no Fit"),
        ("own_methods:one", "method 'own_methods:one' has 1 component, not 2"),
        ("own_methods:__name__", "--method: 'own_methods:__name__' is not a function"),
        ("oracle", "--method: 'oracle' needs mixture, which a table does not give"),
        ("two_stepp", "--method: unknown name 'two_stepp'; did you mean 'two_step'?"),
    ],
)
def test_what_is_wrong_with_a_method_is_one_line(call, own, rows, tmp_path, method, message):
    table = tmp_path / "rows.csv"
    np.savetxt(table, np.column_stack(rows), delimiter=",", header="x,y", comments="")
    status, printed, errors = call("fit", table, "--response", "y", "--method", method)
    assert (status, printed) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1


def test_equal_arguments_give_the_same_object_whatever_they_hold():
    def estimator(coefficients, forgetting):
        options = {"initial_coefficients": coefficients, "forgetting": forgetting}
        return methods.estimator("recursive_em", 2, options)

    start = [[1.0, 0.5], [-0.5, 0.2]]
    assert (
        estimator(start, 1.0) is estimator(np.array(start), 1.0) is estimator([[1.0, 0.5], [-0.5, 0.2]], 1.0)
    )
    assert estimator(start, 1.0) is not estimator(start, 0.9)
    assert estimator(start, 1.0) is not estimator([[1.0, 0.5], [-0.5, 0.3]], 1.0)


@pytest.mark.parametrize(
    ("method", "components", "options", "message"),
    [
        (
            "recursive_em",
            2,
            {"gian": "em"},
            "method 'recursive_em' has no option 'gian'; it has components, noi",
        ),
        ("recursive_em", 2, {"gain": "sgd"}, "gain must be one of"),
        ("online_em", 2, None, "method 'online_em' needs start, given as an option"),
        ("fit", 2, None, "'fit' is a batch method, not a recursive one"),
        ("least_squares", 2, None, "method 'least_squares' has 1 component, not 2"),
        ("recursive_em", 1.5, None, "components must be a whole number of at least 1, not 1.5"),
    ],
)
def test_a_bad_method_component_or_option_is_said(method, components, options, message):
    with pytest.raises(ValueError, match=message):
        methods.estimator(method, components, options)


def test_every_method_that_needs_rows_only_is_offered():
    assert set(registry.METHODS) - set(methods.METHODS) == {"oracle", "online_em", "online_gradient"}
