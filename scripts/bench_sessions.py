"""What sessions cost: time to connect, memory, threads, database connections; and how fast messages arrive.

    .venv/bin/python scripts/bench_sessions.py --sessions 1 5 20

Each size has a private embedded database, an emulator and one worker of its own. The phones are paired first; what is
measured is a start of the worker with all keys in the store. PSS divides what processes share among them, so its sum is
what the machine really needs; USS is what a process has to itself.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

from stage import MB, Expectation, Peer, Peers, Process, Stage, Worker, look, look_at_children, machine

FIRST_PHONE, FIRST_PEER = 77_051_000_001, 77_052_000_001
IDLE = 10.0  # seconds after the last connection in which nothing happens, before the worker is looked at
MESSAGES = 1000
SENDERS = 5
PLANNED = 100  # phones


@dataclass(frozen=True)
class Cost:
    """One worker with all its sessions connected and idle."""

    sessions: int
    connected_after: float
    supervisor: Process
    processes: list[Process]
    connections: int | None

    @property
    def pss(self) -> float:
        """What the worker needs with all its processes, in bytes."""
        return self.supervisor.pss + sum(process.pss for process in self.processes)


@dataclass(frozen=True)
class Flow:
    """Messages to one session's handler. ``latency``: from the sending of one to its arrival, median, in seconds."""

    messages: int
    senders: int
    together: float
    latency: float
    one_by_one: float


def cost(sessions: int) -> Cost:
    numbers = tuple(str(FIRST_PHONE + n) for n in range(sessions))
    with Stage() as stage:
        stage.paired(*numbers).stop()
        started = time.perf_counter()
        worker = stage.run(*numbers)
        with stage.all_connected(worker, numbers) as until_connected:
            until_connected()
        connected_after = time.perf_counter() - started
        time.sleep(IDLE)
        supervisor = look(worker.process.pid)
        assert supervisor
        processes = look_at_children(worker.process.pid)
        return Cost(sessions, connected_after, supervisor, processes, stage.connections())


def flow() -> Flow:
    number = str(FIRST_PHONE)
    with Stage() as stage:
        worker = stage.paired(number)
        peers = stage.peers()
        senders = [peers.link(f"peer {n}", str(FIRST_PEER + n)) for n in range(SENDERS)]
        turns = [senders[n % SENDERS].name for n in range(MESSAGES)]
        by_name = {sender.name: sender for sender in senders}
        for turn in turns[: 2 * SENDERS]:  # the first message to a stranger asks for keys
            with worker.receiving(number, f"hello {turn}") as arriving:
                peers.send(by_name[turn], number, f"hello {turn}")
                arriving.wait()
        with ExitStack() as waiting:
            all_of = [waiting.enter_context(worker.receiving(number, f"together {n}")) for n in range(MESSAGES)]
            together = _seconds_together(peers, [by_name[turn] for turn in turns], number, all_of)
        latencies = []
        started = time.perf_counter()
        for n, turn in enumerate(turns):
            with worker.receiving(number, f"alone {n}") as arriving:
                sending = time.perf_counter()
                peers.send(by_name[turn], number, f"alone {n}")
                arriving.wait()
                latencies.append(time.perf_counter() - sending)
        one_by_one = time.perf_counter() - started
        _check(worker, number)
    return Flow(MESSAGES, SENDERS, together, median(latencies), one_by_one)


def _seconds_together(peers: Peers, senders: list[Peer], number: str, arriving: list[Expectation]) -> float:
    """The senders in turn, none of them waiting for a message to arrive: until the last has arrived."""
    started = time.perf_counter()
    for n, sender in enumerate(senders):
        peers.send(sender, number, f"together {n}")
    for one in arriving:
        one.wait()
    return time.perf_counter() - started


def _check(worker: Worker, number: str) -> None:
    """Nothing failed to decrypt on the way: that would be another measurement."""
    failed = worker.counts["message_pending"]
    assert not failed, f"{failed} messages to {number} did not decrypt at once"


def table(costs: list[Cost]) -> str:
    titles = (
        *("sessions", "connected after, s", "supervisor: RSS / PSS, MB", "each session: RSS / PSS / USS, MB"),
        *("threads", "Postgres connections", "PSS of all, MB"),
    )
    lines = [f"| {' | '.join(titles)} |", f"|{' ---: |' * len(titles)}"]
    for one in costs:
        rss, pss, uss = (fmean(getattr(p, what) / MB for p in one.processes) for what in ("rss", "pss", "uss"))
        threads = fmean(process.threads for process in one.processes)
        supervisor = f"{one.supervisor.rss / MB:.0f} / {one.supervisor.pss / MB:.0f}"
        cells = (
            *(one.sessions, f"{one.connected_after:.1f}", supervisor, f"{rss:.0f} / {pss:.0f} / {uss:.0f}"),
            *(f"{one.supervisor.threads} + {one.sessions} x {threads:.0f}", one.connections, f"{one.pss / MB:.0f}"),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def planned(costs: list[Cost]) -> str:
    """What many phones would need: the last step of the table, continued."""
    if len(costs) < 2:
        return ""
    few, many = costs[-2:]
    step = (many.pss - few.pss) / (many.sessions - few.sessions)
    need = many.pss + (PLANNED - many.sessions) * step
    assert many.connections is not None
    assert few.connections is not None
    connections = (many.connections - few.connections) / (many.sessions - few.sessions)
    return (
        f"One more session: {step / MB:.1f} MB (PSS) and {connections:.1f} connections. "
        f"{PLANNED} phones: {need / MB / 1024:.1f} GB and "
        f"{many.connections + (PLANNED - many.sessions) * connections:.0f} connections."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    options = parser.parse_args()
    costs = []
    for sessions in sorted(options.sessions):
        costs.append(cost(sessions))
        print(f"{sessions} sessions measured", flush=True)
    messages = flow()
    print(f"\n{machine()}\n\n{table(costs)}\n\n{planned(costs)}\n")
    print(f"{messages.messages} messages from {messages.senders} senders in turn to one handler:")
    print(f"- sent without waiting: {messages.messages / messages.together:.0f} messages/s arrive")
    rate = messages.messages / messages.one_by_one
    print(f"- each sent when the last has arrived: {rate:.0f} messages/s, median {messages.latency * 1000:.1f} ms each")
    if options.json:
        found = {"machine": machine(), "costs": [asdict(one) for one in costs], "flow": asdict(messages)}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
