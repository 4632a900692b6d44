"""The second screen: one phone's history, as it grows."""

from collections.abc import Sequence
from datetime import UTC
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from wa_sessions.actions.watch.top import Row
from wa_sessions.cli import terminal
from wa_sessions.cli.watch.top import drawing
from wa_sessions.cli.watch.top.reading import Reading
from wa_sessions.cli.watch.top.view import View
from wa_sessions.db.health import Event
from wa_sessions.health.event_kinds import EventKind
from wa_sessions.wording.sentences import sentence

_BAD = frozenset(
    {
        EventKind.ERROR_COUNTED,
        EventKind.MESSAGE_LOST,
        EventKind.SESSION_CLOSED,
        EventKind.LOGGED_OUT,
        EventKind.REPLACED,
        EventKind.BANNED,
    }
)


def told(event: Event) -> str:
    """What happened, in words."""
    return terminal.plain(sentence(event.detail))


class TimelineScreen(View):
    """All about one phone, and its history, the newest at the bottom."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,left,backspace", "back", "back", key_display="Esc"),
    ]

    def __init__(self, reading: Reading, phone_id: int) -> None:
        super().__init__(reading)
        self.phone_id = phone_id
        self._last: int | None = None

    def compose(self) -> ComposeResult:
        """The phone, its history, what became of an order, keys."""
        yield Static(id="summary")
        yield Static(id="details")
        with VerticalScroll():
            yield Static("reading its history …", id="history")
        yield Static(id="message")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Arrows scroll the history."""
        self.query_one(VerticalScroll).focus()

    @property
    def chosen(self) -> Row | None:
        """The phone whose history it is."""
        return self.reading.row(self.phone_id)

    def draw(self) -> None:
        """Its history is drawn as it comes."""

    def draw_time(self) -> None:
        """Draw the phone as it is now."""
        row, now, alarm = self.chosen, self.now(), self.reading.alarm
        known = drawing.headline(row, now, self.size.width) if row else Text("this phone is there no more")
        self.query_one("#summary", Static).update(drawing.alarm(alarm) if alarm else known)
        self.query_one("#details", Static).update(drawing.details(row, now, self.size.width) if row else "")

    def take(self, history: Sequence[Event]) -> None:
        """Draw the history where it has grown; who reads at its end stays there, who has scrolled up stays too."""
        last = history[-1].id if history else 0
        if last == self._last:
            return
        scroll = self.query_one(VerticalScroll)
        at_end = self._last is None or scroll.is_vertical_scroll_end
        self._last = last
        self.query_one("#history", Static).update(_lines(history) if history else "nothing is known of its past")
        if at_end:
            self.call_after_refresh(scroll.scroll_end, animate=False)

    def action_back(self) -> None:
        """To the fleet."""
        self.dismiss()


def _lines(history: Sequence[Event]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for event in history:
        at = f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        grid.add_row(at, Text(told(event), style="red" if event.kind in _BAD else ""))
    return grid
