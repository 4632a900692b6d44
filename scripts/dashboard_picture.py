"""Make docs/monitoring/dashboard.svg: what the panels of docs/monitoring/grafana-dashboard.json show of real sessions.

python scripts/dashboard_picture.py [--prometheus /usr/bin/prometheus] [FILE]

Sessions on the emulator break in every way for two minutes, a real Prometheus scrapes their worker every second, and
each panel's own query is asked of it. It is no screenshot of Grafana: matplotlib draws what Prometheus answers
(``pip install --group pictures``).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import re
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from bench_support import Peer, Peers, Stage, Worker
from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions.actions.engine.carry_out import make
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair import repairs
from wa_sessions.actions.sessions.send import send_text
from wa_sessions.db import whatsmeow
from wa_sessions.emulator import AppStateDamage
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
DASHBOARD = FOLDER / "grafana-dashboard.json"
PHONES = ("77051000001", "77051000002", "77051000003", "77051000004", "77051000005")
CALM, BREAKING, CLOSING, LEAVING, REPLACED = PHONES
RATE_INTERVAL = "20s"  # what Grafana takes where Prometheus scrapes every five seconds
ACTS = 4
STEP = 1  # second
PAUSE = 15.0  # seconds between two acts, so that the lines have a length
UNIT = (0.5, 0.36)  # inches of a cell of the dashboard's grid
PAGE, CARD, TEXT, SOFT, LINE = "#111217", "#181b1f", "#ccccdc", "#8e8e99", "#2c3235"
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0", "#96d98d")
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "text": TEXT}
HEADLINE = (
    "WhatsApp sessions: drawn from the queries of grafana-dashboard.json as a real Prometheus answered them, of five "
    "sessions on the emulator. Not a screenshot of Grafana."
)

Panel = dict[str, Any]
Series = tuple[str, list[tuple[float, float]]]


def main() -> None:
    """Everything ends with this program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prometheus", default="prometheus", metavar="PROGRAM")
    parser.add_argument("file", nargs="?", type=Path, default=FOLDER / "dashboard.svg")
    given = parser.parse_args()
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    with Stage() as stage:
        target = f"127.0.0.1:{_free_port()}"
        worker = stage.paired(*PHONES, arguments=("--metrics-listen", target))
        peers = stage.peers()
        bob, carol, dave = (peers.link(name, f"7705900000{n}") for n, name in enumerate(("bob", "carol", "dave")))
        for peer, number in ((bob, CALM), (carol, BREAKING), (carol, CLOSING), (dave, BREAKING)):
            _acquaint(stage, worker, peers, peer, number)
        with _prometheus(stage.folder / "prometheus", given.prometheus, target) as ask:
            began = round(time.time())
            _play(stage, worker, peers, (bob, carol, dave))
            time.sleep(PAUSE / 2)  # the last scrapes
            ask.window = (began, time.time())
            _draw(panels, ask, given.file)


class Ask:
    """Queries to Prometheus's HTTP API, with the dashboard's variables put in."""

    def __init__(self, url: str) -> None:
        self.window = (0.0, 0.0)
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def ready(self) -> bool:
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    @property
    def moments(self) -> list[float]:
        """The times of which ``series`` has values, where there are any."""
        start, end = self.window
        return [round(start + n * STEP, 3) for n in range(int((end - start) / STEP) + 1)]

    def now(self, query: str) -> list[tuple[dict[str, str], float]]:
        found = self._get("query", query, time=self.window[1])
        return [(one["metric"], float(one["value"][1])) for one in found]

    def series(self, query: str, legend: str) -> list[Series]:
        start, end = self.window
        found = self._get("query_range", query, start=start, end=end, step=STEP)
        return [
            (_legend(legend, one["metric"]), [(round(float(t), 3), float(v)) for t, v in one["values"]])
            for one in found
        ]

    def _get(self, path: str, query: str, **more: float) -> list[dict[str, Any]]:
        query = query.replace("$__rate_interval", RATE_INTERVAL).replace("$organization", ".*")
        answer = self._client.get(f"/api/v1/{path}", params={"query": query, **more}).json()
        if answer["status"] != "success":
            raise WaSessionsError(f"{query}: {answer['error']}")
        return list(answer["data"]["result"])


@contextlib.contextmanager
def _prometheus(folder: Path, program: str, target: str) -> Iterator[Ask]:
    folder.mkdir()
    job = {"job_name": "wa-sessions", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [job]}), encoding="utf-8")
    address = f"127.0.0.1:{_free_port()}"
    words = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*words, f"--web.listen-address={address}"], stdout=log, stderr=log)
    ask = Ask(f"http://{address}")
    try:
        for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.2), reraise=True):
            with attempt:
                assert ask.ready(), (folder / "log").read_text()[-1000:]
        yield ask
    finally:
        process.terminate()
        process.wait(20)


# ---------------------------------------------------------------------------------------------------- the play


