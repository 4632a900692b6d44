"""Several hosts in one address: the one that can be written to is meant, and found again after a failover."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.replica import Pair, pair

from wa_sessions.db import dsn
from wa_sessions.db.dsn import Server
from wa_sessions.db.gateway import Database
from wa_sessions.db.settings import Target, at_server, resolve, store_url, without_idle_timeout
from wa_sessions.errors import DatabaseError, ReadOnlyDatabase


@pytest.fixture(scope="module")
def following(open_folder: Path) -> Iterator[Pair]:
    """A primary and a standby that nobody promotes."""
    with pair(open_folder / "following") as both:
        yield both


def _address(database: Database) -> str:
    with database.transaction() as conn:
        return conn.info.host


def test_of_several_hosts_the_primary_is_meant(following: Pair) -> None:
    for first, second in ((following.primary, following.standby), (following.standby, following.primary)):
        target = resolve(f"postgresql://postgres@{first},{second}/postgres?sslmode=disable")
        with Database.open(target) as database:
            assert _address(database) == following.primary
            assert database.server == Server(following.primary, 5432)
            with database.dedicated() as dedicated:
                assert dedicated.info.host == following.primary


def test_libpqs_own_variables_may_have_several_hosts_too(following: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", f"{following.standby},{following.primary}")
    monkeypatch.setenv("PGUSER", "postgres")
    with Database.open(resolve()) as database:
        assert _address(database) == following.primary


def test_who_says_which_server_he_wants_gets_it(following: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with Database.open(resolve(following.url + "&target_session_attrs=standby")) as database:
        assert _address(database) == following.standby
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    with Database.open(resolve(following.url)) as database:
        assert _address(database) == following.standby


def test_one_host_that_is_a_standby_is_for_reading(following: Pair) -> None:
    """`sessions` and `stats` may ask a replica; a worker may not."""
    target = resolve(following.url_of(following.standby))
    with Database.open(target) as database:
        assert _address(database) == following.standby
        with pytest.raises(ReadOnlyDatabase):
            database.dedicated()
    with Database(target, 1, deadline=5, writable=True) as database, pytest.raises(ReadOnlyDatabase):
        _address(database)


def test_an_error_tells_why_the_primary_was_not_reached(following: Pair) -> None:
    """That the standby cannot be written to is known; it is told where nothing else stands in the way."""
    away = resolve(f"postgresql://postgres@{following.primary}:1,{following.standby}:5432/postgres?sslmode=disable")
    with pytest.raises(DatabaseError, match=r"port 1 failed: Connection refused"):
        Database.open(away)
    two_standbys = f"{following.standby},{following.standby}"
    with pytest.raises(ReadOnlyDatabase):
        Database.open(resolve(f"postgresql://postgres@{two_standbys}/postgres?sslmode=disable"))


def test_after_a_failover_the_other_host_is_found(open_folder: Path) -> None:
    with (
        pair(open_folder / "failing") as both,
        Database(resolve(both.url), 2, deadline=5, writable=True) as database,
    ):
        with database.transaction() as conn:
            conn.execute("CREATE TABLE public.kept (n int)")
            url = store_url(conn, database.target)
        both.caught_up()
        both.kill_primary()
        with pytest.raises(DatabaseError):
            _address(database)
        both.promote()
        with database.transaction() as conn:
            assert conn.execute("SELECT count(*) AS n FROM public.kept").fetchone() == {"n": 0}
        assert database.server == Server(both.standby, 5432)
        moved = urlsplit(at_server(url, database.server))
        assert (moved.hostname, moved.port) == (both.standby, 5432)
        assert moved.query == urlsplit(url).query


@pytest.mark.parametrize(
    ("given", "first", "order"),
    [
        ({"host": "a,b,c", "port": "1,2,3"}, Server("b", 2), {"host": "b,a,c", "port": "2,1,3"}),
        ({"host": "a,b"}, Server("b", 5432), {"host": "b,a"}),
        ({"host": "a,b", "port": "6"}, Server("b", 6), {"host": "b,a", "port": "6"}),
        ({"host": "a,b", "port": ",7"}, Server("a", 5432), {"host": "a,b", "port": ",7"}),
        (
            {"host": "a,b", "hostaddr": "1.1.1.1,2.2.2.2"},
            Server("b", 5432),
            {"host": "b,a", "hostaddr": "2.2.2.2,1.1.1.1"},
        ),
        ({"host": "a,b"}, Server("gone", 5432), {}),
        ({"host": "a"}, Server("a", 5432), {}),
    ],
)
def test_the_server_that_was_reached_last_is_tried_first(
    given: dict[str, str | int | None], first: Server, order: dict[str, str]
) -> None:
    found = dsn.of_the_primary(given | {"target_session_attrs": "any"}, writable=False, first=first)
    assert found == order


def test_the_stores_url_at_the_same_server_is_the_same(target: Target) -> None:
    with Database.open(target) as database, database.transaction() as conn:
        url = store_url(conn, target)
        assert at_server(url, database.server) == url
        assert at_server(without_idle_timeout(url), database.server) == without_idle_timeout(url)
        assert at_server(url, None) == url
    far = at_server(url, Server("2001:db8::5", 6543))
    assert urlsplit(far).netloc == "postgres@[2001:db8::5]:6543"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@a,b/d", "postgresql://u:***@a,b/d"),
        ("postgresql://u@a:1,b:2/d", "postgresql://u@a:1,b:2/d"),
        ("postgresql://u@a,b/d?port=6", "postgresql://u@a:6,b:6/d"),
        ("postgresql://u@/d?host=/x,/y", "postgresql://u@/d?host=/x,/y"),
    ],
)
def test_several_hosts_are_shown_as_they_are_written(url: str, shown: str) -> None:
    assert resolve(url).masked == shown
    assert "secret" not in resolve(url).masked
