"""What a slim machine lacks and wa-sessions must not need."""

import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("wa_sessions", "tests", "scripts")
IMPORT = re.compile(r"(?:^|[;\"'] ?)\s*(?:from neonize[. ]|import (?:[\w.]+, )*neonize\b).*$", re.MULTILINE)
HIDDEN = """
import ctypes, ctypes.util, sys
find, load = ctypes.util.find_library, ctypes.CDLL.__init__
ctypes.util.find_library = lambda name: None if "magic" in name else find(name)
def guarded(self, name, *more, **named):
    if name and str(name).startswith("libmagic"):
        raise OSError("libmagic is not on this machine")
    load(self, name, *more, **named)
ctypes.CDLL.__init__ = guarded
"""


def _run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", HIDDEN + program], capture_output=True, text=True, timeout=60)


def test_neonize_alone_needs_the_machines_libmagic() -> None:
    done = _run("import neonize")
    assert done.returncode == 1
    assert "failed to find libmagic" in done.stderr


def test_the_adapter_brings_its_own() -> None:
    done = _run("import wa_sessions.worker.hosts.neonize; print('loaded')")
    assert (done.returncode, done.stdout.strip()) == (0, "loaded"), done.stderr


def test_whatever_imports_neonize_brings_libmagic_first() -> None:
    """Programs that stand in a string too, as tests start them; this file is about the opposite."""
    bare = []
    for file in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in FOLDERS):
        text = file.read_text()
        found = IMPORT.search(text)
        if found and file != Path(__file__) and "import pylibmagic" not in text[: found.end()]:
            bare.append(str(file.relative_to(ROOT)))
    assert bare == []
