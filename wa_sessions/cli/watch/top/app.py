"""The live view: what its keys do, and reading the fleet again and again."""

import asyncio
import io
import signal
from functools import partial
from typing import ClassVar

from rich.console import Console
from textual.app import App
from textual.binding import Binding, BindingType

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.repair.repairs import RepairPlan
from wa_sessions.actions.watch import top as action
from wa_sessions.actions.watch.top import Row
from wa_sessions.cli.watch.top import actions
from wa_sessions.cli.watch.top.background import Background
from wa_sessions.cli.watch.top.dialogs import Confirm, Help
from wa_sessions.cli.watch.top.fleet_screen import FleetScreen
from wa_sessions.cli.watch.top.reading import LOOK_EVERY, Reading
from wa_sessions.cli.watch.top.timeline_screen import TimelineScreen
from wa_sessions.cli.watch.top.view import View
from wa_sessions.db.health import Event
from wa_sessions.errors import ExitCode, WaSessionsError


class TopApp(App[None]):
    """All phones of a database, live. It is drawn in the terminal's own colours.

    ``broken`` is the error that ended it, ``unfinished`` what was ordered and not answered yet at its end.
    """

    CSS_PATH = "top.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "relink", "relink"),
        Binding("c", "close", "close"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+z", "suspend_process", "suspend", show=False, priority=True),
        Binding("ctrl+c", "interrupt", "interrupt", show=False, priority=True),
    ]

    def __init__(self, opened: Opened, organization_id: int | None = None) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self.error_console = Console(file=io.StringIO())  # an error is told when the screen is given back
        self.broken: Exception | None = None
        self._opened = opened
        self._organization_id = organization_id
        self._reading = Reading()
        self._background = Background(self, self._break)
        self._under_way: str | None = None

    @property
    def unfinished(self) -> list[str]:
        """A line for what was ordered and not answered yet."""
        return [f"{self._under_way} was under way when the view ended"] if self._under_way else []

    @property
    def view(self) -> View | None:
        """The screen behind any question."""
        return next((screen for screen in reversed(self.screen_stack) if isinstance(screen, View)), None)

    def on_mount(self) -> None:
        """Signals end the view as keys do; begin to read."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.exit)
        loop.add_signal_handler(signal.SIGINT, self.action_interrupt)
        self.push_screen(FleetScreen(self._reading))
        self._look()

    def on_unmount(self) -> None:
        """Nobody listens any more."""
        self._background.close()

    def action_interrupt(self) -> None:
        """Ctrl-C."""
        self.exit(return_code=ExitCode.INTERRUPTED)

    def action_help(self) -> None:
        """The keys."""
        self.push_screen(Help())

    async def action_timeline(self) -> None:
        """A phone's history."""
        row = self._chosen()
        if row and not isinstance(self.view, TimelineScreen):
            screen = TimelineScreen(self._reading, row.stats.phone_id)
            await self.push_screen(screen)
            self._look_back(screen)

    def action_relink(self) -> None:
        """Ask, then open pairing again."""
        if row := self._free_to_order():
            stats = row.stats
            asked = f"Show a QR for {stats.phone} (organization {stats.organization_id}), to link it again?"
            order = partial(actions.relink, self._opened, stats.phone_id)
            self._confirm(asked, f"relink of {stats.phone}", order)

    def action_close(self) -> None:
        """Look at what a close would do, ask, then do it."""
        if row := self._free_to_order():
            phone = row.stats.phone
            self._say(f"looking at {phone} …")
            self._background.start(
                partial(actions.plan_close, self._opened, row.stats.phone_id),
                partial(self._ask_to_close, phone),
                self._refused,
            )

    def _ask_to_close(self, phone: str, planned: RepairPlan) -> None:
        self._say("")
        self._confirm(
            actions.CLOSING.question(planned), f"force-close of {phone}", partial(actions.close, self._opened, planned)
        )

    def _confirm(self, asked: str, name: str, order: "partial[str]") -> None:
        def answered(yes: bool | None) -> None:  # noqa: FBT001  # textual calls it
            if yes:
                self._under_way = name
                self._say(f"{name} …")
                self._background.start(order, self._done, self._refused)

        self.push_screen(Confirm(asked), answered)

    def _done(self, outcome: str) -> None:
        self._under_way = None
        self._say(outcome)

    def _refused(self, error: WaSessionsError) -> None:
        self._under_way = None
        self._say(str(error), bad=True)

    def _chosen(self) -> Row | None:
        return self.view.chosen if self.view else None

    def _free_to_order(self) -> Row | None:
        """The phone that is meant, unless another order is on its way."""
        if self._under_way:
            self._say(f"{self._under_way} is still under way", bad=True)
            return None
        return self._chosen()

    def _say(self, message: str, *, bad: bool = False) -> None:
        if self.view:
            self.view.say(message, bad=bad)

    def _look(self) -> None:
        """Ask for the fleet; whenever an answer has come, it is asked for again a little later."""
        self._reading.asked()
        self._background.start(
            partial(action.snapshot, self._opened, self._organization_id), self._answered, self._failed
        )

    def _answered(self, rows: list[Row]) -> None:
        self._reading.answered(rows)
        self._look_later()

    def _failed(self, error: WaSessionsError) -> None:
        self._reading.failed(error)
        self._look_later()

    def _look_later(self) -> None:
        if self.view:
            self.view.show()
        self.set_timer(LOOK_EVERY, self._look)

    def _look_back(self, screen: TimelineScreen) -> None:
        """Ask for a phone's history, again and again while its screen is there."""

        def later() -> None:
            if screen.is_attached:
                self.set_timer(LOOK_EVERY, partial(self._look_back, screen))

        def answered(history: list[Event]) -> None:
            if screen.is_attached:
                screen.take(history)
            later()

        def failed(error: WaSessionsError) -> None:
            if screen.is_attached:
                screen.say(str(error), bad=True)
            later()

        self._background.start(partial(action.entries, self._opened, screen.phone_id), answered, failed)

    def _break(self, error: Exception) -> None:
        self.broken = error
        self.exit(return_code=ExitCode.FAILED)

    def _handle_exception(self, error: Exception) -> None:
        """Keep an error of the view's own, so that the command can tell it in one line."""
        self.broken = self.broken or error
        super()._handle_exception(error)
