"""Streams that are answered row by row: the same bits however they are cut, kept and resumed."""

import numpy as np
import pytest

from jaxmlr.fitting import methods
from jaxmlr.fitting.live import Live


def rows(n=60):
    rng = np.random.default_rng(0)
    phi = np.column_stack([np.ones(n), rng.normal(size=n)])
    return phi, np.where(rng.random(n) < 0.5, 1, -1) * phi[:, 1] + 0.1 * rng.normal(size=n)


def live(components=2, **about):
    return Live(
        methods.estimator("multistart_em", components, None), 2, 0, {"components": components} | about
    )


def test_the_answers_do_not_depend_on_how_the_rows_are_cut_or_on_a_stop(tmp_path):
    phi, y = rows()
    whole = live().update(phi, y)
    first = live()
    parts = [first.update(phi[:7], y[:7]), first.update(phi[7:30], y[7:30])]
    first.save(tmp_path / "state.npz")
    second = live()
    second.resume(tmp_path / "state.npz")
    assert second.rows == 30
    parts += [second.update(phi[i : i + 1], y[i : i + 1]) for i in range(30, 60)]
    for name in whole._fields:
        np.testing.assert_array_equal(
            np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)
        )


def test_a_row_with_a_gap_is_answered_and_not_learnt():
    phi, y = rows(20)
    plain, gaps = live(), live()
    plain.update(phi, y)
    y_with = np.insert(y, 5, np.nan)
    said = gaps.update(np.insert(phi, 5, phi[0], axis=0), y_with)
    assert said.label[5] == -1
    assert np.isnan(said.probability[5])
    assert np.isfinite(said.prediction[5])
    np.testing.assert_array_equal(gaps.update(phi, y).prediction, plain.update(phi, y).prediction)


def test_a_state_of_another_stream_or_no_state_is_refused(tmp_path):
    live().save(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="belongs to components 2, not 3"):
        live(3).resume(tmp_path / "state.npz")
    (tmp_path / "text").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ValueError, match="is not the state of a stream"):
        live().resume(tmp_path / "text")
