"""Settings as they are written on the command line."""

import pytest

from jaxmlr.cli.settings import key_values


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("problem.p=0.7", "problem.p", 0.7),
        ('grid."problem.p"=[0.6, 0.7]', "grid.problem.p", [0.6, 0.7]),
        ("grid.'problem.p'=[0.6, 0.7]", "grid.problem.p", [0.6, 0.7]),
        ("estimators.'em, C = 3'.gain=newton", "estimators.em, C = 3.gain", "newton"),
        ("estimators.o'brien.gain='em'", "estimators.o'brien.gain", "em"),
        ("name=it's", "name", "it's"),
    ],
)
def test_keys_and_values_are_written_as_in_toml(setting, key, value):
    assert key_values("--set", [setting]) == {key: value}


@pytest.mark.parametrize("setting", ["problem.p", "=3", "''=3"])
def test_what_has_no_key_is_refused(setting):
    with pytest.raises(ValueError, match="--set must be key=value"):
        key_values("--set", [setting])
