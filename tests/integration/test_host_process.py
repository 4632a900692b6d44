"""A session host as a process, without WhatsApp: what it understands, how it ends, and the key store."""

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from support import warm
from support.children import children
from support.pooler import TransactionPooler
from support.waiting import PATIENCE

from wa_sessions.db import whatsmeow
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target, store_url
from wa_sessions.errors import DatabaseError
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.client import HostExit, HostProcess
from wa_sessions.worker.hosts.pool import MOST_FAILED, HostPool
from wa_sessions.worker.hosts.store import log_out, prepare_store
from wa_sessions.worker.hosts.watch import process_size, process_state
from wa_sessions.worker.ports import ClientLost, FromHost, RequestAnswered

ValueT = TypeVar("ValueT")
NOWHERE = "postgres://u:geheim@127.0.0.1:1/d?sslmode=disable"


@pytest.fixture(autouse=True)
def _started_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wa_sessions.worker.hosts.client.subprocess", warm)


class Told:
    """What one host told, in order."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[protocol.ClientEvent | protocol.HostEvent | HostExit] = asyncio.Queue()
        self.unknown = 0

    def on_frame(self, frame: protocol.ClientEvent | protocol.HostEvent) -> None:
        self.frames.put_nowait(frame)

    def on_unknown_frame(self) -> None:
        self.unknown += 1

    def on_exit(self, ended: HostExit) -> None:
        self.frames.put_nowait(ended)

    async def next(self, kind: type[ValueT]) -> ValueT:
        async with asyncio.timeout(PATIENCE):
            while not isinstance(frame := await self.frames.get(), kind):
                pass
            return frame


def with_host(work: Callable[[HostProcess, Told], Awaitable[None]]) -> None:
    async def run() -> None:
        told = Told()
        process = await HostProcess.spawn(told)
        try:
            await told.next(protocol.Alive)
            await work(process, told)
        finally:
            process.kill()
            await process.gone()

    asyncio.run(run())


def test_what_a_host_does_not_understand_ends_nothing() -> None:
    async def work(process: HostProcess, told: Told) -> None:
        for line in (b"\n", b"{}\n", b'{"frame": "Later"}\n', b"\xff\xfe\0\n", protocol.encode(protocol.Alive())):
            process._stdin.write(line)
        process.send(protocol.PrepareStore(7, NOWHERE))
        answer = await told.next(protocol.Answer)
        assert answer.request == 7
        assert "connection refused" in str(answer.error)
        assert "geheim" not in str(answer.error)
        assert "unknown frame 'Later'" in "".join(process._words)

    with_host(work)


def test_what_a_host_is_asked_of_a_client_that_is_not_there_is_answered() -> None:
    async def work(process: HostProcess, told: Told) -> None:
        process.send(protocol.SendText(5, 1, "77050000001", "hi"))
        assert (await told.next(protocol.Answer)).error == "the session has ended"
        process.send(protocol.StopClient(5))
        assert await told.next(protocol.Stopped) == protocol.Stopped(5)
        process.send(protocol.StartClient(6, NOWHERE, "77050000001:1@s.whatsapp.net", deliver=True))
        failed = await told.next(protocol.ConnectFailed)
        assert (failed.client, failed.in_store) == (6, True)
        assert "geheim" not in failed.error
        process.send(protocol.StartClient(7, NOWHERE, "1:x@s.whatsapp.net", deliver=True))
        assert not (await told.next(protocol.ConnectFailed)).in_store

    with_host(work)


@pytest.mark.parametrize("how", ["end of stdin", "command", "lease", "signal"])
def test_how_a_host_ends(how: str) -> None:
    async def work(process: HostProcess, told: Told) -> None:
        match how:
            case "end of stdin":
                process._stdin.close()
            case "command":
                process.send(protocol.EndHost(1.0))
            case "lease":
                process.send(protocol.ExtendLease(0.0))
            case _:
                os.kill(process.pid, signal.SIGINT)  # which it does not hear: it is the worker's
                os.kill(process.pid, signal.SIGSEGV)
        ended = await told.next(HostExit)
        assert ended.status == {"lease": protocol.LEASE_RAN_OUT, "signal": ended.status}.get(how, 0)
        assert ended.lease_ran_out is (how == "lease")
        assert not process.running
        process.send(protocol.EndHost(1.0))

    with_host(work)


def test_a_host_dies_with_its_worker() -> None:
    program = (
        "import asyncio\nfrom wa_sessions.worker.hosts.client import HostProcess\n"
        "class Told:\n"
        "    def on_frame(self, frame): print(process.pid, flush=True) or __import__('os').kill(0, 0)\n"
        "    on_unknown_frame = on_exit = lambda *_: None\n"
        "async def main():\n"
        "    global process\n"
        "    process = await HostProcess.spawn(Told())\n"
        "    await process.gone()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        pid = int(worker.stdout.readline())
        assert process_state(pid) is not None
        worker.kill()
    _until_gone(pid)


def _until_gone(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        assert select.select([descriptor], [], [], 10)[0]
        os.close(descriptor)


def test_no_line_of_stderr_holds_a_host_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor does a grandchild that keeps it open outlast the host's end."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, subprocess\n"
        "if 'wa_sessions.worker.hosts.main' in sys.orig_argv:\n"
        "    sys.stderr.write('x' * 5_000_000)\n"
        "    sys.stderr.write('\\nPress Ctrl+C to exit\\nfatal error: made up\\nlast\\n')\n"
        "    sys.stderr.flush()\n"
        "    holder = subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL)\n"
        "    open(os.path.dirname(__file__) + '/holder', 'w').write(str(holder.pid))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def work(process: HostProcess, told: Told) -> None:
        assert process_size(process.pid)
        assert len(process._words[0]) == 2_000
        process.kill()
        ended = await told.next(HostExit)
        os.kill(int((tmp_path / "holder").read_text()), signal.SIGKILL)  # it was there to the end
        assert ended.reason == "its process crashed: fatal error: made up"

    with_host(work)


# ------------------------------------------------------------------------------------------------------ the store


@pytest.fixture
def store(database: Database, target: Target) -> str:
    with database.transaction() as conn:
        conn.execute("DROP SCHEMA whatsmeow CASCADE")
        whatsmeow.ensure_schema(conn)
        return store_url(conn, target)


def test_neonize_makes_its_tables(store: str, database: Database) -> None:
    assert asyncio.run(prepare_store(store)) == store
    with database.transaction() as conn:
        assert whatsmeow.existing_tables(conn)


def test_a_pooler_that_refuses_the_idle_timeout_is_used_without(database_url: str, database: Database) -> None:
    with database.transaction() as conn:
        name = conn.execute("SELECT current_database() AS name").fetchone()
        assert name
        conn.execute(f'ALTER DATABASE "{name["name"]}" SET search_path = whatsmeow, public')
    with TransactionPooler(database_url) as pooler:
        plain = f"{pooler.url}?sslmode=disable&binary_parameters=yes"
        assert asyncio.run(prepare_store(f"{plain}&idle_session_timeout=60000")) == plain


def test_a_store_that_cannot_be_used_is_said_without_its_password() -> None:
    with pytest.raises(DatabaseError, match=r"neonize cannot use the key store: .*connection refused") as error:
        asyncio.run(prepare_store(NOWHERE))
    assert "geheim" not in str(error.value)
    with pytest.raises(DatabaseError, match="past any pooler"):
        asyncio.run(log_out(NOWHERE, "77050000001:1@s.whatsapp.net"))


@pytest.mark.parametrize(
    ("how", "why"), [(signal.SIGKILL, "ended before it answered"), (signal.SIGSTOP, "did not answer")]
)
def test_a_process_that_ends_or_hangs_over_the_store_is_not_waited_for(
    how: signal.Signals, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wa_sessions.worker.hosts.store._PREPARE_TIMEOUT", 8.0)
    silent = socket.create_server(("127.0.0.1", 0))
    url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d?sslmode=disable&idle_session_timeout=60000"

    async def scenario() -> None:
        preparing = asyncio.create_task(prepare_store(url))
        link, _ = await asyncio.to_thread(silent.accept)
        (host,) = _hosts()
        os.kill(host, how)
        with link, pytest.raises(DatabaseError, match=why):
            await asyncio.wait_for(preparing, 15)

    with silent:
        asyncio.run(scenario())
    assert _hosts() == []


def _hosts() -> list[int]:
    """The session hosts that this process has started."""
    return children(os.getpid(), "worker.hosts.main")


def test_a_device_that_is_not_in_the_store_is_not_started(store: str) -> None:
    with pytest.raises(DatabaseError, match="does not reach the schema"):
        asyncio.run(log_out(store, "77050000001:1@s.whatsapp.net"))


# ------------------------------------------------------------------------------------------------------- the pool


def test_a_thread_that_a_host_cannot_do_without_takes_it_along() -> None:
    program = "from wa_sessions.worker.hosts.main import or_end; or_end(lambda: 1 / 0)"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"


class Events:
    """What a pool told of its clients."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[FromHost] = asyncio.Queue()

    async def next(self, kind: type[ValueT]) -> ValueT:
        async with asyncio.timeout(PATIENCE):
            while not isinstance(event := await self.told.get(), kind):
                pass
            return event