def _acquaint(stage: Stage, worker: Worker, peers: Peers, peer: Peer, number: str) -> None:
    """Both sides write, so that both have a session of the other."""
    for text in ("hello", "hello again"):
        with worker.receiving(number, f"{text} {peer.name}") as received:
            peers.send(peer, number, f"{text} {peer.name}")
            received.wait()
        with peers.receiving(peer, f"reply to {text}") as replied:
            send_text(stage.opened, PhoneRef(number), None, peer.phone.number, f"reply to {text}")
            replied.wait()


def _play(stage: Stage, worker: Worker, peers: Peers, writers: tuple[Peer, Peer, Peer]) -> None:
    """One calm phone, one whose messages break, one that is closed, one that is force-closed, one that is replaced."""
    bob, carol, dave = writers
    time.sleep(PAUSE)
    stage.emulator.damage_messages(to=stage.phones[CALM], sender=bob.phone, count=None, first_copies=True)
    with ThreadPoolExecutor() as pool:
        storm = pool.submit(_storm, worker, peers, bob)
        _lose(stage, worker, peers, carol, BREAKING, 1)
        stage.emulator.drop(stage.devices[LEAVING])
        time.sleep(PAUSE)
        _lose(stage, worker, peers, carol, CLOSING, 3)
        with worker.expecting("connected", CLOSING) as connected:
            stage.scan(CLOSING)
            connected.wait()
        time.sleep(PAUSE)
        _break_app_state(stage, worker, CALM)
        stage.emulator.drop(stage.devices[BREAKING])
        storm.result()
    _lose(stage, worker, peers, carol, CLOSING, 1)
    _lose(stage, worker, peers, dave, BREAKING, 2)
    stage.emulator.forget_sender(bob.device)
    with worker.expecting("message_pending", CALM) as pending:
        peers.send(bob, CALM, "nobody sends it again")
        pending.wait()
    stage.emulator.replace(stage.devices[REPLACED])
    make(stage.opened, repairs.force_close(reason="for the picture"), Scope(PhoneRef(LEAVING)))


def _storm(worker: Worker, peers: Peers, sender: Peer) -> None:
    """Messages of which the first copy is damaged, more and more of them."""
    for act in range(1, ACTS + 1):
        for number in range(4 * act):
            with worker.expecting("message_recovered", CALM) as recovered:
                peers.send(sender, CALM, f"damaged once {act}.{number}")
                recovered.wait()
        time.sleep(PAUSE)


def _lose(stage: Stage, worker: Worker, peers: Peers, sender: Peer, number: str, times: int) -> None:
    """Messages of which every copy is damaged; at the third the session is closed and shows a QR."""
    fault = stage.emulator.damage_messages(to=stage.phones[number], sender=sender.phone)
    for count in range(1, times + 1):
        closing = worker.expecting("qr", number) if count == 3 else contextlib.nullcontext()
        with closing as qr, worker.expecting("error_counted", number, f"error #{count} ") as counted:
            peers.send(sender, number, f"lost {count}")
            counted.wait()
            if qr:
                qr.wait()
        time.sleep(PAUSE / 4)
    fault.heal()


def _break_app_state(stage: Stage, worker: Worker, number: str) -> None:
    phone, device = stage.phones[number], stage.devices[number]
    stage.emulator.share_app_state_key(device)
    with worker.receiving(number, "after the key") as received:
        stage.emulator.phone_message(device, "after the key")
        received.wait()
    stage.emulator.mute(phone, "77050000000")
    stage.emulator.notify_app_state(device, "regular_high")
    for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.1), reraise=True):
        with attempt, stage.opened.database.transaction() as conn:
            assert "regular_high" in whatsmeow.app_state_versions(conn, str(device.jid))
    with worker.expecting("collection_quarantined", number) as mended:
        stage.emulator.damage_app_state(phone, "regular_high", AppStateDamage.CONTENT_MAC, count=1)
        stage.emulator.mute(phone, "77050000001")
        stage.emulator.notify_app_state(device, "regular_high")
        mended.wait()
    for attempt in Retrying(stop=stop_after_delay(20), reraise=True):  # the first may meet the repair itself
        with attempt, worker.expecting("counter_reset", number) as reset:
            stage.emulator.notify_app_state(device, "regular_high")
            reset.wait(3)


# ------------------------------------------------------------------------------------------------- the drawing


