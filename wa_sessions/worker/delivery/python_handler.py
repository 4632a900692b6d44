"""The program of a Python handler: ``python -P -m …delivery.python_handler <socket> module:function``.

It has no keys. What the function prints goes to the worker's log.
"""

import contextlib
import importlib
import inspect
import io
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from wa_sessions.errors import UsageError
from wa_sessions.worker.delivery.frames import Failed, Taken
from wa_sessions.worker.delivery.serving import die_first, die_with_parent, refuse, serve
from wa_sessions.worker.message import IncomingMessage

Handler = Callable[[IncomingMessage], object]

CALLS_SHOWN = 8
"""Calls of a failure that are shown: the last ones."""


def load_function(name: str) -> Handler:
    """Find ``module:function``. Raises UsageError if it is not there, and whatever the module raises."""
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise UsageError(f"--on-message takes module:function, not {name!r}")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--on-message {name}: {error}") from error
    if not callable(function):
        raise UsageError(f"--on-message {name}: not a function")
    return function  # type: ignore[no-any-return]  # it is callable


def call(function: Handler, message: IncomingMessage) -> None:
    """Call the function, and run what it returns if it is a coroutine function."""
    result = function(message)
    if inspect.iscoroutine(result):
        import asyncio

        asyncio.run(result)


def handle(function: Handler, message: IncomingMessage) -> Taken | Failed:
    """Hand one message to the function, and survive whatever it raises."""
    try:
        call(function, message)
    except BaseException as error:  # noqa: BLE001  # sys.exit() and the like end a message, not the handler
        _show_calls(error)
        return Failed(type(error).__name__)
    finally:
        _flush()
    return Taken()


def _show_calls(error: BaseException) -> None:
    """Print where it failed: source lines, but not the error's text, which may be that of a message."""
    with contextlib.suppress(Exception):
        calls = traceback.format_tb(error.__traceback__)[2:]
        sys.stderr.write(f"{''.join(calls[-CALLS_SHOWN:])}{type(error).__name__}\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _print_lines_at_once() -> None:
    """A line that was printed right before a crash is seen."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _look_in_current_folder() -> None:
    """From here on: everything of ours is imported already and can't be hidden by what stands there."""
    sys.path.insert(0, str(Path.cwd()))


def main() -> None:
    """Take messages until the worker closes the socket or is gone."""
    die_with_parent()
    die_first()
    _print_lines_at_once()
    link, name = int(sys.argv[1]), sys.argv[2]
    _look_in_current_folder()
    try:
        function = load_function(name)
    except UsageError as error:
        refuse(link, str(error))
    except BaseException as error:  # noqa: BLE001  # whatever the operator's module does when it is imported
        refuse(link, f"--on-message {name}: {type(error).__name__}: {error}")
    else:
        serve(link, lambda message: handle(function, message))


if __name__ == "__main__":
    main()
