"""What both screens have: a phone that is meant, and a line for what became of an order."""

import contextlib
from datetime import UTC, datetime

from rich.text import Text
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Static

from wa_sessions.actions.watch.top import Row
from wa_sessions.cli.watch.stats import wrapped
from wa_sessions.cli.watch.top.reading import Reading


class View(Screen[None]):
    """A screen that is drawn anew whenever there is something new to read."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading

    @property
    def chosen(self) -> Row | None:
        """The phone that an order would be for."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw what is known now."""
        raise NotImplementedError

    def draw_time(self) -> None:
        """Draw what changes with time alone."""
        raise NotImplementedError

    def show(self) -> None:
        """Draw what is known now, unless the screen is still being built, or being closed."""
        with contextlib.suppress(NoMatches):
            self.draw()
            self.draw_time()

    def tick(self) -> None:
        """A second has passed."""
        with contextlib.suppress(NoMatches):
            self.draw_time()

    def say(self, message: str, *, bad: bool = False) -> None:
        """One line about an order; an empty one is taken away."""
        with contextlib.suppress(NoMatches):
            line = self.query_one("#message", Static)
            style = "bold red" if bad else "bold"
            line.update(Text("\n".join(wrapped(message, self.size.width)), style=style))
            line.display = bool(message)

    def on_mount(self) -> None:
        """Draw at once, and the time every second."""
        self.say("")
        self.show()
        self.set_interval(1.0, self.tick)

    def on_resize(self) -> None:
        """Draw what fits now."""
        self.show()

    @staticmethod
    def now() -> datetime:
        """The time."""
        return datetime.now(UTC)
