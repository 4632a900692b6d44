"""Which lines show that the backend lives: those that pino wrote, and none that anybody may have written."""

import pytest

from wa_sessions.logs.scanner import Scanner
from wa_sessions.logs.times import NO_TIME

AT = "2026-11-20T18:47:01.343Z"


def seen(line: str) -> bool:
    scanner = Scanner()
    scanner.feed(f"{line}\n".encode())
    return scanner.finish().seen != NO_TIME


@pytest.mark.parametrize(
    "line",
    [
        '{"level":30,"time":1795200421343,"pid":1,"msg":"recv ack"}',
        f"{AT} [18:47:01.343] INFO (7): opened connection",
        f"{AT} \x1b[90m[18:47:01.343]\x1b[39m \x1b[32mINFO\x1b[39m (wa/7): opened connection",
        f"{AT} INFO (7): opened connection",
        "[2026-11-20 18:47:01.343 +0000] WARN: stream errored out",
    ],
)
def test_what_pino_wrote(line: str) -> None:
    assert seen(line)


@pytest.mark.parametrize(
    "line",
    [
        f"{AT} Error: connect ECONNREFUSED 127.0.0.1:5432",
        "2026-11-20T18:47:01: Error: Cannot find module './dist/main.js'",
        f"{AT} error: duplicate key value violates unique constraint",
        f"api-1  | {AT} Error: listen EADDRINUSE: address already in use :::3000",
        "db-1  | 2026-11-20 18:47:01.343 UTC [123] ERROR:  relation does not exist",
        f"{AT} WARN: disk is nearly full",
        f"{AT} info: GET /health 200",
        f"{AT} Warning: a promise rejection was handled asynchronously",
    ],
)
def test_what_any_program_may_write_is_no_life(line: str) -> None:
    assert not seen(line)
