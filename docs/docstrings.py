"""From docstrings to reStructuredText: formulas become literal blocks, fields of a tuple a list."""

import inspect
import re
from typing import Any

SECTION = re.compile(r"(Args|Attributes|Fields|Raises|Returns|Yields):$")
FIELD = re.compile(r"    (\w+): ([^#=]+?)(?: = [^#]+?)?(?:  #\s*(.+))?$")
LIST = re.compile(r"([-*]|\d+\.) ")


def indent_of(line: str) -> int:
    """The number of leading spaces."""
    return len(line) - len(line.lstrip())


def escaped(line: str) -> str:
    """Bars, stars and trailing underscores as they are written, outside of backticks."""
    parts = re.split(r"(`+[^`]*`+)", line)
    parts[::2] = [re.sub(r"([|*]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def converted(lines: list[str]) -> list[str]:
    """Lines of a docstring with its indented formulas and tables as literal blocks."""
    output: list[str] = []
    base, literal, blank = 0, None, True
    for line in lines:
        indent = indent_of(line)
        if not line.strip():
            blank = True
            output.append(line)
            continue
        if literal is not None and indent < literal:
            literal = None
        if literal is None:
            if indent == 0:
                base = 4 if SECTION.match(line) else 0
            stripped = line.strip()
            if blank and indent >= base + 4 and output and not LIST.match(stripped):
                literal = indent
                output += [" " * (indent - 4) + "::", ""]
            elif not blank and LIST.match(stripped) and indent > indent_of(output[-1]):
                output.append("")
        output.append(line if literal is not None or SECTION.match(line) else escaped(line))
        blank = False
    return output


def fields(obj: Any) -> list[str]:
    """The fields of a NamedTuple with the comments behind them, or with their types."""
    if not (inspect.isclass(obj) and issubclass(obj, tuple) and hasattr(obj, "_fields")):
        return []
    matches = [FIELD.match(line) for line in inspect.getsource(obj).splitlines()]
    said = {match[1]: match[3] or f"`{match[2]}`" for match in matches if match}
    return ["", "Fields:", *(f"  {name}: {said[name]}" for name in obj._fields if name in said)]


def process(app: object, what: str, name: str, obj: Any, options: object, lines: list[str]) -> None:
    """What autodoc calls for every docstring, before napoleon does."""
    del app, what, name, options
    if not any(SECTION.match(line) for line in lines if line.startswith("Fields")):
        lines += fields(obj)
    lines[:] = converted(lines)


def signature(
    app: object, what: str, name: str, obj: Any, options: object, text: str | None, returned: Any
) -> Any:
    """Write defaults as Python does, so that Sphinx can parse the signature."""
    del app, what, name, obj, options
    if text is None:
        return None
    return re.sub(r"<module '([\w.]+)' from [^>]*>", r"\1", text.replace("<factory>", "{}")), returned


def skip(app: object, what: str, name: str, obj: Any, skipped: bool, options: object) -> bool | None:
    """Leave out the fields of tuples, which `fields` lists, and what scikit-learn adds to its estimators."""
    del app, what, name, skipped, options
    foreign = str(getattr(obj, "__module__", "")).startswith("sklearn")
    return True if foreign or type(obj).__name__ in ("_tuplegetter", "RequestMethod") else None


def setup(app: Any) -> None:
    """Connect all of this to Sphinx."""
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-skip-member", skip)
