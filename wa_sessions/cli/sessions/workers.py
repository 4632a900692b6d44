"""``workers``, ``drain`` and ``move``: who runs which phones, and having that changed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wa_sessions.cli import terminal
from wa_sessions.cli.options import (
    WORKER_HELP,
    DatabaseUrl,
    Output,
    PhoneArgument,
    Reason,
    ResultOptions,
    ScopeOptions,
    duration,
)
from wa_sessions.cli.table import Column, table
from wa_sessions.cli.watch.stats import wrapped
from wa_sessions.health.workers import WorkerState
from wa_sessions.keys.phone_ref import parse_phone
from wa_sessions.wording import counted
from wa_sessions.wording.numbers import lasted

if TYPE_CHECKING:
    from wa_sessions.actions.sessions.drain import Drained, DrainPlan
    from wa_sessions.actions.sessions.move import Moved
    from wa_sessions.actions.sessions.workers import FleetWorker, WorkerList

_COLUMNS = (
    Column("WORKER"),
    Column("SCOPE", drops=5),
    Column("CONNECTED", right=True),
    Column("STATE"),
    Column("SEEN", right=True, drops=4),
    Column("UP", right=True, drops=3),
    Column("VERSION", flexible=True, drops=2),
    Column("HOSTS", right=True, flexible=True, drops=1),
)
_NAMES = (
    *("id", "worker", "host", "pid", "version", "scope", "state", "draining", "phones", "connected", "hosts"),
    *("lease_seconds", "silent_seconds", "free_in_seconds", "started_at", "heartbeat_at"),
)
_COLOURS = {
    WorkerState.SERVING: "32",
    WorkerState.DRAINING: "33",
    WorkerState.SILENT: "1;31",
    WorkerState.DEAD: "2",
    WorkerState.GONE: "2",
}
_LONGEST_HOST = 20
Timeout = Annotated[str, typer.Option("--timeout", metavar="60s", help="How long to wait: 90s, 10m.")]


def workers(
    *,
    result: ResultOptions,
    database_url: DatabaseUrl = None,
) -> None:
    """List the workers. Which phones they share, how many they have, and whether they live.
    \f
    `CONNECTED` tells of how many of its phones the session is: of none where it was silent for 0.7 of its lease, as its
    processes have ended themselves by then. `STATE` is `serving`, `standing by` (it has no phone and takes the next
    that is free), `draining`, `silent`, `dead` (silent for a whole lease: others take its phones) or `gone` (its
    process was on this machine and was killed). What is dead is forgotten when a worker starts an hour later, if others
    have its phones. `SEEN` is the time since its last sign of life, `UP` since its start, `HOSTS` are its processes
    with sessions. Below the table stand phones that no worker runs.

    JSON: `workers`, each with `id`, `worker` (its name for `drain` and `move`), `host`, `pid`, `version`, `scope`
    (`all`, `org:N`, null: phones that it was given by name), `state` (`serving`, `standing_by`, `draining`, `silent`,
    `dead`, `gone`), `draining`, `handles` (whether messages go to a handler), `phones`, `connected`, `hosts`,
    `lease_seconds` (null: a version that takes no part in `drain` and `move`), `silent_seconds`, `free_in_seconds`
    (until others may take its phones, where it is silent), `started_at`, `heartbeat_at`; and `phones_without_worker`,
    each with `phone_id`, `phone`, `organization_id`.

    Exit: 0 (also for none), 1 (no schema), 2, 4.
    """
    output = result.chosen
    from wa_sessions.actions.sessions.workers import list_workers

    with terminal.opened(database_url) as opened:
        found = list_workers(opened)
    match output:
        case Output.JSON:
            terminal.write(terminal.as_json(found.as_dict()))
        case Output.TSV:
            terminal.write(*terminal.tsv([one.as_dict() for one in found.workers], _NAMES))
        case Output.TABLE:
            terminal.write(*_listed(found, datetime.now(UTC)))


def drain(
    worker: Annotated[str, typer.Argument(metavar="WORKER", help=WORKER_HELP)],
    *,
    undo: Annotated[bool, typer.Option("--undo", help="Have it take phones again.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where nobody could take some of its phones: it keeps those.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has no phones.")] = True,
    timeout: Timeout = "60s",
    reason: Reason = None,
    result: ResultOptions,
    database_url: DatabaseUrl = None,
) -> None:
    """Empty a worker before it is stopped. Its phones go to others, and it takes none until that is undone.
    \f
    Phones go a few at a time. It refuses where no other live worker could take one of them; with `--force` the worker
    keeps those that nobody else could take, and they have no worker once it is stopped. Ctrl-C, or a timeout, ends the
    waiting and not the drain. The history has one operation of all its phones, without keys to restore.

    JSON: `worker_id`, `worker`, `draining`, `changed` (false: it was so already), `phones` (at the beginning), `left`,
    `kept` (so many nobody else could take), `ended` (it is not there any more), `seconds`, `operation` (null where
    nothing changed).

    Exit: 0 (also where it was so already), 1 (not done in time, a dead worker, one of an older version, no schema), 2,
    3 (no such worker, or more than one), 4, 5 (nobody could take its phones).
    """
    output, limit = result.chosen, duration(timeout)
    from wa_sessions.actions.sessions import drain as action

    with terminal.opened(database_url) as opened:
        if undo:
            done = action.undo(opened, worker, reason=reason)
        else:
            planned = action.plan(opened, worker)
            if force or not planned.homeless:
                terminal.say(_intention(planned))
            try:
                done = action.begin(opened, planned, force=force, reason=reason)
                if wait:
                    done = action.wait(opened, done, limit.total_seconds(), _follow)
            except KeyboardInterrupt:
                terminal.say(
                    f"if it drains it goes on; to take that back: wa-sessions drain {planned.worker.name} --undo"
                )
                raise
    terminal.show(output, _drained(done), _drained_lines(done))


def move(
    phone: PhoneArgument,
    *,
    worker: Annotated[str, typer.Option("--to", metavar="WORKER", help=WORKER_HELP)],
    timeout: Timeout = "30s",
    result: ResultOptions,
    where: ScopeOptions,
) -> None:
    """Have another worker run a phone. The session closes in one and opens in the other.
    \f
    To another database see `export`. What is not done in time is not asked for any more. For how long nobody had the
    phone is told as the database saw it, until the other worker had its lease; then it connects.

    JSON: `phone_id`, `phone`, `worker_id`, `worker`, `worker_before` (null: nobody had it), `already`, `seconds`,
    `alone_seconds` (at most for so long nobody had it; null where nobody had it before, or nothing was done).

    Exit: 0 (also where it has it already), 1 (not done in time; a worker that is silent, drains, serves other phones or
    is of an older version; no schema), 2, 3 (no such phone or worker), 4, 5 (not a `neonize` phone).
    """
    output, ref, limit = result.chosen, parse_phone(phone), duration(timeout)
    from wa_sessions.actions.sessions.move import move as action

    with terminal.opened(where.database_url) as opened:
        done = action(opened, ref, worker, where.org, timeout=limit.total_seconds())
    data = {
        "phone_id": done.phone.id,
        "phone": done.phone.number,
        "worker_id": str(done.worker.id),
        "worker": done.worker.name,
        "worker_before": done.worker_before,
        "already": done.already,
        "seconds": round(done.seconds, 2),
        "alone_seconds": None if done.alone_seconds is None else round(done.alone_seconds, 2),
    }
    terminal.show(output, data, _moved(done))


# ------------------------------------------------------------------------------------------------ workers


def _listed(found: "WorkerList", now: datetime) -> list[str]:
    if not found.workers:
        return ["no workers: start one with wa-sessions run"]
    rows = [_row(one, now) for one in found.workers]
    paint = [None] * 3 + [_painted] + [None] * 4
    notes = [*_notes(found), *_alone(found)]
    lines = table(_COLUMNS, rows, terminal.table_width(), paint)
    return [*lines, "", *notes] if notes else lines


def _row(one: "FleetWorker", now: datetime) -> tuple[str, ...]:
    return (
        short_name(one.name),
        one.scope_words,
        f"{one.connected}/{one.phones}",
        one.state.replace("_", " "),
        lasted(one.silent_for),
        lasted(max(((now if one.state.lives else one.heartbeat_at) - one.started_at).total_seconds(), 0.0)),
        one.version,
        "-" if one.hosts is None else str(one.hosts),
    )


def short_name(worker: str) -> str:
    """A worker's name with as much of its host as has room in a table.

    >>> short_name("messenger-backend-of-the-north/4711")
    'messenger-backend-o…/4711'
    """
    host, slash, process = worker.rpartition("/")
    return (host if len(host) <= _LONGEST_HOST else f"{host[: _LONGEST_HOST - 1]}…") + slash + process


def _painted(text: str) -> str:
    return terminal.colour(text, _COLOURS.get(WorkerState(text.replace(" ", "_")), "0"))


def _notes(found: "WorkerList") -> Iterator[str]:
    """What the word in the table leaves open."""
    for one in found.workers:
        silence = f"silent for {lasted(one.silent_for)}"
        when = f" in {lasted(one.free_in)}" if one.free_in else ""
        free = f": its phones can be taken{when}" if one.held else ""
        match one.state:
            case WorkerState.SILENT:
                yield from wrapped(f"{one.name} is {silence}{free}")
            case WorkerState.DEAD:
                yield from wrapped(f"{one.name} is dead, {silence}{free}")
            case WorkerState.GONE:
                others = ", and others take its phones" if one.held else ""
                yield from wrapped(f"{one.name} is gone: it was killed{others}")
            case WorkerState.DRAINING if not one.phones:
                yield from wrapped(f"{one.name} has given all its phones away: it can be stopped")
        if one.state.lives and one.lease_seconds is None:
            yield from wrapped(f"{one.name} is of an older version: it takes no part in drain and move")


def _alone(found: "WorkerList") -> Iterator[str]:
    """The phones that nobody runs, and what to do: if somebody should have taken them, the phone tells why."""
    from wa_sessions.actions.sessions.workers import numbers, takers

    if not found.alone:
        return
    uncovered = [phone for phone in found.alone if not takers(phone, found.workers)]
    has = "has" if len(found.alone) == 1 else "have"
    following = "wa-sessions run" if uncovered else f"wa-sessions stats {found.alone[0].number}"
    yield from wrapped(f"{counted(len(found.alone), 'phone')} {has} no worker ({numbers(found.alone)}): {following}")


# -------------------------------------------------------------------------------------------------- drain


def _intention(planned: "DrainPlan") -> str:
    phones, name = counted(len(planned.phones), "phone"), planned.worker.name
    if not planned.phones:
        return f"{name} has no phones, and will take none"
    others = ", ".join(one.name for one in planned.takers[:3]) + (", …" if len(planned.takers) > 3 else "")
    alone = f", but for {len(planned.homeless)} that nobody else could take" if planned.homeless else ""
    to = f" to {others}" if planned.takers else ""
    unheard = planned.worker.handles and planned.takers and not any(one.handles for one in planned.takers)
    loses = "; NOBODY THERE HAS A HANDLER FOR MESSAGES" if unheard else ""
    return f"{name} gives its {phones} away{to}{alone}, and will take none{loses}"


def _follow(left: int, of: int) -> None:
    if terminal.at_terminal():
        terminal.print_line(f"{left} of {counted(of, 'phone')} left")


def _drained(done: "Drained") -> dict[str, Any]:
    return {
        "worker_id": str(done.worker.id),
        "worker": done.worker.name,
        "draining": done.draining,
        "changed": done.changed,
        "phones": done.phones,
        "left": done.left,
        "kept": done.kept,
        "ended": done.ended,
        "seconds": round(done.seconds, 2),
        "operation": done.operation,
    }


def _drained_lines(done: "Drained") -> Iterator[str]:
    name = done.worker.name
    if not done.draining:
        yield f"{name} takes phones again" if done.changed else f"{name} was not draining: nothing was changed"
    elif done.ended:
        yield f"{name} has ended"
    elif done.left > done.kept:
        yield f"{name} is draining: {counted(done.left, 'phone')} left; wait for it with wa-sessions drain {name}"
    elif done.left:
        yield f"{name} has {counted(done.left, 'phone')} left, which will have no worker once it is stopped"
    else:
        yield f"{name} has no phones any more: it can be stopped"
    if done.draining and not done.ended:
        yield f"undo: wa-sessions drain {name} --undo"


# --------------------------------------------------------------------------------------------------- move


def _moved(done: "Moved") -> Iterator[str]:
    number, name = done.phone.number, done.worker.name
    if done.already:
        yield f"{name} has {number} already"
        return
    alone = "" if done.alone_seconds is None else f"; nobody had it for {max(done.alone_seconds, 0.1):.1f} s at most"
    yield f"{name} has {number} now (before: {done.worker_before or 'nobody'}){alone}"
