"""All methods on the same data: error against n and against seconds, relative to the Cramer-Rao bound.

    python experiments/methods.py [--out results/methods] [--figure experiments/methods.png]

Times every method on one data set of n = 10,000 (compiled, least of a second of calls), runs methods.toml,
methods_iid.toml and methods_k3.toml, and draws and prints what came out. Both are kept in `--out`: again, it
goes on where it stopped. Errors are root mean squares over trials divided by the bound with p and sigma
known.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

from jaxmlr import run, simulate
from jaxmlr.fitting import style
from jaxmlr.registry import COLOURS
from jaxmlr.study import Study, run_study
from jaxmlr.study.results.curves import methods_of

HERE = Path(__file__).parent
STUDIES = {"methods": "eq. (17)", "methods_iid": "normal regressors", "methods_k3": "K = 3, d = 3"}
AT = 10_000


def seconds(study: Study, name: str) -> float:
    """The least time of a compiled call on the first trial's data; other work on the machine adds to it."""
    truth = study.problem.mixture(study.precision)
    phi, y, _ = simulate(jax.random.key(study.seed), truth, study.problem.regressors(), AT)
    key = jax.random.key(0)
    if name in study.batch:
        call = jax.jit(study.make_batch(name).fit)
    else:
        method = study.make(name)
        call = jax.jit(lambda phi, y, key: method.mixture(run(method, phi, y, key)[0]))
    jax.block_until_ready(call(phi, y, key))
    times: list[float] = []
    while len(times) < 5 or sum(times) < 1:
        began = time.perf_counter()
        jax.block_until_ready(call(phi, y, key))
        times.append(time.perf_counter() - began)
    return min(times)


def timed(study: Study, path: Path) -> dict[str, float]:
    """The seconds of every method, each measured once and kept at the path."""
    known = json.loads(path.read_text()) if path.exists() else {}
    times = {name: known[name] if name in known else seconds(study, name) for name in study.estimators}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(times))
    return times


def relative(results: xr.Dataset) -> xr.DataArray:
    """Root mean squared error over the bound; 1 is the limit of unbiased methods."""
    return results["coefficient_error_rms"] / results["coefficient_error_theory"]


def figure(results: dict[str, xr.Dataset], times: dict[str, dict[str, float]], path: Path) -> None:
    """Upper row: error against n; lower row: error at n = 10,000 against seconds, batch methods filled."""
    p = 0.6
    plt.rcParams.update(style.settings(10))
    drawn, panels = plt.subplots(2, 3, figsize=(10, 6.5), layout="constrained")
    looks = style.line_styles(
        {k: v for data in results.values() for k, v in methods_of(data).items()}, COLOURS
    )
    for column, (study, data) in enumerate(results.items()):
        at = data.sel({"problem.p": p}) if "problem.p" in data.dims else data
        ratio = relative(at)
        upper, lower = panels[:, column]
        curves: dict[str, np.ndarray] = {}
        for name in at["estimator"].values.tolist():
            batch = name not in Study.from_toml(HERE / f"{study}.toml").recursive
            mine = ratio.sel(estimator=name).dropna("step")
            curves[name] = ratio.sel(estimator=name).values
            look = {"color": looks[name].color, "marker": looks[name].marker, "markersize": 5}
            upper.plot(mine["step"], mine, label=name, linestyle=":" if batch else "-", **look)
            lower.plot(times[study][name], mine[-1], **look, fillstyle="full" if batch else "none")
        title = STUDIES[study].replace("K =", "$K$ =").replace("d =", "$d$ =")
        title += f", $p$ = {p}" if "problem.p" in data.dims else ""
        upper.set(xscale="log", yscale="log", title=title, xlabel="observations $n$")
        lower.set(xscale="log", yscale="log", xlabel=f"seconds for one data set of $n$ = {AT:,}")
        for panel in (upper, lower):
            panel.axhline(1, color="black", linewidth=0.8)
        style.note(upper, style.coinciding(curves, tolerance=0.03), (2.4, 2.2))
    for panel in panels[:, 0]:
        panel.set_ylabel("rms error / Cramér-Rao bound")
    handles = {}
    for panel in panels[0]:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    style.legend(drawn, list(handles.values()), list(handles))
    style.save(drawn, [path])


def table(results: dict[str, xr.Dataset], times: dict[str, dict[str, float]]) -> str:
    """Markdown: a row for every method, a column for every problem, and milliseconds."""
    columns = []
    for study, data in results.items():
        points = [{"problem.p": p} for p in data["problem.p"].values] if "problem.p" in data.dims else [{}]
        for point in points:
            label = STUDIES[study] + "".join(f", p = {value:g}" for value in point.values())
            columns.append((label, relative(data.sel(point)).sel(step=AT)))
    names = dict.fromkeys(name for data in results.values() for name in data["estimator"].values.tolist())
    lines = ["| method | " + " | ".join(label for label, _ in columns) + " | ms |"]
    lines.append("|---|" + "---|" * (len(columns) + 1))
    for name in names:
        cells = [
            f"{float(c.sel(estimator=name)):.3g}" if name in c["estimator"].values else "" for _, c in columns
        ]
        spent = next(t[name] for t in times.values() if name in t)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {1e3 * spent:.3g} |")
    return "\n".join(lines)


def main() -> None:
    """Run, time, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/methods"))
    parser.add_argument("--figure", type=Path, default=HERE / "methods.png")
    options = parser.parse_args()
    results, times = {}, {}
    for name in STUDIES:
        study = Study.from_toml(HERE / f"{name}.toml")
        times[name] = timed(study, options.out / f"{name}.json")
        results[name] = run_study(study, options.out / name)
    figure(results, times, options.figure)
    print(table(results, times))


if __name__ == "__main__":
    main()
