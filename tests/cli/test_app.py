"""The command line: what it prints, and that bad input is one line, status 2 and no change on disk."""

import builtins
import json
import math
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import jaxmlr
from jaxmlr.study import Study, load, run_block, run_study
from jaxmlr.study.run.blocks import Interrupted
from jaxmlr.study.run.store import Store

ROOT = Path(__file__).resolve().parents[2]
TINY = """
name = "tiny"
seed = 3
trials = 6
block = 3
steps = 20
record = [1, 20]
metrics = ["coefficient_error", "misclassification"]
[problem]
process = { kind = "decaying_ar" }
coefficients = [1.0, -1.5]
p = 0.7
[estimators.seed]
method = "two_step"
"""


def test_nothing_asked_for_is_answered_with_the_help(call):
    status, output, errors = call()
    assert (status, errors) == (2, "")
    assert "jaxmlr" in output
    assert "Monte Carlo studies" in output


def test_the_version_is_printed(call):
    assert call("--version") == (0, f"jaxmlr {jaxmlr.__version__}\n", "")


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def folder(study_file):
    """The tiny study, finished."""
    out = study_file.parent / "out"
    run_study(Study.from_toml(study_file), out, progress=False)
    return out


def tree(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# ---- what works --------------------------------------------------------------------------------------


def test_run_prints_a_table_and_where_the_results_are(call, study_file, tmp_path, folder):
    status, out, err = call("run", study_file, "--out", tmp_path / "out")
    assert status == 0
    assert "tiny: n = 20, 6 trials" in out
    assert "coefficient error" in out
    assert "trial-steps/s" in out
    assert "results.zarr" in out.replace("\n", "")
    assert "6 of 6 trials" in err
    new, old = load(tmp_path / "out"), load(folder)
    for name in old.variables:
        np.testing.assert_array_equal(new[name].values, old[name].values, err_msg=name)


def test_run_again_on_the_finished_folder_changes_nothing(call, study_file, folder):
    before = tree(folder)
    status, out, err = call("run", study_file, "--out", folder, "--quiet")
    assert (status, out, err) == (0, "", "")
    assert tree(folder) == before


def test_show_prints_the_last_step_with_its_standard_error(call, folder):
    status, out, err = call("show", folder)
    assert (status, err) == (0, "")
    last = load(folder).isel(estimator=0, step=-1)
    row = next(line for line in out.splitlines() if "seed" in line)
    value, error = row.split("│")[2].split(" ± ")
    np.testing.assert_allclose(float(value), last["coefficient_error_mean"], atol=float(error) / 10)
    np.testing.assert_allclose(float(error), last["coefficient_error_se"], rtol=0.1)


def test_plot_writes_two_pictures_and_prints_their_names(call, folder):
    pytest.importorskip("matplotlib")
    status, out, err = call("plot", folder, "--metric", "coefficient_error")
    assert (status, err) == (0, "")
    names = [Path(line).name for line in out.split()]
    assert names == ["tiny-curves-coefficient_error.png", "tiny-curves-coefficient_error.svg"]
    assert all(Path(line).stat().st_size > 1000 for line in out.split())
    for line in out.split():
        Path(line).unlink()


def test_a_plot_for_a_column_of_a_paper(call, folder, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = call("plot", folder, "--column", "single", "--out", tmp_path / "figure.pdf")
    assert (status, out.split(), err) == (0, [str(tmp_path / "figure.pdf")], "")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    refused(*call("plot", folder, "--format", "bmp"), "format must be one of")


def test_settings_and_trials_replace_values_of_the_file(call, study_file, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "jaxmlr.study.run_study",
        lambda study, out, share, progress: seen.append((study, out, share, progress)),
    )
    settings = ["problem.p=0.8", "name=other", "estimators.seed.bound=inf", "record=[2, 20]"]
    options = [word for setting in settings for word in ("--set", setting)]
    status, _, err = call("run", study_file, "--out", tmp_path, "--trials", 4, "--quiet", *options)
    assert (status, err) == (0, "")
    ((study, out, share, progress),) = seen
    assert (study.problem.p, study.name, study.trials) == (0.8, "other", 4)
    assert study.estimators["seed"]["bound"] == math.inf
    assert study.recorded.tolist() == [2, 20]
    assert (out, share, progress) == (tmp_path, None, False)


def test_an_interruption_says_how_to_go_on(call, study_file, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise Interrupted("3 blocks are left", signal.SIGINT)

    monkeypatch.setattr("jaxmlr.study.run_study", interrupted)
    status, _, err = call("run", study_file, "--out", tmp_path)
    assert status == 130
    assert "run again to go on" in err


@pytest.mark.slow
def test_a_real_process_gives_the_same_bits(study_file, folder, tmp_path):
    """Its number of devices is that of the machine, and x64 is off in it."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "jaxmlr",
            "run",
            study_file,
            "--out",
            tmp_path / "out",
            "--quiet",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    new, old = load(tmp_path / "out"), load(folder)
    for name in old.variables:
        np.testing.assert_array_equal(new[name].values, old[name].values, err_msg=name)


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(call, study_file, tmp_path):
    axis = "grid={'problem.p'=[0.6, 0.8]}"
    status, out, err = call("run", study_file, "--out", tmp_path / "out", "--dry-run", "--set", axis)
    assert (status, err) == (0, "")
    assert "grid        2 points: problem.p (2)" in out
    assert "seed: computed at 2 points" in out
    assert "blocks      2 of 3 trials" in out
    assert "programs    1 a device, compiled in" in out
    assert "memory      about" in out
    assert "disk        at most 0.1 MiB" in out
    assert "nothing of this" in out
    assert re.search(r"time        about [\d.]+ s, [\d.]+ s of it compilation", out)
    assert list(tmp_path.iterdir()) == []


def test_a_probed_block_is_kept_by_the_next_run(call, study_file, tmp_path, monkeypatch):
    sizes = iter([2, 4])
    monkeypatch.setattr("jaxmlr.study.compute.probe.block_size", lambda study: next(sizes))
    for _ in range(2):
        status, _, err = call("run", study_file, "--out", tmp_path / "out", "--block", "probe", "--quiet")
        assert (status, err) == (0, "")
    assert load(tmp_path / "out").attrs["block"] == 2
    assert next(sizes) == 4
    refused(*call("run", study_file, "--out", tmp_path / "new", "--block", "many"), "block must be")


def test_export_writes_netcdf_and_tidy_tables(call, folder, tmp_path):
    pytest.importorskip("h5netcdf")
    results = load(folder)
    for suffix in (".nc", ".csv", ".parquet"):
        status, out, err = call("export", folder, tmp_path / f"results{suffix}")
        assert (status, err) == (0, "")
        assert out.strip() == str(tmp_path / f"results{suffix}")
    with xr.open_dataset(tmp_path / "results.nc") as opened:
        for name in results.variables:
            np.testing.assert_array_equal(opened[name].values, results[name].values)
        assert opened.attrs["fingerprint"] == results.attrs["fingerprint"]
    for table in (pd.read_csv(tmp_path / "results.csv"), pd.read_parquet(tmp_path / "results.parquet")):
        row = table[(table["metric"] == "misclassification") & (table["step"] == 20)]
        assert row["mean"].item() == pytest.approx(
            float(results["misclassification_mean"].isel(estimator=0, step=-1))
        )
    refused(*call("export", folder, tmp_path / "results.xls"), "must end in .nc, .csv or .parquet")


def test_an_unfinished_folder_shows_the_trials_so_far(call, study_file, tmp_path):
    study = Study.from_toml(study_file, {"block": 4})
    store = Store(study, tmp_path)
    refused(*call("show", tmp_path), "holds no results yet: 0 blocks are there")
    store.save(store.missing()[0], run_block(study, 0))
    status, out, err = call("show", tmp_path)
    assert status == 0
    assert "4 trials" in out
    assert err == f"{tmp_path}: not finished, 4 of 6 trials so far\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_says_how_much_is_left(call, study_file, tmp_path, number):
    """A real signal, at the first block that is saved."""
    real, interrupted = Store.save, []

    def interrupting(self, unit, values):
        real(self, unit, values)
        if not interrupted:
            interrupted.append(unit)
            signal.raise_signal(number)

    before = signal.signal(number, signal.SIG_DFL)  # a process started by nohup ignores some
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "save", interrupting)
            status, _, err = call("run", study_file, "--out", tmp_path, "--set", "block=1", "--quiet")
    finally:
        signal.signal(number, before)
    assert status == 128 + number
    assert "blocks of this run are left; run again to go on" in err
    status, _, _ = call("run", study_file, "--out", tmp_path, "--set", "block=1", "--quiet")
    assert status == 0
    assert load(tmp_path).attrs["trials"] == 6


# ---- what does not -----------------------------------------------------------------------------------


def refused(status, out, err, message):
    """Status 2 and one line that says what is wrong."""
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("jaxmlr: ")
    assert message in err
    assert "Traceback" not in err


BAD_SETTINGS = [
    ("problem.coefficients=[[1.0, 2.0]]", "coefficients"),
    ("problem.coefficients=[1.0, nan]", "problem.coefficients must be finite"),
    ("problem.coefficients=words", "problem.coefficients must be numbers"),
    ("problem.noise_variance=-1.0", "problem.noise_variance must be greater than 0"),
    ("problem.noise_variance=nan", "problem.noise_variance must be"),
    ("problem.p=0", "problem.p must be greater than 0"),
    ("problem.p=1.5", "less than 1"),
    ("problem.process.mean=1.0", "problem.process: unknown name 'mean'"),
    ("problem.process.kind=gausian", "did you mean 'gaussian'"),
    ("estimators.seed.gian=em", "did you mean 'gain'"),
    ("estimators.sead.gain=em", "did you mean 'seed'"),
    ("trails=3", "did you mean 'trials'"),
    ("trials=many", "trials must be a whole number"),
    ("metrics=3", "metrics must be a list of names"),
    ("precision=float16", "precision must be one of"),
    ("nothing", "--set must be key=value, not 'nothing'"),
    ("=3", "--set must be key=value"),
]


@pytest.mark.parametrize(("setting", "message"), BAD_SETTINGS)
def test_a_bad_setting_is_one_line_and_nothing_is_written(call, study_file, tmp_path, setting, message):
    refused(*call("run", study_file, "--out", tmp_path / "out", "--set", setting), message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name = ", "is not TOML"),
        (TINY.replace("trials", "trails"), "did you mean 'trials'"),
        (TINY.replace("[problem]", "[problm]"), "did you mean 'problem'"),
        (TINY.replace("p = 0.7", ""), "coefficients (d,) with p"),
        (TINY.replace("steps = 20", ""), "steps is missing"),
    ],
)
def test_a_bad_file_is_one_line_and_nothing_is_written(call, tmp_path, content, message):
    file = tmp_path / "bad.toml"
    file.write_text(content)
    refused(*call("run", file, "--out", tmp_path / "out"), message)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_not_there_is_named(call, tmp_path):
    refused(*call("run", tmp_path / "none.toml", "--out", tmp_path / "out"), "none.toml: No such file")
    refused(*call("show", tmp_path / "none"), "holds no results")
    refused(*call("plot", tmp_path / "none"), "holds no results")


def test_the_folder_of_another_study_is_left_alone(call, study_file, folder):
    before = tree(folder)
    refused(*call("run", study_file, "--out", folder, "--set", "seed=4"), "its seed is 3, this one's 4")
    refused(*call("run", study_file, "--out", folder, "--set", "steps=21"), "its steps is 20, this one's 21")
    assert tree(folder) == before


def test_a_folder_that_cannot_be_written_is_named(call, study_file, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(*call("run", study_file, "--out", tmp_path / "file"), "is not a folder")
    refused(*call("run", study_file, "--out", tmp_path / "file" / "x"), "cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unknown_metric_of_a_plot_is_named(call, folder):
    pytest.importorskip("matplotlib")
    before = tree(folder)
    refused(*call("plot", folder, "--metric", "scale"), "no metric 'scale'; they have coefficient_error")
    assert tree(folder) == before


def test_a_selection_that_is_no_axis_is_named(call, folder):
    pytest.importorskip("matplotlib")
    refused(*call("plot", folder, "--select", "problem.q=0.6"), "unknown axis 'problem.q'")
    refused(*call("plot", folder, "--select", "nothing"), "--select must be key=value, not 'nothing'")


@pytest.mark.parametrize("args", [["nothing"], ["run"], ["bench", "--dim", "0"], ["show"], ["run", "--bad"]])
def test_a_wrong_command_is_a_usage_error(call, args):
    status, out, err = call(*args)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert err.startswith("jaxmlr: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("module", "extra"), [("typer", "study"), ("matplotlib", "plot")])
def test_a_missing_extra_is_named(call, folder, monkeypatch, module, extra):
    """As if the extra had not been installed: its first import fails."""
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real(name, *args, **kwargs)

    loaded = {"plot": "jaxmlr.study.results.pictures", "study": "jaxmlr.cli.app"}[extra]
    monkeypatch.delitem(sys.modules, loaded, raising=False)
    package, _, name = loaded.rpartition(".")
    monkeypatch.delattr(sys.modules[package], name, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    refused(*call("plot", folder), f"pip install 'jaxmlr[{extra}]'")


def test_the_study_extra_is_not_needed_for_the_library():
    """jaxmlr itself, without the packages of any extra."""
    script = """
import sys
for name in ("typer", "rich", "xarray", "zarr", "tomli_w", "matplotlib"):
    sys.modules[name] = None
import jaxmlr
assert jaxmlr.two_step(1.0).init(2).direction.shape == (2,)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, check=True)


def test_bench_prints_one_json_object(call, monkeypatch):
    figures = {"trial_steps_per_second": 12345, "mean_squared_error": 0.5}
    asked = []
    monkeypatch.setattr("jaxmlr.cli.bench.bench", lambda *args: asked.append(args) or figures)
    status, out, err = call("bench", "--dim", 2, "--trials", 8, "--steps", 5, "--block", 4, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == figures
    status, out, _ = call("bench")
    assert "12,345" in out
    assert asked == [(2, 8, 5, 4), (3, 8192, 10_000, None)]
