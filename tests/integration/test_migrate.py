import threading

import pytest
from support.fleet import Fleet
from support.waiting import PATIENCE

from wa_sessions.db import migrate
from wa_sessions.db.gateway import Connection, Database
from wa_sessions.db.settings import Target
from wa_sessions.errors import SchemaMissing


def test_an_empty_database_is_brought_up_once(empty_target: Target) -> None:
    with Database.open(empty_target) as database:
        with database.transaction() as conn:
            before = migrate.status(conn)
            with pytest.raises(SchemaMissing, match="no schema wa_sessions yet"):
                migrate.require_current(conn)
        assert before.current == 0
        assert before.pending[0] == "0001_initial"
        with database.transaction() as conn:
            assert migrate.upgrade(conn) == list(before.pending)
        with database.transaction() as conn:
            assert migrate.status(conn) == migrate.MigrationStatus(before.latest, before.latest, ())
            migrate.require_current(conn)
            assert migrate.upgrade(conn) == []


def test_two_upgraders_wait_for_each_other(empty_target: Target) -> None:
    with Database.open(empty_target) as database:
        start, done = threading.Barrier(2), []
        with database.transaction() as conn:
            pending = migrate.status(conn).pending

        def upgrade() -> None:
            with database.transaction() as conn:
                start.wait(PATIENCE)
                done.append(migrate.upgrade(conn))

        threads = [threading.Thread(target=upgrade) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [[], list(pending)]


def test_an_upgrade_that_is_rolled_back_leaves_nothing(empty_target: Target) -> None:
    def fail(conn: Connection) -> None:
        migrate.upgrade(conn)
        raise LookupError

    with Database.open(empty_target) as database:
        with pytest.raises(LookupError), database.transaction() as conn:
            fail(conn)
        with database.transaction() as conn:
            assert migrate.status(conn).current == 0


def test_a_newer_schema_is_not_touched(conn: Connection) -> None:
    conn.execute("INSERT INTO wa_sessions.migration (number, name) VALUES (9999, '9999_future')")
    for refused in (migrate.require_current, migrate.upgrade):
        with pytest.raises(SchemaMissing, match="install a newer wa-sessions"):
            refused(conn)


def test_an_upgrade_below_a_newer_schema_says_so(fleet: Fleet) -> None:
    fleet.sql("INSERT INTO wa_sessions.migration (number, name) VALUES (9999, '9999_future')")
    refused = fleet("db", "upgrade")
    assert (refused.code, refused.out) == (1, "")
    assert "is at 9999" in refused.err
    assert "install a newer wa-sessions" in refused.err
    assert "newer than this program" in fleet("db", "status").out


def test_an_older_schema_says_what_to_run(conn: Connection) -> None:
    conn.execute("DELETE FROM wa_sessions.migration")
    conn.execute("INSERT INTO wa_sessions.migration (number, name) VALUES (-1, 'before the first')")
    with pytest.raises(SchemaMissing, match="run wa-sessions db upgrade"):
        migrate.require_current(conn)
