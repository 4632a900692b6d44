"""How long the way through the code is: one real run of each verb, traced.

    WA_SESSIONS_DATABASE_URL=postgresql://… .venv/bin/python scripts/walk.py [--json]

The database has to be empty: the backend's tables, the schema, neonize's tables and phones with real keys (those of
``tests/data``) are made in it. Each verb runs in this process, from the command line's arguments to its last line. It
has run as ``--dry-run`` before, so that everything is imported: importing is no part of the walk.

- calls: of functions of ``wa_sessions``, those that Python makes for a dataclass too; a generator that goes on is one.
- modules: those of ``wa_sessions`` in which something is called.
- switches: calls from one of these modules into another, whatever libraries lie between.
- statements: what the server is sent, by libpq's own trace, without what only begins and ends transactions.
- transactions: how many are begun.
- conversions: of a phone's keys to the other side's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import psycopg
from psycopg.pq import Trace
from support import corpus

from wa_sessions import cli
from wa_sessions.db import backend, migrate, settings, whatsmeow
from wa_sessions.db.gateway import Database
from wa_sessions.worker.hosts.store import prepare_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

PACKAGE = "wa_sessions"
CONVERSIONS = ("to_whatsmeow", "to_baileys")
CONTROL = ("COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")
OURS = "77059999999"


@dataclass(frozen=True)
class Walk:
    """What one run came to."""

    calls: int
    modules: int
    switches: int
    statements: int
    transactions: int
    conversions: int | None = None


@dataclass
class Calls:
    """Counts calls of the package's functions."""

    modules: set[str] = field(default_factory=set)
    calls: int = 0
    switches: int = 0
    conversions: int = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        sys.setprofile(self._event)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _event(self, frame: FrameType, event: str, _argument: object) -> None:
        module = _module(frame)
        if event != "call" or module is None:
            return
        self.calls += 1
        self.modules.add(module)
        self.conversions += frame.f_code.co_name in CONVERSIONS
        caller = frame.f_back
        while caller is not None and _module(caller) is None:
            caller = caller.f_back
        self.switches += caller is not None and _module(caller) != module


def _module(frame: FrameType) -> str | None:
    name: str = frame.f_globals.get("__name__", "")
    return name if name.partition(".")[0] == PACKAGE else None


@dataclass
class Statements:
    """Reads libpq's traces of all connections that are made."""

    sent: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        connect: Callable[..., Any] = vars(psycopg.Connection)["connect"].__func__
        with contextlib.ExitStack() as files:
            traces = []

            def traced(*arguments: Any, **options: Any) -> Any:
                conn = connect(*arguments, **options)
                traces.append(files.enter_context(tempfile.TemporaryFile("w+")))
                conn.pgconn.trace(traces[-1].fileno())
                conn.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
                return conn

            with mock.patch.object(psycopg.Connection, "connect", classmethod(traced)):
                yield
            for trace in traces:
                trace.seek(0)
                self.sent += _executed(trace)

    @property
    def statements(self) -> int:
        return sum(not _controls(text) for text in self.sent)

    @property
    def transactions(self) -> int:
        return sum(text.startswith("BEGIN") for text in self.sent)


def _executed(trace: Iterator[str]) -> Iterator[str]:
    """The statements of a trace: each that was sent whole, and each time that a parsed one was executed."""
    parsed = ""
    for line in trace:
        sender, _, message, *rest = [*line.rstrip("\n").split("\t", 3), "", "", ""][:4]
        text = rest[0].strip().partition('"')[2]
        if sender == "F" and message == "Query":
            yield text
        elif sender == "F" and message == "Parse":
            parsed = text.partition('" "')[2]
        elif sender == "F" and message == "Execute":
            yield parsed


def _controls(text: str) -> bool:
    return text.startswith(("BEGIN", *CONTROL))


def walked(*words: str, trial: bool = True, fails: bool = False) -> tuple[Walk, dict[str, Any]]:
    """Run a command, after a dry run of it, and count; with what it has said."""
    if trial:
        _execute(*words, "--dry-run")
    calls, statements = Calls(), Statements()
    with statements.counted(), calls.counted():
        code, said = _execute(*words)
    if code and not fails:
        raise SystemExit(f"{' '.join(words)} ended with {code}: {said}")
    counted = Walk(
        calls.calls,
        len(calls.modules),
        calls.switches,
        statements.statements,
        statements.transactions,
        calls.conversions or None,
    )
    return counted, json.loads(said)


def _execute(*words: str) -> tuple[int, str]:
    shown, told = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
        code = cli.execute([*words, "--json"])
    return code, shown.getvalue() or told.getvalue()


def prepare() -> None:
    """Everything that a backend and a worker make, and phones with keys. Raises SystemExit where something is there."""
    with Database.open(settings.resolve(None)) as database:
        with database.transaction() as conn:
            if backend.detect(conn).has_phones:
                raise SystemExit("this database is not empty: name another in WA_SESSIONS_DATABASE_URL")
            backend.create_tables(conn)
            migrate.upgrade(conn)
            whatsmeow.ensure_schema(conn)
            corpus.load(conn, backend.NEWEST)
            url = settings.store_url(conn, database.target, None)
        asyncio.run(prepare_store(url))


def walks(folder: Path) -> Iterator[tuple[str, Walk]]:
    """Each verb on a phone that it fits."""
    stopped, one, other, file = ("--process-stopped", "--yes"), corpus.PAIRED, corpus.SEVENTH, str(folder / "phone")
    yield "clean-app-state", walked("clean-app-state", one, *stopped)[0]
    yield "clean-sessions", walked("clean-sessions", one, *stopped)[0]
    yield "reset-status", walked("reset-status", one, "disconnected", "--yes")[0]
    walk, closed = walked("force-close", one, "--logout", *stopped)
    yield "force-close", walk
    yield "restore", walked("restore", closed["operation"], "--process-stopped")[0]
    yield "adopt", walked("adopt", other, *stopped)[0]
    yield "clean-app-state of our phone", walked("clean-app-state", other, "--yes")[0]
    yield "return", walked("return", other, "--yes")[0]
    yield "backup", walked("backup", one, f"{file}.saved", "--no-encryption", trial=False)[0]
    yield "restore --file", walked("restore", "--file", f"{file}.saved", "--overwrite", *stopped)[0]
    yield "export", walked("export", other, file, "--no-encryption", *stopped)[0]
    yield "import", walked("import", file, *stopped)[0]
    _execute("add", OURS, "--org", "1")
    yield "remove", walked("remove", OURS, "--yes")[0]
    yield "quarantine purge", walked("quarantine", "purge", "--older-than", "0s", "--yes")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="One object, by verb.")
    asked = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        found = dict(walks(Path(folder)))
    if asked.json:
        plain = {verb: {name: n for name, n in asdict(walk).items() if n is not None} for verb, walk in found.items()}
        print(json.dumps(plain, indent=2))
        return
    names = ("calls", "modules", "switches", "statements", "transactions", "conversions")
    print(f"| verb | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
    for verb, walk in found.items():
        cells = [str(getattr(walk, name) or "") for name in names]
        print(f"| `{verb}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
