"""``top``: the fleet, live, on the whole screen."""

import contextlib
import sys

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import ScopeOptions
from wa_sessions.errors import UsageError, WaSessionsError


def top(*, where: ScopeOptions) -> None:
    """Watch all phones live, the worst first. Full screen; `?` shows its keys.

    Sort, filter, look at a phone's history, link it again or close it, all from the keyboard.
    \f
    It needs `wa-sessions[top]`, a terminal, and no right but SELECT on the backend's tables; without the schema
    `wa_sessions` every phone that is not `logged_out` is `unknown`. `down` are phones that are logged out, that no
    worker runs, or whose worker cannot connect them; the other words are severities. Errors a minute are counted
    errors of the last 30 minutes. What closes or links a phone asks first, and is what `force-close` and `relink` do.
    A database that goes away is told of, and looked for until it answers.

    Exit: 0 (`q`, or SIGTERM), 1 (Textual is not installed), 2 (no terminal), 4 (no database at the start), 130
    (Ctrl-C).

    Replaces: `watch wa-sessions sessions`.
    """
    if not _full_screen():
        raise UsageError("top needs a terminal; for pipes and files: wa-sessions sessions")
    try:
        from wa_sessions.cli.watch.top.app import TopApp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise WaSessionsError("top needs one more package: pip install 'wa-sessions[top]'") from None

    with terminal.opened(where.database_url) as opened:
        view = TopApp(opened, where.org)
        view.run(mouse=False)
    for line in view.unfinished:
        terminal.say(line)
    if view.broken:
        raise view.broken
    if view.return_code:
        raise typer.Exit(view.return_code)


def _full_screen() -> bool:
    """Whether there is a terminal on all sides, and one that can move its cursor."""
    with contextlib.suppress(ValueError):  # a closed stream
        sides = [stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)]
        return all(sides) and not terminal.is_dumb("dumb")
    return False