def with_pool(work: Callable[[HostPool, Events], Awaitable[None]], sessions_per_host: int = 2) -> None:
    async def run() -> None:
        pool = HostPool(NOWHERE, sessions_per_host, deliver=True)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(pool.run())
            try:
                await work(pool, Events())
            finally:
                await pool.end(3)
                watching.cancel()
        assert pool.counts().hosts == pool.counts().clients == 0

    asyncio.run(run())


def test_a_client_that_ended_by_itself_is_ended_once() -> None:
    async def work(pool: HostPool, events: Events) -> None:
        client = pool.open(1, "77050000001:1@s.whatsapp.net", events.told.put_nowait)
        assert (await events.next(protocol.ConnectFailed)).in_store
        pool.send_text(client, 9, "1", "late")
        assert (await events.next(RequestAnswered)).error == "the session has ended"
        pool.close(client)
        pool.close(client)
        assert await events.next(protocol.Stopped) == protocol.Stopped(client)
        await asyncio.sleep(0.1)
        assert events.told.empty()

    with_pool(work)


def test_a_client_whose_host_is_not_there_yet_is_ended_at_once() -> None:
    async def work(pool: HostPool, events: Events) -> None:
        client = pool.open(1, None, events.told.put_nowait)
        pool.send_text(client, 4, "1", "x")
        pool.drop(client)
        assert (await events.next(RequestAnswered)).error
        assert await events.next(protocol.Stopped) == protocol.Stopped(client)

    with_pool(work)


