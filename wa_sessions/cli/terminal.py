"""Writing to people and to programs: data to stdout, everything else to stderr; asking, and opening the database."""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from wa_sessions import config, plain_text
from wa_sessions.cli.options import Output
from wa_sessions.config.table import COLUMNS, NO_COLOR
from wa_sessions.errors import NotConfirmed, WaSessionsError, with_words
from wa_sessions.plain_text import cell
from wa_sessions.plain_text import plain as plain

if TYPE_CHECKING:
    from wa_sessions.actions.connection import Opened

NARROWEST, USUAL = 40, 80
_OURS = os.urandom(8).hex()


@contextlib.contextmanager
def opened(database_url: str | None, *, may_make: bool = False) -> "Iterator[Opened]":
    """The database for one command; an embedded one that had to be made is told of."""
    from wa_sessions.actions.connection import open_database

    with open_database(database_url, embedded="create" if may_make else "existing") as found:
        if found.made_in:
            say(f"no database was configured: made an embedded one in {found.made_in}")
        elif found.database.target.folder:
            say(f"the database is the embedded one in {found.database.target.folder}")
        if found.database.target.shows_password:
            instead = "set WA_SESSIONS_DATABASE_URL, or leave it out and keep it in ~/.pgpass"
            say_password_is_shown("--database-url", instead)
        yield found


def at_terminal() -> bool:
    """Whether a person sits there who can be asked."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed; raises NotConfirmed."""
    if not yes:
        _require_answer(question, "[y/N]", {"y", "yes"})


def confirm_count(question: str, count: int, *, yes: bool) -> None:
    """Have the count typed before something is done to many phones; raises NotConfirmed."""
    if not yes:
        _require_answer(question, f"Type {count} to go on:", {str(count)})


def _require_answer(question: str, how: str, right: set[str]) -> None:
    if not at_terminal():
        raise NotConfirmed(f"not confirmed: {question} Say --yes, as there is no terminal to ask at")
    sys.stderr.write(f"{plain(question)} {how} ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in right:
        raise NotConfirmed("not confirmed: nothing was changed")


@contextlib.contextmanager
def progress(what: str, *, wanted: bool = True) -> "Iterator[Callable[[int, int], None]]":
    """A progress bar on stderr, for people at a terminal."""
    if not (wanted and sys.stderr and sys.stderr.isatty()):
        yield lambda _done, _all: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, all_: bar.update(task, completed=done, total=all_)


def raise_each(*errors: WaSessionsError | None) -> None:
    """Raise what went wrong beside a result that was shown: the first error, with the words of all."""
    raised = [error for error in errors if error is not None]
    if raised:
        first, *others = raised
        raise with_words(first, "; ".join(map(str, others))) if others else first


def say(message: str) -> None:
    """A line for the person on stderr."""
    sys.stderr.write(f"wa-sessions: {plain(message)}\n")


def say_password_is_shown(option: str, instead: str) -> None:
    """Warn of a password in the command line, and say what to do ``instead``."""
    say(f"everybody on this machine can read the password in {option} (ps): {instead}")


def print_line(text: str) -> None:
    """Lines of a story on stderr."""
    sys.stderr.write(f"{clean(text)}\n")
    sys.stderr.flush()


def show(output: Output, data: Mapping[str, Any], lines: Iterable[str]) -> None:
    """One result: an object, a header and a row, or ``lines`` for people."""
    match output:
        case Output.JSON:
            write(as_json(data))
        case Output.TSV:
            write(*tsv([data], list(data)))
        case Output.TABLE:
            write(*lines)


def stream(output: Output, names: Sequence[str], results: Iterable[tuple[Mapping[str, Any], Iterable[str]]]) -> None:
    """Results as they come: each an object on one line, a row below one header, or its lines for people."""
    if output is Output.TSV:
        write("\t".join(names))
    for data, lines in results:
        match output:
            case Output.JSON:
                write(as_json(data, indent=None))
            case Output.TSV:
                write(tsv([data], names)[1])
            case Output.TABLE:
                write(*lines)
        if sys.stdout is not None:
            sys.stdout.flush()


def write(*lines: str) -> None:
    """Data to stdout, clean of control characters but for our own."""
    if sys.stdout is not None and lines:
        sys.stdout.write(clean("\n".join(lines)) + "\n")


def clean(text: str) -> str:
    """The text as it may reach a terminal, whoever wrote it; sequences that ``ours`` has marked work."""
    parts = re.split(rf"\x1b{_OURS}(\[[0-9;]*[A-Za-z])", text)
    return "".join(f"\x1b{part}" if n % 2 else plain_text.lines(part) for n, part in enumerate(parts))


def ours(text: str) -> str:
    """Control sequences of our own, on their way to ``write``: marked as nobody else can."""
    return text.replace("\x1b", f"\x1b{_OURS}")


def as_json(data: Mapping[str, Any] | list[dict[str, Any]], *, indent: int | None = 2) -> str:
    """One object, or a list of them; without ``indent`` on one line."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return plain_text.as_json(data, indent=indent, ascii_only=not unicode)


def tsv(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """A header and rows; tabs and line ends inside values become spaces, None is empty, and no value is a formula."""
    return ["\t".join(names), *("\t".join(cell(row[name]) for name in names) for row in rows)]


def colour(text: str, code: str) -> str:
    """Colour for people at a terminal who want it."""
    if not (sys.stdout and sys.stdout.isatty()) or config.value(NO_COLOR) or is_dumb():
        return text
    return ours(f"\x1b[{code}m") + text + ours("\x1b[0m")


def is_dumb(but_named: str = "unnamed") -> bool:
    """Whether the terminal can do nothing but print; one that is not named counts as ``but_named``."""
    return os.environ.get("TERM", but_named) in ("", "dumb", "unknown")


def width() -> int:
    """How wide text may be: the terminal, or 80 columns where there is none; ``COLUMNS`` goes first."""
    return _columns() or USUAL


def table_width() -> int:
    """How wide a table may be: without a terminal as wide as it is, for nobody there misses what was cut."""
    return _columns() or sys.maxsize


def room(stream: TextIO | None) -> tuple[int, int] | None:
    """How many lines and columns the terminal has that a stream leads to; None where there is none."""
    if stream is None or not stream.isatty():
        return None
    with contextlib.suppress(OSError, ValueError):
        size = os.get_terminal_size(stream.fileno())
        if size.lines > 0 and size.columns > 0:
            return size.lines, size.columns
    return None


def _columns() -> int | None:
    asked = config.value(COLUMNS)
    if asked is None and sys.stdout and sys.stdout.isatty():
        asked = shutil.get_terminal_size((USUAL, 24)).columns
    return asked and max(NARROWEST, asked)
