"""Tables that fit their terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wa_sessions.plain_text import plain

GAP = "  "
NARROW, READABLE = 80, 12
Paint = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``flexible`` gives way where the table is too wide, and goes where nothing readable is left of it.

    Of several the last gives way first, and one that is ``whole`` goes rather than be cut. On a narrow terminal whole
    columns go before any is cut: those with ``drops``, in that order, 1 first.
    """

    title: str
    right: bool = False
    flexible: bool = False
    drops: int = 0
    whole: bool = False


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, paint: Sequence[Paint | None]
) -> list[str]:
    """Header and rows as lines no wider than ``width``; ``paint`` colours a column's cells."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = _widths(columns, rows, width)
    header = _line([column.title for column in columns], columns, widths, [None] * len(columns))
    return [header, *(_line(row, columns, widths, paint) for row in rows)]


def cut(text: str, width: int) -> str:
    """The text, shortened with an ellipsis where it takes more than ``width`` columns of a terminal.

    >>> cut("Reception", 5)
    'Rece…'
    """
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    from rich.cells import cell_len

    widths = [max(map(cell_len, (column.title, *(row[n] for row in rows)))) for n, column in enumerate(columns)]
    if width < NARROW:
        _drop(columns, widths, width)
    excess = _total(widths) - width
    for n, column in reversed(list(enumerate(columns))):
        if column.flexible and excess > 0 and widths[n]:
            kept = max(widths[n] - excess, 0)
            kept = kept if kept >= cell_len(column.title) and not column.whole else 0
            excess -= widths[n] - kept + (len(GAP) if kept == 0 else 0)
            widths[n] = kept
    return widths


def _drop(columns: Sequence[Column], widths: list[int], width: int) -> None:
    """Leave whole columns out until what is left fits, a flexible one with as much as can be read of it."""
    for _, n in sorted((column.drops, n) for n, column in enumerate(columns) if column.drops):
        least = [min(wide, READABLE) if columns[at].flexible else wide for at, wide in enumerate(widths)]
        if _total(least) <= width:
            return
        widths[n] = 0


def _total(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + len(GAP) * (len(shown) - 1)


def _line(
    values: Sequence[str], columns: Sequence[Column], widths: Sequence[int], paint: Sequence[Paint | None]
) -> str:
    from rich.cells import cell_len

    parts = []
    for value, column, width, painter in zip(values, columns, widths, paint, strict=True):
        if width == 0:
            continue
        text = cut(value, width)
        padding = " " * (width - cell_len(text))
        shown = painter(text) if painter else text
        parts.append(padding + shown if column.right else shown + padding)
    return GAP.join(parts).rstrip()
