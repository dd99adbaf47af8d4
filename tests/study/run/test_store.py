"""Folders: interrupted runs go on, other people's folders are left alone, results open with xarray."""

import json
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
import pytest
import xarray as xr

from jaxmlr import two_step
from jaxmlr.study import load, run_block, run_study
from jaxmlr.study.run.published import published
from jaxmlr.study.run.store import Store


def files(folder):
    """Every file below a folder with its content and time."""
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def changed(study, **changes):
    return type(study)(**vars(study) | changes)


def equal_bits(a, b):
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


def saved(study, folder, *blocks):
    """A store in a new folder, with these blocks computed."""
    store = Store(study, folder)
    work = store.missing()
    for block in blocks:
        values = run_block(study, block)
        store.save(work[block], jax.tree.map(lambda x, n=work[block].trials: x[..., :n], values))
    return store


def ranges(units):
    return [(unit.first, unit.stop) for unit in units]


class Counting:
    """Computes at once, counts, and is interrupted before it computes more than `most` blocks."""

    def __init__(self, most=10**9):
        self.blocks, self.most = [], most

    def submit(self, function, study, block, *rest):
        future = Future()
        if len(self.blocks) == self.most:
            future.set_exception(KeyboardInterrupt())
        else:
            self.blocks.append(block)
            future.set_result(function(study, block, *rest))
        return future


