"""The command line: parse, call an action, render."""

import contextlib
import gc
import io
import os
import resource
import sys

from wa_sessions.errors import ExitCode, WaSessionsError
from wa_sessions.plain_text import one_line

COMPLETE_VARIABLE = "_WA_SESSIONS_COMPLETE"


def main() -> None:
    """Run the command ``wa-sessions`` and exit with its status; never a traceback."""
    _leave_no_core()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name may be of letters that the terminal lacks
    code = execute(sys.argv[1:])
    gc.freeze()  # the process ends: looking for garbage first would cost 20 ms
    sys.exit(code)


def _leave_no_core() -> None:
    """No core dump of this process and those that it starts: it would hold keys.

    One byte and not none: the kernel then leaves out a program that takes dumps through a pipe, too (``core(5)``).
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 0 if most == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def execute(arguments: list[str]) -> int:
    """Run one command; the exit status. Errors go to stderr, one line each."""
    from wa_sessions import config

    config.begin(_complain)
    if shell := os.environ.get(COMPLETE_VARIABLE):
        return _suggest(shell, arguments)
    from wa_sessions.cli.configured import words_of_command

    if words_of_command(arguments)[:1] == ["check"]:
        return _plugin(arguments)
    try:
        code = _invoke(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except WaSessionsError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _abandon_stdout()
        return ExitCode.FAILED
    except OSError as error:
        return _internal(error) if _is_debugging() else _failed(error)
    except Exception as error:  # noqa: BLE001  # an operator gets one line, a developer the traceback
        return _internal(error)
    return code


def _invoke(arguments: list[str]) -> int:
    import typer

    try:
        return _call(arguments)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except _usage_errors() as error:
        _explain_usage(error)
        return ExitCode.USAGE


def _call(arguments: list[str]) -> int:
    from wa_sessions.cli.app import root

    return int(root().main(arguments, prog_name="wa-sessions", standalone_mode=False) or 0)


def _plugin(arguments: list[str]) -> int:
    """``check`` speaks Nagios: whatever keeps it from a verdict is UNKNOWN, told in one line on stdout."""
    try:
        code = _call(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # a crash must not look like a verdict
        from wa_sessions.health.checking import Verdict
        from wa_sessions.wording.verdicts import plugin_line

        text = error.format_message() if hasattr(error, "format_message") else str(error) or type(error).__name__
        text = one_line(_masked(text))
        with contextlib.suppress(OSError, AttributeError):
            sys.stdout.write(plugin_line(Verdict.UNKNOWN, text) + "\n")
            sys.stdout.flush()
        if isinstance(error, BrokenPipeError):
            _abandon_stdout()
        return Verdict.UNKNOWN
    return code


def _suggest(shell: str, arguments: list[str]) -> int:
    """Answer a shell's Tab key; whatever fails, the shell shows nothing."""
    with contextlib.suppress(Exception, KeyboardInterrupt, SystemExit):
        from wa_sessions.cli.setup.suggest import answer

        sys.stdout.write(answer(shell.removeprefix("complete_"), arguments))
        sys.stdout.flush()
    return ExitCode.DONE


def _usage_errors() -> type[Exception]:
    """Click's base of them, which typer keeps in a place of its own that differs between its releases."""
    import typer

    kinds = (kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    return next(kind for kind in kinds if issubclass(kind, Exception))


def _explain_usage(error: BaseException) -> None:
    """Click's complaint in our form, or the help that it shows where arguments are missing altogether."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        sys.stderr.write(context.get_help() + "\n")
        return
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if context is None:
        _complain(message)
        return
    from wa_sessions.cli.app import with_way_on

    _complain(with_way_on(message, context.command_path))
    sys.stderr.write(f"Try: {context.command_path} --help\n")


def _failed(error: OSError) -> int:
    """A full disk, a file that is not there: the machine's fault, told in its words."""
    _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    return ExitCode.FAILED


def _internal(error: Exception) -> int:
    if _is_debugging():
        import traceback

        traceback.print_exception(error)
        return ExitCode.FAILED
    _complain(
        f"internal error: {type(error).__name__}: {_masked(str(error))}; run with WA_SESSIONS_DEBUG=1 for details"
    )
    return ExitCode.FAILED


def _is_debugging() -> bool:
    from wa_sessions import config
    from wa_sessions.config.table import DEBUG

    with contextlib.suppress(WaSessionsError):
        return config.value(DEBUG)
    return False


def _masked(text: str) -> str:
    """The text without passwords of a URL or of ``name=value`` words."""
    import re

    return re.sub(r"password=\S+", "password=***", re.sub(r"://[^\s@]*@", "://***@", text))


def _complain(message: str) -> None:
    """One line on stderr, whatever characters were in what it quotes."""
    sys.stderr.write(f"wa-sessions: {one_line(message)}\n")


def _abandon_stdout() -> None:
    """Let the interpreter's last flush of stdout go nowhere: its reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
