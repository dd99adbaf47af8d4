"""Which trials of which parts are still to be computed, cut into units of work."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from jaxmlr.study.run.parts import Parts, group_of

Spans = Mapping[str, Sequence[tuple[int, int]]]  # part -> ranges of trials (first, stop) that are there
Gaps = tuple[tuple[int, int], ...]


class Unit(NamedTuple):
    """A range of trials of a group of parts: what is computed, claimed and saved together."""

    first: int
    stop: int
    group: str
    parts: frozenset[str]

    @property
    def name(self) -> str:
        """The name of its file and of its claim."""
        return f"{self.first:06d}-{self.stop:06d}-{self.group}"

    @property
    def trials(self) -> int:
        """How many trials it holds."""
        return self.stop - self.first


def units(parts: Parts, there: Spans, trials: int, size: int) -> list[Unit]:
    """What is missing of the first `trials` trials of every part, at most `size` trials a unit.

    What lacks the same trials of the same methods is computed together. A gap is cut from its first trial
    on, so that processes which begin while others save units cut it alike.
    """
    lacking: dict[tuple[Gaps, int], dict[str, set[str]]] = {}  # gaps, problem -> method -> parts
    for name, listed in parts.saved.items():
        for part in listed:
            gaps = tuple(_gaps(there.get(part, ()), trials))
            lacking.setdefault((gaps, parts.problem[part]), {}).setdefault(name, set()).add(part)
    groups: dict[tuple[Gaps, frozenset[str]], set[str]] = {}
    for (gaps, _), methods in lacking.items():
        groups.setdefault((gaps, frozenset(methods)), set()).update(*methods.values())
    cut = [
        Unit(start, min(start + size, stop), group_of(group), frozenset(group))
        for (gaps, _), group in groups.items()
        for first, stop in gaps
        for start in range(first, stop, size)
    ]
    return sorted(cut)


def _gaps(spans: Iterable[tuple[int, int]], trials: int) -> Iterator[tuple[int, int]]:
    at = 0
    for first, stop in sorted(spans):
        if first > at:
            yield at, min(first, trials)
        at = max(at, stop)
        if at >= trials:
            return
    if at < trials:
        yield at, trials
