"""What import-linter's contracts do not see: circles of modules, and a clock or a file in what is pure."""

import ast
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
PURE = next(one["source_modules"] for one in CONTRACTS if one["name"].startswith("Pure "))
CLOCKS = {"now", "today", "utcnow"}


def test_no_circle_of_modules() -> None:
    """Imports inside functions count, those for type checkers alone do not."""
    graph = grimp.build_graph("wa_sessions", exclude_type_checking_imports=True, cache_dir=None)
    try:
        TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_asks_for_no_time_and_opens_no_file(name: str) -> None:
    for path in _files(name):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        assert not [one for one in called if isinstance(one, ast.Attribute) and one.attr in CLOCKS], path
        assert not [one for one in called if isinstance(one, ast.Name) and one.id == "open"], path


ASKING = {"changing.py", "inbox.py", "db.py"}
"""What asks before something goes for good: all changes, ``inbox drop`` (messages), ``db prune`` (history)."""


def test_no_verb_plans_refuses_or_asks_in_a_way_of_its_own() -> None:
    """Stopping Node, refusing what runs in it and asking belong to the engine of all changes."""
    calling: dict[str, set[str]] = {}
    for path in (ROOT / "wa_sessions").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                calling.setdefault(ast.unparse(node.func), set()).add(path.name)
    stopping = set().union(*(paths for name, paths in calling.items() if name.endswith(".around")))
    assert stopping == calling["refuse_running"] == {"carry_out.py"}
    assert calling["terminal.confirm"] | calling["terminal.confirm_count"] == ASKING


def _files(name: str) -> Iterator[Path]:
    path = ROOT.joinpath(*name.split("."))
    return path.rglob("*.py") if path.is_dir() else iter([path.with_suffix(".py")])
