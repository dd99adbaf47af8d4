"""`jaxmlr trial`: one trial of a study as a table and a picture."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from jaxmlr.cli.settings import Column, Picture, Width, inches_of, key_values
from jaxmlr.fitting.terminal import say


def trial(
    source: Annotated[
        Path, typer.Argument(metavar="DIR|STUDY.toml", help="Folder of a study's results, or its file.")
    ],
    number: Annotated[int, typer.Argument(metavar="TRIAL", help="Index of the trial, from 0.")],
    method: Annotated[
        list[str] | None, typer.Option(help="Estimator to follow, once for each; all by default.")
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=VALUE", help="The point of the grid: --select problem.p=0.6"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Table, .csv or .parquet, the picture beside; by default in DIR, or here."
        ),
    ] = None,
    picture: Picture = None,
    width: Width = None,
    column: Column = None,
) -> None:
    """Write the data and the estimates of one trial, and draw q, coefficients and labels over n.

    The table has a row for every observation: n, phi_1 ..., y, label, and for every method METHOD the
    coefficients METHOD.beta_1_1 ... (component, regressor), the weights METHOD.weight_1 ..., and
    METHOD.label, the label given before the observation was used. A batch method has values at the steps
    that it is fitted to. A missing response has no y; coefficients that drift are truth.beta_1_1 ...
    """
    from jaxmlr.study import Study

    declared = source / "study.toml" if source.is_dir() else source
    if not declared.is_file():
        folder = source if source.is_dir() else "DIR"
        raise ValueError(f"{source} holds no study; `jaxmlr run STUDY.toml --out {folder}` makes one")
    study, point = Study.from_toml(declared), key_values("--select", select)
    path = out or (source if source.is_dir() else Path()) / f"trial-{number}.csv"
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"FILE must end in .csv or .parquet, not {path}")
    file, inches = picture or path.with_suffix(".png"), inches_of(picture, width, column)
    names = method or list(study.estimators)
    owned = {f"{root}." for root in ("problem", *(f"estimators.{name}" for name in names))}
    phi, y, label = study.data(number, **{k: v for k, v in point.items() if k.startswith("problem.")})
    table: dict[str, Any] = {"n": np.arange(1, study.steps + 1)}
    table |= {f"phi_{j + 1}": phi[:, j] for j in range(phi.shape[1])} | {"y": y, "label": label + 1}
    paths = {}
    for name in names:
        own = {k: v for k, v in point.items() if k.startswith(("problem.", f"estimators.{name}."))}
        paths[name] = study.trajectory(number, name, **own)
        table |= _columns(name, paths[name], study.steps)
    if study.problem.drift is not None:
        longest = max(paths.values(), key=lambda path: len(path.step))
        table |= _full(
            _entries("truth.beta", np.asarray(longest.truth.coefficients)), longest.step, study.steps
        )
    unknown = [key for key in point if not key.startswith(tuple(owned))]
    if unknown:
        raise ValueError(f"--select: {unknown[0]!r} is no axis of the problem or of {', '.join(names)}")
    try:
        import pandas as pd

        from jaxmlr.cli import trial_picture
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; pip install 'jaxmlr[plot,export]'") from error
    frame = pd.DataFrame(table)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)
    say(str(path))
    say(str(trial_picture.save(study, number, paths, np.asarray(label), file, inches)))


def _columns(name: str, path: Any, steps: int) -> dict[str, np.ndarray]:
    """The columns of one method, NaN and 0 at steps without an estimate."""
    weights = path.mixture.weights
    columns = _entries(f"{name}.beta", path.mixture.coefficients)
    columns |= {f"{name}.weight_{k + 1}": weights[:, k] for k in range(weights.shape[1])}
    full = _full(columns, path.step, steps)
    if path.info is not None:
        full[f"{name}.label"] = path.info.label + 1
    return full


def _entries(name: str, lines: np.ndarray) -> dict[str, np.ndarray]:
    """The coefficients (m, K, d) as columns (m,)."""
    _, components, dim = lines.shape
    return {f"{name}_{k + 1}_{j + 1}": lines[:, k, j] for k in range(components) for j in range(dim)}


def _full(columns: dict[str, np.ndarray], at: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Columns of the steps `at` as columns of all steps, NaN elsewhere."""
    full = {key: np.full(steps, np.nan) for key in columns}
    for key, values in columns.items():
        full[key][at - 1] = values
    return full
