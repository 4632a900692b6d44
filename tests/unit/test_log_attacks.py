"""What strangers write steers nothing: no line stops the reading, takes long, or makes a phone ill that is not."""

import json
import time
from collections.abc import Callable, Sized

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from wa_sessions.logs.lines import LONGEST_PREFIX, Clock, now_in_ms
from wa_sessions.logs.scan_result import MOST_PREFIXES, ScanResult, keep_latest
from wa_sessions.logs.scanner import Scanner
from wa_sessions.logs.words import WORDS

PIECES = st.one_of(
    st.sampled_from([*WORDS, "{", "}", '"', "\\", "\n", "\r\n", "    at ", " [as awaitable]", ": ", " | ", "[", "]"]),
    st.sampled_from(['{"level":50,"msg":"', '","key":{"remoteJid":"', '"err":{"message":"', "[18:47:01] ERROR (1): "]),
    st.text(max_size=20),
    st.from_regex(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}", fullmatch=True),
)
LONG = 100_000


@examples(150)
@given(st.lists(PIECES, max_size=40).map("".join), st.integers(0, 400))
def test_nothing_stops_it_wherever_it_is_cut(text: str, cut: int) -> None:
    log = text.encode("utf-8", "surrogatepass")
    whole, parts = Scanner(), Scanner()
    whole.feed(log)
    whole.finish().finish()
    parts.feed(log[:cut])
    parts.feed(log[cut:])
    parts.finish().finish()
    assert whole.found.events == parts.found.events


def scanned(log: bytes) -> Scanner:
    scanner = Scanner()
    scanner.feed(log)
    scanner.finish()
    return scanner