@pytest.fixture(scope="module")
def finished(plain, plain_results, tmp_path_factory):
    """The folder of the plain study, complete."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    equal_bits(run_study(plain, folder, progress=False), plain_results)
    return folder


def test_a_folder_holds_a_manifest_the_study_a_file_a_block_and_the_results(finished, plain):
    assert sorted(p.name for p in finished.iterdir()) == [
        "blocks",
        "limits.npz",
        "manifest.json",
        "results.json",
        "results.zarr",
        "study.toml",
    ]
    spans = [p.name[:13] for p in sorted((finished / "blocks").iterdir())]
    assert spans == ["000000-000004", "000004-000008", "000008-000010"]
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["fingerprint"] == plain.fingerprint()
    assert manifest["study"] == plain.to_table()
    assert type(plain).from_toml(finished / "study.toml").fingerprint() == plain.fingerprint()


def test_results_open_with_xarray_alone(finished, plain_results):
    with xr.open_zarr(finished / "results.zarr") as opened:
        equal_bits(opened, plain_results)
        assert opened.attrs["name"] == "plain"
        assert opened["coefficient_error_mean"].attrs["statistic"] == "mean"
    equal_bits(load(finished), plain_results)


def test_a_finished_folder_is_read_and_not_computed(finished, plain, plain_results):
    before = {p: content for p, (content, _) in files(finished).items()}
    executor = Counting()
    equal_bits(run_study(plain, finished, executor=executor, progress=False), plain_results)
    assert executor.blocks == []
    assert {p: content for p, (content, _) in files(finished).items()} == before


@pytest.mark.parametrize("most", [0, 1, 2])
def test_an_interrupted_run_loses_no_finished_block(plain, plain_results, tmp_path, most):
    first = Counting(most)
    with pytest.raises(KeyboardInterrupt):
        run_study(plain, tmp_path, executor=first, progress=False)
    there = {int(p.name[:6]) for p in (tmp_path / "blocks").iterdir()}
    assert there <= {4 * block for block in first.blocks}
    assert not (tmp_path / "results.zarr").exists()
    second = Counting()
    equal_bits(run_study(plain, tmp_path, executor=second, progress=False), plain_results)
    assert len(second.blocks) == 3 - len(there)


def test_blocks_finished_before_an_interruption_are_on_disk(plain, tmp_path):
    """All blocks that were done when the interruption came, not only those that were fetched."""
    first = Counting(2)
    with pytest.raises(KeyboardInterrupt):
        run_study(plain, tmp_path, executor=first, progress=False)
    assert {p.name[:13] for p in (tmp_path / "blocks").iterdir()} == {"000000-000004", "000004-000008"}


def test_only_missing_blocks_are_computed(plain, plain_results, tmp_path):
    store = saved(plain, tmp_path)
    assert ranges(store.missing()) == [(0, 4), (4, 8), (8, 10)]
    store = saved(plain, tmp_path, 1)
    assert ranges(store.missing()) == [(0, 4), (8, 10)]
    executor = Counting()
    equal_bits(run_study(plain, tmp_path, executor=executor, progress=False), plain_results)
    assert executor.blocks == [0, 2]


def test_a_block_survives_its_file(plain, tmp_path):
    values, store = run_block(plain, 2), saved(plain, tmp_path, 2)
    (name,) = store.overlapping(8, 10)
    back = store.load(name)
    assert (back.first, back.stop) == (8, 10)
    for table, (method, parts) in zip(back.values.values(), store.parts.saved.items(), strict=True):
        assert [back.tables[k] for k in back.tables if back.values[k] is table] == [parts]
        for metric, array in values[method].items():
            np.testing.assert_array_equal(table[metric], array[..., :2])
            assert table[metric].dtype == array.dtype


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "swapped", "of another seed", "garbage"])
def test_a_damaged_block_is_named_and_computed_again(plain, plain_results, tmp_path, damage, capsys):
    saved(plain, tmp_path / "out", 0, 1)
    first, second = sorted((tmp_path / "out" / "blocks").iterdir())
    content = bytearray(second.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    if damage == "swapped":
        content = first.read_bytes()
    if damage == "of another seed":
        saved(changed(plain, seed=4), tmp_path / "other", 1)
        content = next((tmp_path / "other" / "blocks").iterdir()).read_bytes()
    part = {"empty": b"", "truncated": content[: len(content) // 2], "garbage": b"PK" * 99}
    second.write_bytes(part.get(damage, bytes(content)))
    assert ranges(Store(plain, tmp_path / "out").missing()) == [(4, 8), (8, 10)]
    assert f"{second} is damaged and is computed again" in capsys.readouterr().err
    equal_bits(run_study(plain, tmp_path / "out", progress=False), plain_results)


def test_one_folder_is_one_studys_from_the_first_moment(plain, tmp_path):
    Store(plain, tmp_path)
    before = files(tmp_path)
    with pytest.raises(ValueError, match=r"its seed is 3, this one's 4"):
        Store(changed(plain, seed=4), tmp_path)
    assert files(tmp_path) == before


def test_of_many_studies_that_begin_at_once_one_gets_the_folder(plain, tmp_path):
    def begin(seed):
        try:
            Store(changed(plain, seed=seed), tmp_path / "out")
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        refused = list(threads.map(begin, range(8)))
    (winner,) = [seed for seed, error in enumerate(refused) if error is None]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["study"]["seed"] == winner
    assert all(f"its seed is {winner}, this one's {k}" in e for k, e in enumerate(refused) if k != winner)


def test_a_method_that_nobody_can_find_again_is_not_saved(plain, tmp_path):
    with pytest.raises(ValueError, match=r"estimators\.mine\.method must be a function of a module"):
        Store(changed(plain, estimators={"mine": {"method": lambda: two_step()}}, grid={}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "holds another study: its seed is 3, this one's 4; choose another folder"),
        ({"steps": 51}, "its steps is 50, this one's 51"),
        ({"name": "other"}, "its name is 'plain', this one's 'other'"),
        ({"precision": "float64"}, "its precision is 'float32', this one's 'float64'"),
        (
            {"estimators": {"seed": {"method": "two_step", "gain": "newton", "bound": 2.0}}},
            r"its estimators\.seed\.bound is 3\.0, this one's 2\.0",
        ),
    ],
)
def test_the_folder_of_another_study_is_refused_and_unchanged(finished, plain, changes, message):
    before = files(finished)
    with pytest.raises(ValueError, match=message):
        run_study(changed(plain, **changes), finished, progress=False)
    assert files(finished) == before


@pytest.mark.parametrize("key", ["jax", "jaxlib", "device", "format"])
def test_the_folder_of_another_version_is_refused(plain, tmp_path, key):
    saved(plain, tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {key: "0.0"}))
    before = files(tmp_path)
    with pytest.raises(ValueError, match=f"its {key} is '0.0', this one's"):
        Store(plain, tmp_path)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [("thesis.tex", "is not empty and holds no study"), ("manifest.json", "manifest.json cannot be read")],
)
def test_a_folder_of_something_else_is_refused_and_unchanged(plain, tmp_path, name, message):
    (tmp_path / name).write_text("mine")
    before = files(tmp_path)
    with pytest.raises(ValueError, match=message):
        run_study(plain, tmp_path, progress=False)
    assert files(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_named(plain, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"file is not a folder"):
        run_study(plain, tmp_path / "file", progress=False)
    with pytest.raises(ValueError, match=r"below cannot be written: Not a directory"):
        run_study(plain, tmp_path / "file" / "below", progress=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_is_taken_and_parents_are_made(plain, tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(Store(plain, tmp_path / "empty").missing()) == 3
    assert len(Store(plain, tmp_path / "a" / "b").missing()) == 3
    assert published(tmp_path / "a" / "b") is None


def test_results_that_are_not_there_say_how_to_make_them(tmp_path):
    with pytest.raises(ValueError, match=r"holds no results; `jaxmlr run STUDY\.toml --out"):
        load(tmp_path)


def test_a_failing_block_is_an_error_and_nothing_is_published(plain, tmp_path, monkeypatch):
    def fail(study, block, *rest):
        raise RuntimeError("lost a worker")

    monkeypatch.setattr("jaxmlr.study.run.placement.run_block", fail)
    with ThreadPoolExecutor(1) as executor, pytest.raises(RuntimeError, match="lost a worker"):
        run_study(plain, tmp_path, executor=executor, progress=False)
    assert not (tmp_path / "results.zarr").exists()
