"""A whole installation on one machine: a database, a WhatsApp server, and the installed ``wa-sessions``."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from support import warm
from support.children import children
from support.waiting import PATIENCE, Record

from wa_sessions.actions.connection import open_database
from wa_sessions.actions.sessions.add import add_phone
from wa_sessions.emulator import Device, Emulator, Phone

PROGRAM = Path(sys.executable).with_name("wa-sessions")
HANDLER = "support.handlers:tell"
Line = dict[str, Any]
FAULTS = {"fault", "faulted", "service_failed", "unknown_frame", "internal_error", "events_dropped"}
"""What a worker says of itself, never of the world."""


class Worker:
    """``wa-sessions run``, or another command that runs a session, as a process; its log is read as it comes."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], command: str = "run") -> None:
        self.lines = Record[Line]()
        self.process = warm.Popen(
            [str(PROGRAM), command, *arguments, "--log-format", "json"],
            env=environment,
            stdin=warm.DEVNULL,
            stdout=warm.PIPE,
            stderr=warm.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def expect(
        self, event: str, phone: str | None = None, *, containing: str = "", since: int = 0, timeout: float = PATIENCE
    ) -> Line:
        return self.lines.wait(
            lambda line: (
                line.get("event") == event and phone in (None, line.get("phone")) and containing in line["message"]
            ),
            since=since,
            timeout=timeout,
        )

    def received(self, phone: str, text: str, *, since: int = 0, timeout: float = PATIENCE) -> None:
        self.expect("output", phone, containing=f"received: {text}", since=since, timeout=timeout)

    def texts(self, phone: str, *, since: int = 0) -> list[str]:
        outputs = [line for line in self.lines.since(since) if line.get("event") == "output"]
        return [line["message"].partition("received: ")[2] for line in outputs if line["phone"] == phone]

    def mark(self) -> int:
        return self.lines.mark()

    def events(self, phone: str, *, since: int = 0) -> list[str]:
        return [line["event"] for line in self.lines.since(since) if line.get("phone") == phone and "event" in line]

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self._ended(timeout)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._ended(PATIENCE)

    def wait(self, timeout: float = PATIENCE) -> int:
        return self._ended(timeout)

    def children(self) -> list[int]:
        return children(self.process.pid)

    def hosts(self) -> list[int]:
        """The processes that have sockets to WhatsApp, or are about to."""
        return children(self.process.pid, "worker.hosts.main")

    def handlers(self) -> list[int]:
        """The processes that messages are handled in."""
        return children(self.process.pid, "worker.delivery.")

    def until_hosts(self, count: int, timeout: float = PATIENCE) -> None:
        """An empty one ends after 10 s, one that paired at once."""
        deadline = time.monotonic() + timeout
        while len(self.hosts()) != count:
            assert time.monotonic() < deadline, f"{len(self.hosts())} hosts, not {count}"
            time.sleep(0.05)

    def _ended(self, timeout: float) -> int:
        code = self.process.wait(timeout)
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        return code

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            try:
                self.lines.add(json.loads(line))
            except ValueError:
                self.lines.add({"event": "raw", "message": line.rstrip()})


class Installation:
    """Where operators, workers and phones meet."""

    def __init__(self, emu: Emulator, url: str) -> None:
        self.emu = emu
        self.url = url
        self.phones: dict[str, Phone] = {}
        self.devices: dict[str, Device] = {}
        self.workers: list[Worker] = []

    # ------------------------------------------------------------------------------------------ the operator

    def environment(self, **more: str) -> dict[str, str]:
        tests = str(Path(__file__).parents[1])
        client = self.emu.client_env()
        client["PYTHONPATH"] = f"{client['PYTHONPATH']}{os.pathsep}{tests}"
        return {**os.environ, **client, "WA_SESSIONS_DATABASE_URL": self.url, **more}

    def cli(self, *arguments: str, code: int = 0) -> warm.CompletedProcess[str]:
        done = warm.run(
            [str(PROGRAM), *arguments],
            env=self.environment(),
            stdin=warm.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def json(self, *arguments: str) -> dict[str, Any]:
        return dict(json.loads(self.cli(*arguments, "--json").stdout))

    def stats(self, number: str) -> dict[str, Any]:
        return self.json("stats", number)

    def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        with psycopg.connect(self.url, row_factory=dict_row, autocommit=True) as conn:
            cursor = conn.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def until(self, query: str, *values: object, timeout: float = PATIENCE) -> list[dict[str, Any]]:
        """The rows of a query as soon as there are any."""
        deadline = time.monotonic() + timeout
        while not (rows := self.sql(query, *values)):
            assert time.monotonic() < deadline, f"no row of {query}"
            time.sleep(0.05)
        return rows

    def row(self, number: str) -> dict[str, Any]:
        (row,) = self.sql(
            """SELECT * FROM "OrganizationPhone" WHERE split_part(split_part("phoneJid", '@', 1), ':', 1) = %s""",
            number,
        )
        return row

    # ------------------------------------------------------------------------------------ phones and workers

    def add(self, *numbers: str) -> None:
        """Make phones known to the database and to the WhatsApp server."""
        with open_database(self.url) as opened:
            for number in numbers:
                add_phone(opened, number, 1)
                self.phones[number] = self.emu.add_phone(number, f"phone {number}")

    def run(self, *arguments: str, handler: bool = True, command: str = "run", **environment: str) -> Worker:
        handlers = ("--on-message", HANDLER) if handler else ()
        worker = Worker((*arguments, *handlers), self.environment(**environment), command)
        self.workers.append(worker)
        return worker

    def scan(self, worker: Worker, number: str, *, since: int = 0) -> Device:
        """Hold the phone before the QR that stands in the database."""
        worker.expect("qr", number, since=since)
        self.devices[number] = self.emu.scan(self.row(number)["qrCode"], self.phones[number])
        return self.devices[number]

    def paired(self, *numbers: str, arguments: tuple[str, ...] = ()) -> Worker:
        """Phones that are added, run by one worker, and connected."""
        self.add(*numbers)
        worker = self.run(*numbers, *arguments)
        for number in numbers:
            self.scan(worker, number)
        for number in numbers:
            worker.expect("connected", number)
        return worker

    def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        faults = [line for worker in self.workers for line in worker.lines.since() if line.get("event") in FAULTS]
        assert not faults
