"""Drives ``tests/standin.py``: real neonize clients."""

import sys
from pathlib import Path
from typing import Any

from support.clients import Clients

PROGRAM = Path(__file__).parents[1] / "standin.py"


class ClientProcess(Clients):
    """Clients whose stores are files in ``folder``."""

    def __init__(self, environment: dict[str, str], folder: Path, *, debug: bool = False) -> None:
        super().__init__([sys.executable, str(PROGRAM), *(["--debug"] if debug else [])], environment, folder)

    def add(self, client: str, **more: Any) -> None:
        """Start a client; ``number`` and ``device`` name one that is in its store already."""
        super().add(client, store=str(self.folder / f"{client}.db"), **more)
