"""PURE: numbers as a line of small bars."""

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
LEAST_PEAK = 3
"""A single error is no mountain: the highest bar stands for at least so many."""


def sparkline(counts: Sequence[int], width: int, peak: int = 0) -> str:
    """So many bars, each the highest of its share of the counts; a full one is ``peak``, and no number but 0 is flat.

    >>> sparkline([0, 0, 1, 0, 4, 8], 6, 8)
    '▁▁▂▁▅█'
    >>> sparkline([0, 0, 1, 0, 4, 8], 3, 8)
    '▁▂█'
    """
    if width < 1 or not counts:
        return ""
    share = -(-len(counts) // width)
    tops = [max(counts[max(end - share, 0) : end]) for end in range(len(counts), 0, -share)]
    full = max(peak, LEAST_PEAK)
    return "".join(_bar(top, full) for top in reversed(tops))


def _bar(count: int, full: int) -> str:
    steps = len(BARS) - 1
    return BARS[0 if count <= 0 else max(1, min(steps, round(count / full * steps)))]
