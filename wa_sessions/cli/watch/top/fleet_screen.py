"""The first screen: all phones at a glance."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Input, Static

from wa_sessions.actions.watch.top import Row
from wa_sessions.cli import terminal
from wa_sessions.cli.watch.top import drawing
from wa_sessions.cli.watch.top.arrange import Order, arranged
from wa_sessions.cli.watch.top.drawing import Moment
from wa_sessions.cli.watch.top.fleet_table import FleetTable
from wa_sessions.cli.watch.top.reading import Reading
from wa_sessions.cli.watch.top.view import View


class FleetScreen(View):
    """How the fleet stands, its phones, and all about the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "sort"),
        Binding("S", "turn", "turn the order round", show=False),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("u", "unhealthy", "unhealthy"),
        Binding("escape", "everything", "all", show=False),
    ]

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self._order, self._backwards, self._unhealthy, self._words = Order.HEALTH, False, False, ""

    def compose(self) -> ComposeResult:
        """Header, table, details, what is asked and answered, keys."""
        yield Static(id="summary")
        yield Static(id="errors")
        yield FleetTable()
        yield Static(id="nothing")
        yield Static(id="details")
        yield Static(id="message")
        yield Input(placeholder="words that a row must have; Enter keeps them, Esc shows all", id="words")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """The words are asked for with ``/`` alone."""
        self.query_one(Input).display = False
        self.query_one(FleetTable).focus()

    @property
    def chosen(self) -> Row | None:
        """The phone under the cursor."""
        return self.reading.row(self.query_one(FleetTable).chosen)

    def draw(self) -> None:
        """Draw the rows that are asked for."""
        rows = self.reading.rows
        table, nothing = self.query_one(FleetTable), self.query_one("#nothing", Static)
        shown = arranged(rows, self._order, backwards=self._backwards, words=self._words, unhealthy=self._unhealthy)
        peak = max((max(row.errors) for row in rows), default=0)
        table.show(shown, Moment(self.now(), peak), self.size.width - 1)
        table.display, nothing.display = bool(shown), not shown
        nothing.update(self._nothing())

    def draw_time(self) -> None:
        """Draw header and details."""
        rows, now, width, alarm = self.reading.rows, self.now(), self.size.width, self.reading.alarm
        self.query_one("#summary", Static).update(drawing.summary(rows, now, width))
        self.query_one("#errors", Static).update(
            drawing.alarm(alarm) if alarm else drawing.errors_line(rows, self._asked_for(), width)
        )
        row = self.chosen
        self.query_one("#details", Static).update(drawing.details(row, now, self.size.width) if row else "")

    def on_data_table_row_highlighted(self) -> None:
        """Another phone is under the cursor."""
        self.tick()

    def on_input_changed(self, event: Input.Changed) -> None:
        """The rows narrow with every letter."""
        self._words = event.value
        self.show()

    def on_input_submitted(self) -> None:
        """Back to the table, which stays narrow."""
        self._close_words()

    def action_sort(self) -> None:
        """Sort by the next thing."""
        self._order = self._order.following
        self.show()

    def action_turn(self) -> None:
        """Turn the order round."""
        self._backwards = not self._backwards
        self.show()

    def action_unhealthy(self) -> None:
        """Only what needs a look, or all."""
        self._unhealthy = not self._unhealthy
        self.show()

    def action_filter(self) -> None:
        """Ask for words."""
        words = self.query_one(Input)
        words.display = True
        words.focus()

    def action_everything(self) -> None:
        """No filter."""
        self.query_one(Input).value = self._words = ""
        self._unhealthy = False
        self._close_words()
        self.say("")
        self.show()

    def _close_words(self) -> None:
        self.query_one(Input).display = False
        self.query_one(FleetTable).focus()

    def _asked_for(self) -> str:
        order = f"by {self._order}{', backwards' if self._backwards else ''}"
        words = f"/{terminal.plain(self._words)}" if self._words.strip() else ""
        return ", ".join(part for part in (order, "unhealthy" if self._unhealthy else "", words) if part)

    def _nothing(self) -> str:
        if self.reading.at is None:
            return "reading the fleet …"
        if not self.reading.rows:
            return "no phones: wa-sessions add PHONE --org N makes one"
        if self._words.strip():
            return "no phone has these words; Esc shows all"
        return "nothing is wrong; Esc shows all"
