"""Make docs/top.svg: what ``wa-sessions top`` shows of the fleet of the tests, at 100 columns.

python scripts/top_picture.py [FILE]
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from support import sample_fleet

from wa_sessions.actions.connection import Opened
from wa_sessions.cli.watch.top.app import TopApp
from wa_sessions.cli.watch.top.fleet_table import FleetTable
from wa_sessions.db import backend, migrate
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target

ROOT = Path(__file__).parent.parent
SIZE = (100, 20)


def main() -> int:
    """Start a server, fill it, look at it once."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "top.svg"
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedServer(Path(folder) / "data")
        try:
            server.ensure_running()
            with Database.open(Target(server.conninfo(), None, "picture")) as database:
                with database.transaction() as conn:
                    backend.create_tables(conn)
                    migrate.upgrade(conn)
                    sample_fleet.make(conn)
                    opened = Opened(database, backend.detect(conn))
                file.write_text(asyncio.run(picture(opened)), encoding="utf-8")
        finally:
            server.stop()
    return 0


async def picture(opened: Opened) -> str:
    """The screen once the fleet is read, without the fonts that an SVG would fetch from elsewhere."""
    view = TopApp(opened)
    async with view.run_test(size=SIZE) as pilot:
        for _ in range(200):
            await pilot.pause(0.05)
            if view.screen.query_one(FleetTable).row_count:
                break
        drawn = view.export_screenshot(title="wa-sessions top")
    return re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


if __name__ == "__main__":
    sys.exit(main())
