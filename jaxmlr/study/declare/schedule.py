"""Which steps of a trial are recorded."""


def log_spaced(count: int, steps: int) -> list[int]:
    """Steps from 1 to `steps`, spaced evenly on a logarithmic scale where whole numbers can be.

    Args:
      count: how many, at most `steps`; a single one is the last.
      steps: the last.
    """
    spaced = [] if count == 1 else [1]
    for remaining in range(min(count, steps) - len(spaced), 0, -1):
        last = spaced[-1] if spaced else 0
        ratio = (steps / max(last, 1)) ** (1 / remaining)
        spaced.append(max(last + 1, round(last * ratio)) if remaining > 1 else steps)
    return spaced
