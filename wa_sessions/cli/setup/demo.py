"""``demo``: the whole story on this machine alone."""

import textwrap
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from wa_sessions.cli import terminal
from wa_sessions.cli.options import Output, ResultOptions
from wa_sessions.cli.table import Column, table
from wa_sessions.errors import WaSessionsError

if TYPE_CHECKING:
    from wa_sessions.actions.setup.demo.play import Step
    from wa_sessions.actions.setup.demo.watch import Moment

_NAMES = {"77051234567": "Alice", "77057654321": "Bob"}
_TOLD_ELSEWHERE = {"stopping", "handler_unfinished"}


def demo(*, result: ResultOptions) -> None:
    """Watch sessions break and mend, on this machine alone.

    A private database, a WhatsApp server on loopback, and real clients with real crypto: two phones pair and talk, a
    damaged message is recovered, sessions and app state are repaired, a session that is beyond repair is closed and
    paired anew, a worker is replaced in the middle of messages, and another one takes over from one that is killed.
    Under a minute; nothing is left behind.
    \f
    It needs `wa-sessions[all]`.

    JSON: `ok`, `seconds`, `steps`, each with `name`, `ok`, `seconds`, `error`.

    Exit: 0, 1 (names the step that did not happen).
    """
    how = result.chosen
    from wa_sessions.actions.setup.demo.play import run_demo

    began = time.monotonic()
    steps = run_demo(_scene, _moment)
    ok = all(step.ok for step in steps)
    data = {"ok": ok, "seconds": round(time.monotonic() - began, 2), "steps": [asdict(step) for step in steps]}
    if how is Output.TSV:
        terminal.write(*terminal.tsv([asdict(step) for step in steps], ["name", "ok", "seconds", "error"]))
    else:
        terminal.show(how, data, ["", *_table(steps)])
    if failed := next((step for step in steps if not step.ok), None):
        raise WaSessionsError(f"the demo stopped at {failed.name!r}: {failed.error}")


def _scene(name: str) -> None:
    terminal.print_line(f"\n{name}")


def _moment(moment: "Moment") -> None:
    if moment.event not in _TOLD_ELSEWHERE:
        head = f"  {moment.seconds:5.1f} s  {_NAMES.get(moment.phone or '', ''):<5}  "
        first, *more = textwrap.wrap(moment.text, terminal.width() - len(head), break_on_hyphens=False) or [""]
        terminal.print_line("\n".join([head + first, *(" " * len(head) + line for line in more)]))


def _table(steps: "list[Step]") -> list[str]:
    columns = [Column("step", flexible=True), Column("result"), Column("seconds", right=True)]
    rows = [[step.name, "ok" if step.ok else "FAILED", f"{step.seconds:.1f}"] for step in steps]
    paint = [None, lambda text: terminal.colour(text, "32" if text.strip() == "ok" else "31"), None]
    return table(columns, rows, terminal.table_width(), paint)
