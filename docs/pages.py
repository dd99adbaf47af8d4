"""The pages that come from the code: keys of a study, methods, API, findings and notebooks."""

import dataclasses
import importlib
import inspect
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

from jaxmlr import disturbances, drifts, labels, metrics, processes, registry
from jaxmlr.cli import app
from jaxmlr.fitting.tables.functions import FUNCTIONS
from jaxmlr.study import Problem, Study
from jaxmlr.study.declare import resolve

ROOT = Path(__file__).resolve().parents[1]

# Public modules, as users write them; an object that several have is documented under the first name.
MODULES = (
    "jaxmlr",
    "jaxmlr.recursive",
    "jaxmlr.batch",
    "jaxmlr.datasets",
    "jaxmlr.processes",
    "jaxmlr.disturbances",
    "jaxmlr.drifts",
    "jaxmlr.labels",
    "jaxmlr.metrics",
    "jaxmlr.evaluation.tracking",
    "jaxmlr.theory",
    "jaxmlr.diagnostics",
    "jaxmlr.evaluation.agreement",
    "jaxmlr.study",
    "jaxmlr.fitting.model",
    "jaxmlr.sklearn",
    "jaxmlr.river",
    "jaxmlr.registry",
    "jaxmlr.testing",
)
API = {  # page -> title, and where the code of its objects lies
    "model": ("The model and a run", ("jaxmlr.mixture", "jaxmlr.estimator")),
    "recursive": ("Recursive methods", ("jaxmlr.recursive",)),
    "batch": ("Batch methods", ("jaxmlr.batch",)),
    "data": ("Data", ("jaxmlr.data",)),
    "evaluation": ("Metrics, theory, diagnostics, tuning", ("jaxmlr.evaluation",)),
    "study": ("Studies", ("jaxmlr.study",)),
    "tables": ("Tables, scikit-learn, river", ("jaxmlr.fitting", "jaxmlr.sklearn", "jaxmlr.river")),
    "registry": ("Registry and testing", ("jaxmlr.registry", "jaxmlr.testing")),
    "compiler": ("Compiler", ("jaxmlr._xla",)),
}


def module(name: str) -> ModuleType:
    """A public module by the name that users write, which may be an attribute of its parent."""
    parent, _, last = name.rpartition(".")
    attribute = getattr(importlib.import_module(parent), last, None) if parent else None
    return attribute if isinstance(attribute, ModuleType) else importlib.import_module(name)


def public(name: str) -> list[str]:
    """The public names of a module: `__all__`, or what it defines, or what a package exports."""
    space = module(name)
    if hasattr(space, "__all__"):
        return [each for each in space.__all__ if not isinstance(getattr(space, each), ModuleType)]
    package = hasattr(space, "__path__")
    return [
        each
        for each, value in vars(space).items()
        if not each.startswith("_")
        and callable(value)
        and (getattr(value, "__module__", "") or "").startswith("jaxmlr" if package else space.__name__)
        and not isinstance(value, ModuleType)
    ]


def documented() -> Iterator[tuple[str, str, Any]]:
    """Page, full name and object of everything public, each once."""
    seen: set[int] = set()
    for name in MODULES:
        for each in public(name):
            value = getattr(module(name), each)
            if id(value) in seen:
                continue
            seen.add(id(value))
            yield page_of(value), f"{name}.{each}", value


def page_of(value: Any) -> str:
    """The API page of an object, by the module that defines it."""
    home = getattr(value, "__module__", None) or type(value).__module__
    for page, (_, prefixes) in API.items():
        if home.startswith(prefixes):
            return page
    raise ValueError(f"no page of the API has the objects of {home}")


def api_pages() -> dict[str, str]:
    """The API pages in reStructuredText."""
    sections: dict[str, dict[str, list[str]]] = {page: {} for page in API}
    for page, full, value in documented():
        namespace, _, _ = full.rpartition(".")
        kind = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
        options = "   :members:\n" if kind == "autoclass" else ""
        sections[page].setdefault(namespace, []).append(f".. {kind}:: {full}\n{options}")
    texts = {}
    for page, (title, _) in API.items():
        parts = [title, "=" * len(title), ""]
        for namespace, entries in sections[page].items():
            if namespace != "jaxmlr":
                home = module(namespace).__name__
                parts += [namespace, "-" * len(namespace), "", f".. automodule:: {home}", "   :no-index:", ""]
            parts += entries
        if sections[page]:
            texts[page] = "\n".join(parts) + "\n"
    return texts


