"""What stands before the view for a moment: a question, and the help."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from wa_sessions.actions.watch.top import MINUTES

HELP = f"""\
[b]Keys[/b]
  Enter     the phone's history, live; Esc goes back
  s, S      sort by the next thing; turn the order round
  /         filter by words of a row (number, name, status, org 7, …)
  u         only phones that are down, critical or warning,
            or whose messages are stuck
  Esc       all phones again
  r         relink: a QR for a phone that has no keys any more
  c         close the session, its keys are kept; both ask first
  q         quit
[b]Health[/b]
  down      by its status, no worker, or it cannot connect it
  critical  the next error of that kind closes the session
  warning   an error was counted
  unknown   nobody observes it
[b]Columns[/b]
  MAC, DEC  counted Bad MAC and Bad Decrypt errors, and their limits
  P/L       messages that wait for a retry (pending), messages lost
  ERR/MIN   counted errors a minute, the last {MINUTES} minutes; a bar is
            the worst of its minutes, a full bar the fleet's worst
  LAST ERR  kind and age of the last counted error"""


class Confirm(ModalScreen[bool]):
    """A question; only ``y`` says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q,enter", "answer(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        text = Text(self._question).append("\n\ny", style="bold").append(" yes    ")
        yield Static(text.append("n", style="bold").append(" no"), classes="dialog")

    def action_answer(self, yes: bool) -> None:  # noqa: FBT001  # textual calls it
        """Close with the answer."""
        self.dismiss(yes)


class Help(ModalScreen[None]):
    """All keys, and what the columns mean."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "close", "close")]

    def compose(self) -> ComposeResult:
        """The help, which scrolls where a terminal is low."""
        with VerticalScroll(classes="dialog"):
            yield Static(Text.from_markup(HELP))

    def action_close(self) -> None:
        """Back to the view."""
        self.dismiss(None)
