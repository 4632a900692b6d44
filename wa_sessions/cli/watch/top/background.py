"""Work that may take long, beside the view: a database that is slow, or a worker that is silent, never holds it."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from textual.app import App

from wa_sessions.errors import WaSessionsError

ResultT = TypeVar("ResultT")


class Background:
    """Makes calls in threads that do not outlive the program, and hands results to the view in its own thread."""

    def __init__(self, view: App[Any], broken: Callable[[Exception], None]) -> None:
        self._view = view
        self._broken = broken
        self._open = True
        self._telling = threading.Lock()

    def start(
        self,
        call: Callable[[], ResultT],
        done: Callable[[ResultT], None],
        failed: Callable[[WaSessionsError], None],
    ) -> None:
        """Begin a call. Later ``done`` gets its result, or ``failed`` its error; ``broken`` one that nobody foresaw.

        Of a view that has ended nobody is told.
        """

        def work() -> None:
            try:
                result = call()
            except WaSessionsError as error:
                self._tell(failed, error)
            except Exception as error:  # noqa: BLE001  # it belongs into the view's thread
                self._tell(self._broken, error)
            else:
                self._tell(done, result)

        threading.Thread(target=work, name="top", daemon=True).start()

    def close(self) -> None:
        """Tell nobody any more."""
        with self._telling:
            self._open = False

    def _tell(self, to: Callable[[Any], None], value: object) -> None:
        with self._telling:
            if self._open:
                self._view.call_later(to, value)
