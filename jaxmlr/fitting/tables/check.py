"""Whether rows can carry what is asked of them, before anything is fitted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxmlr.batch import families
from jaxmlr.fitting.scaling import Units
from jaxmlr.fitting.tables.design import Design, TableRows

COLLINEAR = 1e-12  # of a centred column's length outside of the columns before it


def check(design: Design, rows: TableRows, components: int, *, collinear: bool = False) -> None:
    """Raise ValueError where no method could fit `components` lines to these rows.

    Fewer rows than parameters, a constant response, or regressors or concomitants that are collinear, unless
    that is said to be bearable.
    """
    n, d = rows.phi.shape
    if n <= d:
        raise ValueError(f"{n} rows are too few for a line with {d} coefficients")
    parameters = parameters_of(design, components)
    if n <= parameters:
        raise ValueError(
            f"{components} components of {d} coefficients have {parameters} parameters; {n} rows are too few"
        )
    if np.ptp(rows.y) == 0:
        raise ValueError(f"the response {design.response!r} is constant: {rows.y[0]:g} in all {n} rows")
    named = {"": (design.names, design.intercept, rows.phi)}
    if design.gate is not None and rows.concomitant is not None:
        named["concomitants: "] = (design.gate.names, design.gate.intercept, rows.concomitant)
        check_groups(design, rows)
    for what, (names, intercept, columns) in named.items() if not collinear else ():
        units = Units.of(columns, rows.y, intercept)
        if message := collinear_columns(names, units, columns):
            raise ValueError(what + message)


def law_of(design: Design, rows: TableRows, options: Mapping[str, Any]) -> families.Law | None:
    """The law of the responses by the options of a method; None where they are normal.

    Raises:
      ValueError: no such family, or responses that it does not have.
    """
    family, degrees = options.get("family", "normal"), options.get("degrees")
    law = families.law(family, families.facts(family, degrees).get("degrees"))
    if law is None:
        return None
    if rows.offset.any() and law.newton:
        raise ValueError(f"--family {family} and an offset cannot be combined")
    wrong = np.flatnonzero(~law.holds(rows.y))
    if len(wrong):
        raise ValueError(
            f"--family {family}: {design.response!r} must be {law.wanted}; row {rows.rows[wrong[0]]} has"
            f" {rows.y[wrong[0]]:g}"
        )
    return law


def parameters_of(design: Design, components: int) -> int:
    """How many are estimated: coefficients, K variances, and K - 1 weights or (K - 1) m of a gate."""
    common = len(design.common) * (components - 1)
    gates = 1 if design.gate is None else len(design.gate.names)
    return components * (len(design.names) + 1) + (components - 1) * gates - common


def too_few(design: Design, rows: TableRows, components: int, exact: bool = False) -> str:
    """What the rows have too few of for so many components, or "".

    Nothing is left for a second one where a single line is `exact`: passes through all rows.
    """
    if exact and components > 1:
        return "a single line passes through all rows; is the response among the regressors?"
    groups = components if rows.groups is None else int(rows.groups.max()) + 1
    if groups < components:
        return f"{groups} groups by column {design.group!r} are too few"
    if len(design.labels) > components:
        names = ", ".join(design.labels[:8]) + (", ..." if len(design.labels) > 8 else "")
        return f"the known labels name {len(design.labels)} components: {names}"
    return f"{len(rows.y)} rows are too few" if len(rows.y) <= parameters_of(design, components) else ""


def check_groups(design: Design, rows: TableRows) -> None:
    """Raise ValueError where a concomitant varies within a group."""
    if rows.groups is None or rows.concomitant is None or design.gate is None:
        return
    first = np.unique(rows.groups, return_index=True)[1]
    apart = rows.concomitant != rows.concomitant[first][rows.groups]
    if apart.any():
        i, j = np.argwhere(apart)[0]
        raise ValueError(
            f"rows {rows.rows[first[rows.groups[i]]]} and {rows.rows[i]} are of one group by column"
            f" {design.group!r}, but the concomitant {design.gate.names[j]!r} differs in them"
        )


def collinear_columns(
    names: Sequence[str], units: Units, phi: np.ndarray, factor: np.ndarray | None = None
) -> str:
    """What is wrong with the regressors: judged after centring, of which phi (n, d) is the last part.

    Args:
      names: of the columns.
      units: of the rows.
      phi: (n, d).
      factor: R (d, d) of a QR factorisation of all rows, where there are more than these.
    """
    if factor is None:
        factor = np.asarray(np.linalg.qr(units.apply(phi, np.zeros(len(phi)))[0], mode="r"))
    norms = np.linalg.norm(factor, axis=0)
    # An entry of size c has an error of eps c, which is eps c / scale after centring.
    rounding = 4 * np.finfo(np.float64).eps * np.abs(phi).max(axis=0) / units.scale * np.sqrt(len(phi))
    bad = np.flatnonzero(np.abs(np.diag(factor)) <= np.maximum(COLLINEAR * norms, rounding))
    if not len(bad):
        return ""
    name, before = names[bad[0]], names[: bad[0]]
    if units.intercept is not None and np.ptp(phi[:, bad[0]]) == 0:
        return (
            f"collinear columns: {name!r} is {phi[0, bad[0]]:g} in all rows, like the intercept; leave it out"
        )
    shown = f"{', '.join(before[:5])}{', ...' if len(before) > 5 else ''}"
    what = "is zero everywhere" if not before else f"is a linear combination of {shown}"
    return f"collinear columns: {name!r} {what}; leave it out of the formula"
