"""import-linter's contracts in pyproject.toml tell of what must not be."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BREACHES = {
    "wa_sessions.emulator.wire": "wa_sessions.errors",
    "wa_sessions.logs.words": "wa_sessions.worker.message",
    "wa_sessions.worker.message": "wa_sessions.logs.words",
    "wa_sessions.worker.log": "wa_sessions.emulator.wire",
    "wa_sessions.db.sql": "wa_sessions.worker.message",
    "wa_sessions.health.model": "time",
    "wa_sessions.keys.fields": "wa_sessions.health.limits",
    "wa_sessions.logs.scanner": "os",
    "wa_sessions.worker.machine": "wa_sessions.db.phones",
    "wa_sessions.actions.watch.stats": "psycopg",
    "wa_sessions.cli.watch.stats": "neonize",
    "wa_sessions.worker.supervisor": "wa_sessions.worker.hosts.neonize",
    "wa_sessions.worker.delivery.python_handler": "wa_sessions.keys.fields",
    "wa_sessions.worker.delivery.url_handler": "wa_sessions.db.sql",
    "wa_sessions.errors": "wa_sessions.plain_text",
}
"""Imports that must not be, one by one."""


def test_the_contracts_tell_of_every_breach(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for path in (ROOT / "wa_sessions").rglob("*.py"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for module, imported in BREACHES.items():
        path = tmp_path.joinpath(*module.split(".")).with_suffix(".py")
        path.write_text(f"{path.read_text(encoding='utf-8')}\n\nimport {imported}\n", encoding="utf-8")
    (tmp_path / "wa_sessions" / "stray.py").write_text("")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    told = " ".join(done.stdout.split())
    for module, imported in BREACHES.items():
        assert f"{module} -> {imported} " in told, (module, imported)
    assert "wa_sessions.stray" in told
