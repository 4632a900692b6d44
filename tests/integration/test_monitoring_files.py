"""The alert rules, the dashboard and the documentation name metrics that exist, and promtool agrees with them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.waiting import PATIENCE

from wa_sessions.actions.watch.metrics import PREFIX, Snapshot, families, text
from wa_sessions.worker import metrics

FOLDER = Path(__file__).parents[2] / "docs" / "monitoring"
RULES = FOLDER / "prometheus-rules.yml"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text(encoding="utf-8"))
KINDS = {"counter": ("_total",), "summary": ("_sum", "_count"), "gauge": ("",), "info": ("_info",)}


def existing() -> set[str]:
    from wa_sessions.actions.watch.metrics import _build, _own

    found = [*families(Snapshot([], {}, [])), _build(), *_own(metrics.timings())]
    return {family.name + ending for family in found for ending in KINDS[family.type]}


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def named(text: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}\w+", text))


def test_what_is_named_exists_and_what_exists_is_documented() -> None:
    variables = [variable["definition"] for variable in DASHBOARD["templating"]["list"]]
    used = named(" ".join([RULES.read_text(encoding="utf-8").replace("wa_sessions.prom", ""), *queries(), *variables]))
    assert used <= existing()
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert not [name for name in existing() if f"`{re.sub('_(sum|count)$', '', name)}`" not in page]


def test_the_dashboard_can_be_imported() -> None:
    panels = DASHBOARD["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${DS_PROMETHEUS}"}
    assert [given["name"] for given in DASHBOARD["__inputs"]] == ["DS_PROMETHEUS"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@pytest.mark.program("promtool")
def test_promtool_agrees(tmp_path: Path) -> None:
    drawn = tmp_path / "dashboard.yml"
    rules = [
        {"record": f"panel:{n}", "expr": expr.replace("$__rate_interval", "5m")} for n, expr in enumerate(queries())
    ]
    drawn.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    for words in (["test", "rules", f"{RULES.with_suffix('')}.test.yml"], ["check", "rules", str(RULES), str(drawn)]):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
    exposed = text(Snapshot([], {}, []))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposed, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