def _draw(panels: list[Panel], ask: Ask, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "dashboard", "font.family": "sans-serif", "font.size": 8}
    mpl.rcParams |= {"text.color": TEXT, "axes.labelcolor": TEXT, "xtick.color": SOFT, "ytick.color": SOFT}
    mpl.rcParams |= {"font.sans-serif": ["Inter", "Helvetica", "Arial", "DejaVu Sans"]}
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    wide, high = 24 * UNIT[0], (rows + 1) * UNIT[1]
    figure = plt.figure(figsize=(wide, high), facecolor=PAGE)
    figure.text(0.008, 1 - 0.55 / (rows + 1), HEADLINE, fontsize=8.5, va="center")
    for panel in panels:
        place = panel["gridPos"]
        left, bottom = place["x"] / 24, 1 - (place["y"] + place["h"] + 1) / (rows + 1)
        box = (left + 0.003, bottom + 0.003, place["w"] / 24 - 0.006, place["h"] / (rows + 1) - 0.006)
        card = figure.add_axes(box, facecolor=CARD)
        card.set(xticks=[], yticks=[])
        for side in card.spines.values():
            side.set_color(LINE)
        title_at = 1 - 0.5 / place["h"]
        card.text(0.14 / place["w"], title_at, panel["title"], fontsize=9, va="center", transform=card.transAxes)
        {"stat": _stat, "table": _table, "timeseries": _lines}[panel["type"]](card, panel, ask)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Title": HEADLINE}, facecolor=PAGE)
    paths = re.compile(r'(?<= d=")[^"]+')
    file.write_text(paths.sub(lambda path: re.sub(r"(\d\.\d)\d+", r"\1", path[0]), drawn.getvalue()), encoding="utf-8")


def _stat(card: Axes, panel: Panel, ask: Ask) -> None:
    (target,) = panel["targets"]
    ((_, value),) = ask.now(target["expr"])
    shown, colour = f"{value:g}", NAMED["green"]
    defaults = panel["fieldConfig"]["defaults"]
    for mapping in defaults.get("mappings", []):
        told = mapping["options"].get(shown)
        shown, colour = (told["text"], NAMED[told["color"]]) if told else (shown, colour)
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = NAMED[step["color"]]
    card.text(0.5, 0.45, shown, fontsize=22, color=colour, ha="center", va="center", transform=card.transAxes)
    if panel["options"].get("graphMode") == "area":
        small = card.inset_axes((0, 0, 1, 0.3), facecolor="none")
        small.axis("off")
        for _, points in ask.series(target["expr"], ""):
            x, y = zip(*points, strict=True)
            small.plot(x, y, color=colour, linewidth=1)
            small.fill_between(x, y, color=colour, alpha=0.2, linewidth=0)
        small.set(xlim=ask.window, ylim=(0, None))


def _table(card: Axes, panel: Panel, ask: Ask) -> None:
    (target,) = panel["targets"]
    rows = [labels for labels, _ in ask.now(target["expr"])]
    order = panel["transformations"][0]["options"]["indexByName"]
    names = sorted({name for labels in rows for name in labels}, key=lambda name: order[name])
    for n, name in enumerate(names):
        card.text(0.008 + n / len(names), 0.82, name, color=NAMED["green"], transform=card.transAxes)
        for line, labels in enumerate(sorted(rows, key=lambda labels: labels["phone"])):
            text = labels.get(name, "")
            card.text(0.008 + n / len(names), 0.71 - line * 0.11, text, transform=card.transAxes)


def _lines(card: Axes, panel: Panel, ask: Ask) -> None:
    chart = card.inset_axes((0.09, 0.27, 0.89, 0.58), facecolor="none")
    bars = panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] == "bars"
    opacity = panel["fieldConfig"]["defaults"]["custom"].get("fillOpacity", 0) / 100
    found = [one for target in panel["targets"] for one in ask.series(target["expr"], target["legendFormat"])]
    drawn = 0
    for (name, points), colour in zip(found, COLOURS * (len(found) // len(COLOURS) + 1), strict=False):
        y = [dict(points).get(at, math.nan) for at in ask.moments]
        if all(map(math.isnan, y)):
            continue
        drawn += 1
        x = [at - ask.window[0] for at in ask.moments]
        chart.plot(x, y, color=colour, linewidth=1, label=name)
        if opacity:
            chart.fill_between(x, y, color=colour, alpha=opacity if not bars else 0.3, linewidth=0)
    if not drawn:
        raise WaSessionsError(f"{panel['title']}: its queries show nothing")
    chart.set(xlim=(0, ask.window[1] - ask.window[0]))
    if panel["fieldConfig"]["defaults"]["custom"].get("scaleDistribution", {}).get("type") == "log":
        chart.set_yscale("log")
        chart.minorticks_off()
    else:
        chart.set_ylim(0, None)
    chart.grid(color=LINE, linewidth=0.5)
    chart.tick_params(length=0)
    chart.xaxis.set_major_formatter(lambda at, _: f"{int(at // 60)}:{int(at % 60):02d}")
    unit = " s" if panel["fieldConfig"]["defaults"]["unit"] == "s" else ""
    chart.yaxis.set_major_formatter(lambda value, _: f"{value:g}{unit}")
    for side in chart.spines.values():
        side.set_visible(False)
    chart.legend(
        loc="upper left", bbox_to_anchor=(-0.1, -0.13), ncols=min(drawn, 5), frameon=False, labelcolor=TEXT, fontsize=7,
        handlelength=1, columnspacing=1.2,
    )  # fmt: skip


def _legend(text: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
