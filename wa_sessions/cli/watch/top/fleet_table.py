"""The table of phones."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from wa_sessions.actions.watch.top import Row
from wa_sessions.cli.watch.top.drawing import GAP, Column, Moment, cells, columns


class FleetTable(DataTable[Text]):
    """All phones that are shown. The cursor stays on its phone wherever that goes; on the top line it stays there."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "app.timeline", "history", key_display="Enter")]

    def __init__(self) -> None:
        super().__init__(cursor_type="row", cursor_foreground_priority="renderable", cell_padding=0)
        self._columns: list[tuple[str, int]] = []
        self._phones: list[int] = []
        self._cells: list[list[Text]] = []

    @property
    def chosen(self) -> int | None:
        """The id of the phone under the cursor."""
        return self._phones[self.cursor_row] if 0 <= self.cursor_row < len(self._phones) else None

    def show(self, rows: Sequence[Row], moment: Moment, width: int) -> None:
        """Draw the rows; what has not changed is left as it is."""
        shown = columns(rows, width)
        drawn = [cells(row, shown, moment) for row in rows]
        phones = [row.stats.phone_id for row in rows]
        if phones == self._phones and [(column.title, column.width) for column in shown] == self._columns:
            self._update(drawn)
        else:
            self._rebuild(phones, shown, drawn)
        self._cells = drawn

    def _update(self, drawn: list[list[Text]]) -> None:
        for row, (before, after) in enumerate(zip(self._cells, drawn, strict=True)):
            for column, (old, new) in enumerate(zip(before, after, strict=True)):
                if old != new:
                    self.update_cell(str(self._phones[row]), self._columns[column][0], new)

    def _rebuild(self, phones: list[int], shown: list[Column], drawn: list[list[Text]]) -> None:
        chosen, line, scrolled = self.chosen, self.cursor_row, self.scroll_y
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for column in shown:
                self.add_column(Text(column.title), width=column.width + GAP, key=column.title)
            for phone, texts in zip(phones, drawn, strict=True):
                self.add_row(*texts, key=str(phone))
        self._phones = phones
        self._columns = [(column.title, column.width) for column in shown]
        if line > 0:
            line = phones.index(chosen) if chosen in phones else min(line, len(phones) - 1)
        self.move_cursor(row=max(line, 0), animate=False, scroll=False)
        self.scroll_to(y=scrolled, animate=False, force=True)
