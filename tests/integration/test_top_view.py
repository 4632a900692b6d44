"""The keys of ``top``, on a real database."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support import sample_fleet
from support.history import write_event
from support.waiting import PATIENCE
from textual.pilot import Pilot
from textual.widgets import Static

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.watch.top import MINUTES
from wa_sessions.cli.watch.top import app, reading
from wa_sessions.cli.watch.top.app import TopApp
from wa_sessions.cli.watch.top.dialogs import Confirm
from wa_sessions.cli.watch.top.fleet_table import FleetTable
from wa_sessions.db import backend, monitoring
from wa_sessions.db.gateway import Database

Story = Callable[["Viewer"], Awaitable[None]]


class Viewer:
    """Somebody at the keyboard."""

    def __init__(self, view: TopApp, pilot: Pilot[None]) -> None:
        self.view = view
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def until(self, matches: Callable[[], object]) -> None:
        """Give the view time until that is so."""
        async with asyncio.timeout(PATIENCE):
            while not matches():
                await self._pilot.pause(0.01)

    @property
    def phones(self) -> list[str]:
        table = self.view.screen.query_one(FleetTable)
        return [str(table.get_cell_at((line, 0))).strip() for line in range(table.row_count)]  # type: ignore[arg-type]

    @property
    def chosen(self) -> str:
        row = self.view.view and self.view.view.chosen
        return row.stats.phone if row else ""

    def text(self, name: str) -> str:
        assert self.view.view
        shown = self.view.view.query_one(f"#{name}", Static)
        return "\n".join(line.text for line in shown.render_lines(shown.size.region))


@pytest.fixture
def opened(database: Database) -> Opened:
    with database.transaction() as conn:
        sample_fleet.make(conn)
        return Opened(database, backend.detect(conn))


def play(opened: Opened, story: Story, *, organization: int | None = None) -> TopApp:
    view = TopApp(opened, organization)

    async def whole() -> None:
        async with view.run_test(size=(80, 24)) as pilot:
            viewer = Viewer(view, pilot)
            await viewer.until(lambda: viewer.chosen)
            await story(viewer)

    asyncio.run(whole())
    return view


def test_errors_a_minute(opened: Opened) -> None:
    with opened.database.transaction() as conn:
        conn.execute("DELETE FROM wa_sessions.event")
        for seconds, phone_id in ((0, 1), (59, 1), (61, 1), (29 * 60 + 59, 1), (30 * 60 + 1, 1), (86_400, 1), (119, 7)):
            id_ = write_event(conn, phone_id, 1 if phone_id == 1 else 3, "error_counted", {})
            conn.execute(
                "UPDATE wa_sessions.event SET at = now() - %s * interval '1 second' WHERE id = %s", (seconds, id_)
            )
        write_event(conn, 1, 1, "counter_reset", {})
        counted = monitoring.errors_by_minute(conn, MINUTES)
        assert counted == {1: (1, *[0] * 27, 1, 2), 7: (*[0] * 28, 1, 0)}
        assert monitoring.errors_by_minute(conn, MINUTES, 3) == {7: counted[7]}


def test_sorting_and_filtering(opened: Opened) -> None:
    async def story(viewer: Viewer) -> None:
        assert (viewer.phones[0], len(viewer.phones)) == ("77471239876", 9)
        await viewer.press("u")
        assert len(viewer.phones) == 5
        await viewer.press("slash", *"ORG 1", "enter")
        assert viewer.phones == ["77051234567", "77017654321"]
        await viewer.press("down", "s", "s", "s", "s")
        assert (viewer.phones, viewer.chosen) == (["77017654321", "77051234567"], "77017654321")
        await viewer.press("down", "S")
        assert (viewer.phones, viewer.chosen) == (["77051234567", "77017654321"], "77051234567")
        await viewer.press("slash", *" zz")
        assert (viewer.phones, viewer.chosen) == ([], "")
        await viewer.press("escape")
        assert len(viewer.phones) == 9

    play(opened, story)


def test_one_organization(opened: Opened) -> None:
    async def story(viewer: Viewer) -> None:
        assert set(viewer.phones) == {"998901234567", "77001112233", "77009998877"}

    play(opened, story, organization=3)


def test_a_history_grows_before_ones_eyes(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOOK_EVERY", 0.2)

    async def story(viewer: Viewer) -> None:
        await viewer.press("down", "down", "enter")
        await viewer.until(lambda: "Bad MAC error 1 of 3" in viewer.text("history"))
        with opened.database.transaction() as conn:
            write_event(conn, 1, 1, "message_lost", {"message_id": "3EB0\x1b", "seconds": 86400})
        await viewer.until(lambda: "message 3EB0\ufffd lost after 24 h" in viewer.text("history"))
        await viewer.press("escape")
        assert viewer.chosen == "77051234567"

    play(opened, story)


def test_closing_asks_first_and_only_y_says_yes(opened: Opened) -> None:
    def status() -> str:
        with opened.database.transaction() as conn:
            row = conn.execute("""SELECT "status" FROM public."OrganizationPhone" WHERE "id" = 8""").fetchone()
            return str(row and row["status"])

    with opened.database.transaction() as conn:
        conn.execute("""UPDATE public."OrganizationPhone" SET "connectionType" = 'neonize' WHERE "id" = 8""")

    async def story(viewer: Viewer) -> None:
        await viewer.press("slash", *"front", "enter", "c")
        await viewer.until(lambda: isinstance(viewer.view.screen, Confirm))
        await viewer.press("enter")
        assert status() == "connected"
        await viewer.press("c")
        await viewer.until(lambda: isinstance(viewer.view.screen, Confirm))
        await viewer.press("y")
        await viewer.until(lambda: "keys kept" in viewer.text("message"))
        assert status() == "disconnected"

    assert play(opened, story).unfinished == []


def test_refusals_are_told_in_the_view(opened: Opened) -> None:
    async def story(viewer: Viewer) -> None:
        await viewer.press("slash", *"waba", "enter", "c")
        await viewer.until(lambda: "77009998877 is a waba phone" in viewer.text("message"))
        await viewer.press("escape", "slash", *"front", "enter", "c")
        await viewer.until(lambda: "is a baileys phone and connected" in viewer.text("message"))
        await viewer.press("escape", "slash", *"tash", "enter", "r", "y")
        await viewer.until(lambda: "no worker runs 998901234567: start one" in viewer.text("message"))

    play(opened, story)


def test_an_order_that_nobody_has_answered_is_told_of_at_the_end(opened: Opened) -> None:
    async def story(viewer: Viewer) -> None:
        await viewer.press("r", "y", "r")
        assert "relink of 77471239876 is still under way" in viewer.text("message")

    assert play(opened, story).unfinished == ["relink of 77471239876 was under way when the view ended"]


def test_a_slow_database_does_not_hold_the_keys(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(reading, "LATE", 0.1)

    async def story(viewer: Viewer) -> None:
        with opened.database.transaction() as conn:
            conn.execute('LOCK TABLE public."OrganizationPhone"')
            await viewer.until(lambda: "no answer from the database" in viewer.text("errors"))
            await viewer.press("u")
            assert len(viewer.phones) == 5
        await viewer.until(lambda: "errors/min" in viewer.text("errors"))

    play(opened, story)


def test_an_error_that_nobody_foresaw_ends_it_with_that_error(opened: Opened) -> None:
    async def story(viewer: Viewer) -> None:
        def broken() -> None:
            raise ZeroDivisionError

        viewer.view._background.start(broken, print, print)
        await viewer.until(lambda: viewer.view.broken)

    view = play(opened, story)
    assert (type(view.broken), view.return_code) == (ZeroDivisionError, 1)


def test_without_our_schema(database: Database) -> None:
    with database.transaction() as conn:
        sample_fleet.make(conn)
        conn.execute("DROP SCHEMA wa_sessions CASCADE")
        opened = Opened(database, backend.detect(conn))

    async def story(viewer: Viewer) -> None:
        assert len(viewer.phones) == 9
        await viewer.press("enter")
        await viewer.until(lambda: "wa-sessions db upgrade" in viewer.text("message"))

    play(opened, story)
