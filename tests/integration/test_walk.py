"""What ``scripts/walk.py`` counts: a change asks the database no more than it has to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wa_sessions.config import environment
from wa_sessions.db.settings import Target

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "walk.py"


@pytest.fixture
def walks(empty_target: Target) -> dict[str, dict[str, int]]:
    """Every verb on phones with real keys, in a database of their own."""
    within = {**environment(), "WA_SESSIONS_DATABASE_URL": empty_target.conninfo}
    done = subprocess.run([sys.executable, SCRIPT, "--json"], env=within, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


def test_a_repair_takes_sixteen_statements_and_a_takeover_sixty(walks: dict[str, dict[str, int]]) -> None:
    repair, takeover = walks["clean-app-state"], walks["adopt"]
    assert repair["statements"] <= 16
    assert repair["transactions"] <= 2
    assert takeover["statements"] <= 60
    assert takeover["transactions"] <= 3
    assert takeover["conversions"] == 1
