"""What a worker finds out about its server before it begins."""

import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier
from support.pooler import SessionPooler, TransactionPooler
from support.relay import Relay

from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.gateway import Database
from wa_sessions.db.server import Limit, require_session_state, tightest_limit
from wa_sessions.db.settings import Target, resolve
from wa_sessions.errors import DatabaseError, ExitCode


@pytest.mark.parametrize("lends", ["in turn", "the last"])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_pooler_in_transaction_mode_is_noticed(database_url: str, size: int, lends: str) -> None:
    with TransactionPooler(database_url, size, last_first=lends == "the last") as pooler:
        database = Database(resolve(pooler.url + "?sslmode=disable"), 1)
        with pytest.raises(DatabaseError, match=r"is a pooler in transaction mode .*--store-url") as error:
            _look_often(database)
        assert error.value.exit_code is ExitCode.NO_DATABASE
        assert "\n" not in str(error.value)


def _look_often(database: Database) -> None:
    """On a busy machine the pooler takes a server back late, and lends another meanwhile."""
    for _ in range(5):
        require_session_state(database)


def test_a_pooler_in_session_mode_is_as_good_as_the_server(database_url: str) -> None:
    with SessionPooler(database_url, 4) as pooler:
        for _ in range(3):  # what another client gave back is lent again
            require_session_state(Database(resolve(pooler.url + "?sslmode=disable"), 1))


def test_no_false_alarm_at_the_server_itself(target: Target, server: EmbeddedServer) -> None:
    require_session_state(Database(target, 1))
    with Relay(server.socket_dir) as relay:
        far = make_conninfo(target.conninfo, host="127.0.0.1", hostaddr="127.0.0.1", port=str(relay.port))
        require_session_state(Database(Target(far, None, "test"), 1))


@pytest.fixture
def app(target: Target) -> Iterator[tuple[psycopg.Connection, Target]]:
    """An ordinary role, and whoever may change it."""
    with psycopg.connect(target.conninfo, autocommit=True) as admin:
        admin.execute("CREATE ROLE counted LOGIN")
        yield admin, Target(make_conninfo(target.conninfo, user="counted"), None, "test")
        admin.execute("DROP ROLE counted")


def test_what_the_server_has_left_is_without_what_is_reserved(
    server: EmbeddedServer, app: tuple[psycopg.Connection, Target]
) -> None:
    _, target = app
    with Database(target, 1) as database, database.transaction() as conn, contextlib.ExitStack() as others:
        before = tightest_limit(conn)
        assert (before.whose, before.most, before.reserved) == ("the server", 300, 3)
        for _ in range(3):
            others.enter_context(psycopg.connect(server.conninfo()))
        conn.execute("SELECT pg_stat_clear_snapshot()")
        after = tightest_limit(conn)
        assert after.left == before.left - 3
        assert str(after) == f"the server has {after.left} left of 300 (3 reserved, {after.used} used by others)"


def test_a_superuser_has_what_is_reserved_too(database: Database) -> None:
    with database.transaction() as conn:
        assert tightest_limit(conn).reserved == 0


def test_the_limit_of_a_role_or_of_a_database_counts(app: tuple[psycopg.Connection, Target]) -> None:
    admin, target = app
    name = conninfo_to_dict(target.conninfo)["dbname"]
    with Database(target, 1) as database:
        admin.execute("ALTER ROLE counted CONNECTION LIMIT 7")
        with database.transaction() as conn, database.snapshot():
            assert tightest_limit(conn) == Limit("the role counted", 7, 0, 1)
        limited = SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(Identifier(str(name)), SQL("6"))
        admin.execute(limited)
        with database.transaction() as conn:
            limit = tightest_limit(conn)
            assert (limit.whose, limit.most, limit.used) == (f"the database {name}", 6, 1)
