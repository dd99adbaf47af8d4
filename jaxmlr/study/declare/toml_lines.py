"""Where in a TOML file a key stands, so that an error about it can name the line."""

import re

_HEADER = re.compile(r"\s*\[\[?\s*(.+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""(?:^|[{,])\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_UNKNOWN = re.compile(r"unknown name '([^']+)'")
_PATH = re.compile(r"(?:grid: )?([\w-]+(?:\.[\w-]+)*)")


def lines(text: str) -> dict[str, int]:
    """The line, from 1, of every table and key, by dotted path: `{"problem.p": 7}`."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _plain(header[1])
            found.setdefault(table, number)
            continue
        outer = ""
        for match in _KEY.finditer(line):
            path = ".".join(part for part in (table, outer, _plain(match[1])) if part)
            found.setdefault(path, number)
            if not outer:
                outer = _plain(match[1])  # keys further on in the line are of its inline table
    return found


def line_of(text: str, message: str) -> int | None:
    """The line of the key that an error message begins with; None where the file does not have it."""
    path = _PATH.match(message)
    if path is None:
        return None
    parts = path[1].split(".")
    unknown = _UNKNOWN.search(message)
    found = lines(text)
    names = [*([".".join([*parts, unknown[1]]), unknown[1]] if unknown else [])]
    names += [f"grid.{path[1]}"] if message.startswith("grid: ") else []
    rest = message[path.end() :]
    if inner := re.match(r": ([\w-]+)\b", rest):
        names.append(f"{path[1]}.{inner[1]}")
    names += [".".join(parts[:k]) for k in range(len(parts), 0, -1)]
    return next((found[name] for name in names if name in found), None)


def _plain(key: str) -> str:
    return re.sub(r"""\s*\.\s*""", ".", key).replace('"', "").replace("'", "")
