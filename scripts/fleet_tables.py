"""What ``bench_fleet.py`` has found: the figures of one run, and its tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class Figures:
    """One run of one way. Seconds, MB, messages a second.

    ``unheard``: live, but WhatsApp hands out nothing yet. ``cpu`` of the burst, ``live_cpu``: milliseconds a message,
    by role. ``busy``: percent of the machine that anybody had, live.
    """

    way: str
    sessions: int
    connected: float = 0.0
    storm: float = 0.0
    burst: float = 0.0
    unheard: float = 0.0
    live: float = 0.0
    busy: float = 0.0
    median_ms: float = 0.0
    p99_ms: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    live_cpu: dict[str, float] = field(default_factory=dict)
    pss: dict[str, float] = field(default_factory=dict)
    processes: int = 0
    most_connections: int = 0
    connections_at_rest: int | None = None
    idle_cpu: float | None = None
    idle_queries: float | None = None

    @property
    def memory(self) -> float:
        """PSS of all processes together."""
        return sum(self.pss.values())


def _of(runs: Sequence[Figures], of: Callable[[Figures], float | None]) -> float | None:
    values = [value for one in runs if (value := of(one)) is not None]
    return median(values) if values else None


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def resources(found: Sequence[list[Figures]]) -> str:
    """Memory, connections, idling."""
    titles = (
        "way | sessions | processes | PSS, MB | MB a session | connections: most | at rest | idle: CPU % | queries/s"
    )
    lines = [f"| {titles} |", f"| --- |{' ---: |' * titles.count('|')}"]
    for runs in found:
        cells = [
            *(runs[0].way, str(runs[0].sessions), _cell(_of(runs, lambda f: f.processes), ".0f")),
            *(_cell(_of(runs, lambda f: f.memory), ".0f"), _cell(_of(runs, lambda f: f.memory / f.sessions), ".2f")),
            _cell(max(one.most_connections for one in runs), ".0f"),
            _cell(_of(runs, lambda f: f.connections_at_rest), ".0f"),
            *(_cell(_of(runs, lambda f: f.idle_cpu), ".1f"), _cell(_of(runs, lambda f: f.idle_queries), ".1f")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cpu(runs: Sequence[Figures], of: Callable[[Figures], dict[str, float]]) -> str:
    shares = {role: median(of(one)[role] for one in runs) for role in of(runs[0])}
    return ", ".join([*(f"{role} {share:.2f}" for role, share in shares.items()), f"all {sum(shares.values()):.2f}"])


def speeds(found: Sequence[list[Figures]]) -> str:
    """Starts, storms, messages."""
    titles = (
        "way | sessions | all connected, s | storm, s | burst/s | unheard/s | live/s | machine busy live, % |"
        " latency ms: median / p99 | CPU ms a message: burst | live"
    )
    lines = [f"| {titles} |", f"| --- |{' ---: |' * (titles.count('|') - 2)} --- | --- |"]
    for runs in found:
        cells = [
            *(runs[0].way, str(runs[0].sessions), _cell(_of(runs, lambda f: f.connected), ".1f")),
            *(_cell(_of(runs, lambda f: f.storm), ".1f"), _cell(_of(runs, lambda f: f.burst), ".0f")),
            *(_cell(_of(runs, lambda f: f.unheard), ".0f"), _cell(_of(runs, lambda f: f.live), ".0f")),
            _cell(_of(runs, lambda f: f.busy), ".0f"),
            f"{_cell(_of(runs, lambda f: f.median_ms), '.0f')} / {_cell(_of(runs, lambda f: f.p99_ms), '.0f')}",
            *(_cpu(runs, lambda f: f.cpu), _cpu(runs, lambda f: f.live_cpu)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