def test_an_ended_pool_loses_what_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(pool: HostPool, events: Events) -> None:
        await pool.end(1)
        pool.open(1, None, events.told.put_nowait)
        assert (await events.next(ClientLost)).reason == "the worker ends"

    with_pool(work)


@pytest.mark.parametrize("lacking", ["program", "thread"])
def test_where_no_process_can_be_started_the_client_is_lost(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    if lacking == "program":
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
    else:
        start = threading.Thread.start

        def refused(self: threading.Thread) -> None:
            if self.name.startswith("host "):
                raise RuntimeError("can't start new thread")
            start(self)

        monkeypatch.setattr(threading.Thread, "start", refused)

    async def work(pool: HostPool, events: Events) -> None:
        pool.open(1, None, events.told.put_nowait)
        assert "no process could be started" in (await events.next(ClientLost)).reason
        assert pool.counts().crashes == 0

    with_pool(work)


def test_hosts_that_cannot_be_watched_end_the_watching(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def fails_but_once(_self: HostPool) -> None:
        looks.append(1)
        if len(looks) != 2:
            raise ZeroDivisionError

    monkeypatch.setattr("wa_sessions.worker.hosts.pool.LOOK_INTERVAL", 0)
    monkeypatch.setattr(HostPool, "_look", fails_but_once)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(HostPool(NOWHERE, 1, deliver=False).run())
    assert len(looks) == 2 + MOST_FAILED


def test_whoever_does_not_take_an_event_harms_no_other() -> None:
    async def work(pool: HostPool, events: Events) -> None:
        def refuse(_event: FromHost) -> None:
            raise ZeroDivisionError

        pool.open(1, "77050000001:1@s.whatsapp.net", refuse)
        pool.open(2, "77050000002:1@s.whatsapp.net", events.told.put_nowait)
        await events.next(protocol.ConnectFailed)

    with_pool(work)
