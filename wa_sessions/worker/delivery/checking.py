"""Whether a handler is there, found out before the worker starts and without a line of the operator's code in it."""

import asyncio
import shlex

from wa_sessions.config.kinds import is_http_url
from wa_sessions.errors import UsageError
from wa_sessions.worker.delivery.exec_handler import not_there
from wa_sessions.worker.delivery.handler_process import HandlerEnded, HandlerProcess
from wa_sessions.worker.delivery.spec import HandlerSpec


def check_handler(handler: HandlerSpec | None) -> None:
    """Raise UsageError if there is no such function or program; a module is imported in a process of its own.

    Takes as long as that import, 60 s at most. Not to be called on an event loop.
    """
    if handler is None:
        return
    if handler.url is not None:
        _check_url(handler.url)
        return
    if handler.command is not None:
        _check_command(handler.command)
        return
    try:
        asyncio.run(_try(handler))
    except HandlerEnded as ended:
        raise UsageError(f"{handler.option}: the process that imports it ended: {ended}") from None


async def _try(handler: HandlerSpec) -> None:
    async with HandlerProcess.running(handler, _ignore):
        pass


def _ignore(_number: str, _line: str) -> None:
    """What a module prints when it is imported is seen when the worker imports it."""


def _check_url(url: str) -> None:
    """Nobody is asked there: a receiver that is down is waited for."""
    if not is_http_url(url):
        raise UsageError("--on-message-url is no http:// or https:// URL")


def _check_command(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--on-message-exec: {error}") from None
    if not words:
        raise UsageError("--on-message-exec is empty: give a command")
    if missing := not_there(words[0]):
        raise UsageError(f"--on-message-exec: {missing}")
