"""What becomes of a handler's output before it is a log line, and which environment the handler has."""

from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.worker.delivery.output import LINE_LIMIT, RATE, OutputLines
from wa_sessions.worker.delivery.spec import handler_environment

TEXT = st.binary(max_size=200)


def lines_of(*parts: bytes) -> list[str]:
    output = OutputLines()
    return [line for part in parts for line in output.feed(part, 0)] + output.end_line(0)


def test_lines_may_come_in_pieces() -> None:
    assert lines_of(b"on", b"e\ntwo\n\nthr", b"\xc3", b"\xa9e") == ["one", "two", "thrée"]


def test_a_line_of_megabytes_is_cut_and_never_held() -> None:
    output = OutputLines()
    for _ in range(300):
        assert output.feed(b"x" * 10_000, 0) == []
        assert len(output._begun) <= LINE_LIMIT
    assert output.feed(b"\nnext\n", 0) == [f"{'x' * LINE_LIMIT} … ({3_000_000 - LINE_LIMIT} bytes more)", "next"]


def test_too_many_lines_are_counted() -> None:
    output = OutputLines()
    assert len(output.feed(b"line\n" * 1000, 5)) == RATE
    assert output.dropped == 1000 - RATE
    assert output.feed(b"later\n", 6) == ["(and 900 more lines, which were dropped)", "later"]
    assert output.tell_dropped() == []


def test_what_is_dropped_at_the_end_can_be_told() -> None:
    output = OutputLines()
    output.feed(b"line\n" * (RATE + 3), 5)
    assert output.tell_dropped() == ["(and 3 more lines, which were dropped)"]


def test_nothing_steers_a_terminal() -> None:
    assert lines_of(b"\x1b[2Jgone\tto\x07 \xc2\x9b \xe2\x80\xae\r\n") == ["�[2Jgone to� � �"]


@given(st.lists(TEXT))
def test_it_makes_no_difference_where_output_is_split(parts: list[bytes]) -> None:
    assert lines_of(*parts) == lines_of(b"".join(parts))


SECRET = {
    "DATABASE_URL": "1",
    "PGPASSWORD": "2",
    "WA_SESSIONS_DATABASE_URL": "3",
    "WA_SESSIONS_STORE_URL": "4",
    "WA_SESSIONS_ALERT_WEBHOOK_URL": "5",
    "WA_SESSIONS_ALERT_WEBHOOK_SECRET": "6",
    "WA_SESSIONS_ALERT_TELEGRAM_TOKEN": "7",
    "WA_SESSIONS_ALERT_SMTP_URL": "8",
    "WA_SESSIONS_BACKUP_IDENTITY": "9",
}
PLAIN = {"PATH": "/bin", "HOME": "/root", "WA_SESSIONS_DATA_DIR": "/data", "MY_DATABASE_URL": "theirs", "pgx": "theirs"}


def test_a_handler_has_the_operators_environment_without_secrets_of_ours() -> None:
    assert handler_environment(PLAIN | SECRET) == PLAIN


def test_a_handler_has_the_secrets_that_were_asked_for() -> None:
    assert handler_environment(PLAIN | SECRET, ["DATABASE_URL"]) == PLAIN | {"DATABASE_URL": "1"}
    assert handler_environment(PLAIN | SECRET, ["*"]) == PLAIN | SECRET