def attributes(described: type) -> dict[str, str]:
    """What the `Attributes:` section of a docstring says of each field."""
    text = inspect.getdoc(described) or ""
    section = re.search(r"^Attributes:\n((?:  .*\n|\n)+)", text + "\n", re.MULTILINE)
    if section is None:
        raise ValueError(f"{described.__name__} has no section `Attributes`")
    entries = re.findall(r"^  (\w+): ((?:.*\n)(?:    .*\n)*)", section[1], re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


def cell(text: str) -> str:
    """A text as a cell of a table."""
    return text.replace("|", "\\|")


def keys(described: type) -> str:
    """Every field of a dataclass of the study file: key, default and meaning.

    Raises:
      ValueError: the docstring leaves out a field.
    """
    said = attributes(described)
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(described):
        if field.name not in said:
            raise ValueError(f"{described.__name__}.{field.name} is not described in its docstring")
        default = "required"
        if field.default is not dataclasses.MISSING:
            value = list(field.default) if isinstance(field.default, tuple) else field.default
            default = "none" if value is None else f"`{toml(value)}`"
        elif field.default_factory is not dataclasses.MISSING:
            default = "empty"
        rows.append(f"| `{field.name}` | {default} | {cell(said[field.name])} |")
    return "\n".join(rows) + "\n"


def toml(value: Any) -> str:
    """A default as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def options(function: Callable[..., Any]) -> str:
    """The keyword arguments of a function with their defaults, in a line."""
    shown = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in ("phi", "y", "key"):
            continue
        default = parameter.default
        plain = isinstance(default, bool | int | float | str | list | tuple)
        shown.append(f"`{name} = {toml(default)}`" if plain else f"`{name}`")
    return ", ".join(shown) or "none"


def first_sentence(function: Callable[..., Any]) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(function) or "").partition("\n")[0]


def kinds(functions: Mapping[str, Callable[..., Any]], heading: str) -> str:
    """A table of functions by name: what each does, and its options."""
    rows = [f"| {heading} | what | options |", "|---|---|---|"]
    rows += [
        f"| `{name}` | {cell(first_sentence(function))} | {cell(options(function))} |"
        for name, function in functions.items()
    ]
    return "\n".join(rows) + "\n"


def methods(kind: str) -> str:
    """The methods of a kind with their options."""
    return kinds({name: registry.METHODS[name].factory for name in getattr(registry, kind.upper())}, "method")


def commands() -> str:
    """Every command of the program with its arguments and options, from the program itself."""
    parts = []
    for name, command in typer.main.get_command(app.app).commands.items():
        parts += [f"## `jaxmlr {name}`", "", command.help.strip(), ""]
        rows = ["| argument or option | default | what |", "|---|---|---|"]
        for each in command.params:
            option = each.param_type_name == "option"
            written = " ".join([*each.opts, each.metavar or ""]) if option else each.metavar or each.name
            default = "" if each.default in (None, False) else f"`{each.default}`"
            said = re.sub(r"(--[a-z]\S*( \w\S*=\S+)?)", r"`\1`", cell(each.help or ""))
            rows.append(f"| `{cell(written.strip())}` | {default} | {said} |")
        parts += [*rows, ""]
    return "\n".join(parts)


def fragments() -> dict[str, str]:
    """The tables that pages include."""
    return {
        "commands": commands(),
        "functions": ", ".join(f"`{name}`" for name in FUNCTIONS) + ".\n",
        "study_keys": keys(Study),
        "problem_keys": keys(Problem),
        "processes": kinds({name: getattr(processes, name) for name in resolve.PROCESSES}, "kind"),
        "disturbances": kinds({name: getattr(disturbances, name) for name in resolve.DISTURBANCES}, "kind"),
        "drifts": kinds({name: getattr(drifts, name) for name in resolve.DRIFTS}, "kind"),
        "labels": kinds({name: getattr(labels, name) for name in resolve.LABELS}, "kind"),
        "recursive_methods": registry.markdown("recursive"),
        "batch_methods": registry.markdown("batch"),
        "recursive_options": methods("recursive"),
        "batch_options": methods("batch"),
        "metrics": "\n".join(f"- `{name}`" for name in metrics.METRICS) + "\n",
    }


def findings(folder: Path) -> None:
    """Publish experiments/*.md as they are, with their pictures."""
    for source in sorted((ROOT / "experiments").glob("*.md")):
        shutil.copyfile(source, folder / source.name)
    for picture in (ROOT / "experiments").glob("*.png"):
        shutil.copyfile(picture, folder / picture.name)


def notebooks(folder: Path) -> None:
    """Convert the notebooks, which are Python files, to the format that is executed and shown."""
    import jupytext  # here, since all else in this file works without it

    for source in sorted((ROOT / "notebooks").glob("*.py")):
        notebook = jupytext.read(source, fmt="py:percent")
        notebook.metadata |= {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        }
        for k, each in enumerate(notebook.cells):
            each["id"] = f"cell-{k}"  # else a random one, and every page would look new
        jupytext.write(notebook, folder / f"{source.stem}.ipynb")


def write(docs: Path) -> None:
    """Write all generated pages; those that have not changed keep their time, for incremental builds."""
    folders = {name: docs / name for name in ("api", "findings", "notebooks", "_fragments")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    texts = {folders["api"] / f"{name}.rst": text for name, text in api_pages().items()}
    texts |= {folders["_fragments"] / f"{name}.md": text for name, text in fragments().items()}
    for path, text in texts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    findings(folders["findings"])
    notebooks(folders["notebooks"])
