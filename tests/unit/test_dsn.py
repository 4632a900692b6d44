"""Connection strings as people have them; and that none ever shows its password."""

from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from wa_sessions.db import dsn
from wa_sessions.db.settings import Target
from wa_sessions.errors import DatabaseError

SECRET = "Geh/eim@7:x?"
PLAIN = quote(SECRET, safe="")

passwords = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=6, max_size=20).filter(
    lambda text: text.strip() == text
)


def test_a_prisma_url_needs_no_editing() -> None:
    text = f"postgresql://app:{PLAIN}@db.local:6543/messenger?schema=chat&connection_limit=5&pgbouncer=true&sslmode=require"
    conninfo, schema = dsn.read_dsn(text, "DATABASE_URL")
    assert schema == "chat"
    assert conninfo_to_dict(conninfo) == {
        "user": "app",
        "password": SECRET,
        "host": "db.local",
        "port": "6543",
        "dbname": "messenger",
        "sslmode": "require",
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("postgres://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("  'postgresql://u@h/d' ", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql+asyncpg://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql://u@h/d?connect_timeout=9", {"user": "u", "host": "h", "dbname": "d", "connect_timeout": "9"}),
        ("postgresql://u@/d?host=/run/pg", {"user": "u", "host": "/run/pg", "dbname": "d"}),
        ("postgresql://u:a+b@h/d", {"user": "u", "password": "a+b", "host": "h", "dbname": "d"}),
        ("postgresql://h/d?user=u&password=a+b", {"user": "u", "password": "a+b", "host": "h", "dbname": "d"}),
        ("postgresql://u:a?b@h/d?schema=x", {"user": "u", "password": "a?b", "host": "h", "dbname": "d"}),
        ("postgresql://u:a#b@h/d", {"user": "u", "password": "a#b", "host": "h", "dbname": "d"}),
        ("postgresql://u@[::1]:5433/d", {"user": "u", "host": "::1", "port": "5433", "dbname": "d"}),
        ("postgresql://u@h/d?sslcert=ca.pem", {"user": "u", "host": "h", "dbname": "d"}),
        (
            "postgresql://u@h/d?sslcert=ca.pem&sslaccept=strict",
            {"user": "u", "host": "h", "dbname": "d", "sslrootcert": "ca.pem", "sslmode": "verify-full"},
        ),
        ("host=h dbname=d user=u", {"user": "u", "host": "h", "dbname": "d"}),
        ("DATABASE_URL=postgresql://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ('DATABASE_URL="postgresql://u@h/d?schema=public"', {"user": "u", "host": "h", "dbname": "d"}),
        ("export DATABASE_URL='postgres://u@h/d';", {"user": "u", "host": "h", "dbname": "d"}),
        ("DATABASE_URL: postgres://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql://u@h/d?sslmode=no-verify", {"user": "u", "host": "h", "dbname": "d", "sslmode": "require"}),
        ("service=backend", {"service": "backend"}),
    ],
)
def test_spellings_that_are_understood(text: str, parts: dict[str, str]) -> None:
    assert conninfo_to_dict(dsn.read_dsn(text, "X")[0]) == parts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("''", "is empty"),
        ("mysql://u:p@h/d", "a mysql:// URL"),
        ("prisma://accelerate/?api_key=p", "a prisma:// URL"),
        ("nonsense", "no connection string"),
        ("postgres://", "names no database"),
        (f"postgres://u:{SECRET}@h/d", "percent-encoded"),
        ("postgres://u:12/34@h/d", "percent-encoded"),
        ("postgres://u:s3cr3t@w0rd@h/d", "percent-encoded"),
        ("postgres://u:%zz@h/d", "percent-encoded"),
        ("postgres://u:p@h:port/d", "percent-encoded"),
        ("host=h port=s3cr3t", "port"),
        ("password=tw0 w0rds host=h", "no connection string"),
        ("password='unt3rminated host=h", "no connection string"),
        ("postgres://u:p@h/d?sslmod=require", "'sslmod'"),
        ("postgres://u:p\0@h/d", "characters"),
        ("postgres://u:p\udcff@h/d", "characters"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line_without_the_text(text: str, said: str) -> None:
    with pytest.raises(DatabaseError, match=said) as error:
        dsn.read_dsn(text, "DATABASE_URL")
    message = str(error.value)
    assert message.startswith("DATABASE_URL ")
    assert "\n" not in message
    for piece in (SECRET, "Geh", "s3cr3t", "w0rd", "tw0", "unt3rminated", "34"):
        assert piece not in message


@given(passwords)
@example("a@b/c?d#e%20")
@example("':\\\"'")
def test_an_encoded_password_reaches_libpq_and_nobody_else(password: str) -> None:
    url = f"postgresql://app:{quote(password, safe='')}@db.local:5432/app?schema=x"
    conninfo, _ = dsn.read_dsn(url, "X")
    assert conninfo_to_dict(conninfo)["password"] == password
    target = Target(conninfo, None, "X")
    assert target.masked == "postgresql://app:***@db.local:5432/app"
    assert conninfo not in repr(target)


@given(passwords)
def test_a_password_among_keywords_is_masked(password: str) -> None:
    conninfo, _ = dsn.read_dsn(make_conninfo(user="app", host="db.local", password=password), "X")
    assert Target(conninfo, None, "X").masked == "postgresql://app:***@db.local"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=20))
@example("secret%80")
def test_a_raw_password_is_read_right_or_refused_and_never_shown(password: str) -> None:
    url = f"postgres://app:{password}@db.local:5432/app"
    conninfo = _read(url)
    if isinstance(conninfo, DatabaseError):
        assert password not in str(conninfo)
    elif conninfo_to_dict(conninfo).get("password") == unquote(password):
        assert Target(conninfo, None, "X").masked == "postgresql://app:***@db.local:5432/app"
    else:
        assert password not in Target(conninfo, None, "X").masked


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"postgres://{text}", f"postgresql://u@h/d?{text}"):
        conninfo = _read(candidate)
        assert conninfo_to_dict(conninfo) if isinstance(conninfo, str) else "\n" not in str(conninfo)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(st.characters(codec="utf-8"), max_size=8)))
def test_a_query_survives_splitting_and_joining(query: dict[str, str]) -> None:
    assert dsn.split_query(dsn.with_query("postgresql://u@h/d", query)) == ("postgresql://u@h/d", query)
    assert urlsplit(dsn.with_query("postgresql://u@h/d", query)).path == "/d"


def _read(text: str) -> str | DatabaseError:
    try:
        return dsn.read_dsn(text, "X")[0]
    except DatabaseError as error:
        return error