def cpu_seconds(work: Callable[[], object], enough: float) -> float:
    """Of the quickest of three, as a machine that is busy and a collection of garbage take theirs."""
    least = float("inf")
    for _ in range(3):
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
        if least < enough:
            break
    return least


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    "before",
    ["{" * LONG, "[" * LONG, '{"a":' * (LONG // 5), " " * LONG, "1" * LONG, "a" * LONG, "12:12:12 " * (LONG // 9)],
)
def test_a_long_line_takes_no_time(word: str, before: str) -> None:
    assert cpu_seconds(lambda: scanned(f"{before}{word}{before}\n".encode()), 0.5) < 0.5


def test_a_message_key_without_an_end_takes_no_time() -> None:
    """As a stranger may write it, and a backend print it alone on a line."""
    fields = ',"id":"b"' * (LONG // 10)
    line = f'{{"level":50,"time":1795200421343,"key":{{"remoteJid":"7"{fields},"msg":"failed to decrypt message"}}\n'
    assert cpu_seconds(lambda: scanned(line.encode()), 0.5) < 0.5


@pytest.mark.parametrize("lines", [4_000, pytest.param(20_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("word", WORDS)
def test_many_lines_take_no_more_than_their_share(word: str, lines: int) -> None:
    """Each line may look at those around it, and all of them together must not look at everything again and again."""
    log, enough = f"shop says: {word}\n".encode() * lines, lines * 0.0003
    scanners: list[Scanner] = []
    assert cpu_seconds(lambda: scanners.append(scanned(log)), enough) < enough
    assert len(scanners[-1].found.unread) <= 3


def test_forms_that_differ_without_end_are_kept_small() -> None:
    scanner = Scanner()
    scanner.feed("".join(f"{chr(0x4E00 + n)}x: Session error:Error\n" for n in range(5_000)).encode())
    scanner.finish()
    assert len(scanner.found.unread) <= 257
    assert sum(rows.lines for rows in scanner.found.unread.values()) == 5_000


TOKENS = st.sampled_from(
    [
        *("2026-11-20", "18:47:01", " ", "-05", "+05:00", ": ", "T", "Z", "UTC", "Nov", "Fri", "20th", "1", "12", "PM"),
        *(
            "[",
            "]",
            "(",
            ")",
            "0|app | ",
            "api-1  | ",
            "a.b",
            "node[1]: ",
            "ERROR",
            "INFO ",
            "- ",
            "<11>1 ",
            "x",
            "[a/b] ",
        ),
    ]
)


@examples(100)
@given(st.lists(TOKENS, min_size=5, max_size=80).map("".join))
def test_no_prefix_takes_long(prefix: str) -> None:
    assert cpu_seconds(lambda: Clock(0, now_in_ms()).read(prefix[:LONGEST_PREFIX].encode()), 0.2) < 0.2


def test_shapes_of_prefixes_do_not_fill_the_memory() -> None:
    """As with ``--follow``, for weeks, behind names that change."""
    clock, whole = Clock(0, now_in_ms()), ScanResult()
    for number in range(20 * MOST_PREFIXES):
        name = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        clock.read(f"{name}-api  | ".encode())
        part = ScanResult(prefixes={f"{name}  |".encode(): None})
        whole.extend(part)
    for _ in range(5_000):
        clock.read(f"pod-{_}  | ".encode())
    assert len(clock.shapes_read()) <= MOST_PREFIXES
    assert len(whole.prefixes) == MOST_PREFIXES
    assert [*whole.prefixes][-1] == f"{name}  |".encode(), "the latest are kept"
    kept: dict[bytes, None] = {b"a": None, b"b": None}
    keep_latest(kept, [b"a"])
    assert [*kept] == [b"b", b"a"]


FORGED = [
    *("[77051234567] connected", "⚠️ Bad MAC error #3 для 77051234567@s.whatsapp.net"),
    "🔄 Счетчики ошибок сброшены для organizationPhoneId: 1",
    "🚪 Закрытие сессии для 77051234567@s.whatsapp.net. Причина: Слишком много ошибок Bad MAC",
    "Session error:Error: Bad MAC Error: Bad MAC\n    at async 77071003330.0 [as awaitable] (/srv/x.js:1:1)",
    (
        '{"level":50,"key":{"remoteJid":"77071003330@s.whatsapp.net","id":"A"},"err":{"message":"Bad MAC"},'
        '"msg":"failed to decrypt message"}'
    ),
    '{"level":30,"time":1795200421343,"phone":"77051234567","msg":"recv ack"}',
]
PINO = {"level": 30, "time": 1795200421343}
PRINTED: dict[str, Callable[[str], str]] = {
    "pino's text": lambda text: json.dumps(PINO | {"msg": f"new message: {text}"}, ensure_ascii=False),
    "pino's lines": lambda text: json.dumps(PINO | {"msg": f"hello\n{text}"}, ensure_ascii=False),
    "pino's field": lambda text: json.dumps(PINO | {"text": text, "msg": "x"}, ensure_ascii=False),
    "JSON of the console": lambda text: f"new message {json.dumps({'text': text}, ensure_ascii=False)}",
    "an object of the console": lambda text: f"new message {{ text: {text!r} }}",
    "a long one": lambda text: (
        "{\n  text: 'hello\\n' +\n" + " +\n".join(f"    {line!r}" for line in text.split("\n")) + "\n}"
    ),
    "in a line": lambda text: f"2026-11-20T18:47:01: 77019990053: {text.splitlines()[-1]}",
}


@pytest.mark.parametrize("printed", PRINTED)
@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("begin", ["", "hello\n"])
def test_what_a_customer_writes_says_nothing_of_a_phone(printed: str, forged: str, begin: str) -> None:
    assert said_of_phones(PRINTED[printed](begin + forged)) == 0


@pytest.mark.parametrize("before", ["new message: ", "2026-11-20T18:47:01: in: ", "shop <- "])
@pytest.mark.parametrize("forged", [one for one in FORGED if one.startswith(("⚠", "🔄", "🚪", "Session"))])
def test_a_log_that_has_nothing_but_customers_texts_says_nothing_of_a_phone(before: str, forged: str) -> None:
    """What stands before each of them is the backend's own words, and not what carries the log."""
    texts = [*("hello", "at 10:30:00 or at home?", "{ ok }") * 4, forged.splitlines()[0]]
    assert said_of_phones("\n".join(before + text for text in texts)) == 0


@pytest.mark.parametrize("forged", FORGED)
def test_a_text_that_the_console_prints_with_its_line_breaks_is_lines(forged: str) -> None:
    """The limit: nothing tells such a line from one of the backend's own (docs/monitoring)."""
    assert said_of_phones(f"new message: hello\n{forged}") == 1


def said_of_phones(log: str) -> int:
    """How many failures, counters, resets, closes and names of phones a log holds."""
    scanner = Scanner(naming=True)
    scanner.feed(f"{log}\n".encode())
    found = scanner.finish()
    found.finish()
    rows: tuple[Sized, ...] = (
        found.counters,
        found.resets,
        found.closes,
        found.named,
        found.failures.ids,
        found.console.ids,
    )
    return sum(map(len, rows))
