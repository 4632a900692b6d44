"""Whatever a log is wrapped in, it says the same: each prefix and wrapper, over each of the logs that stand bare."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import log_cases
from support.examples import examples

from wa_sessions.logs.scan_result import Kind
from wa_sessions.logs.scanner import Scanner

MOMENT = datetime(2026, 11, 20, 18, 47, 1, 343_000, tzinfo=UTC)
OWN = "⚠️ Bad MAC error #2 для 77051234567@s.whatsapp.net"
ODD = ("grep_A", "emoji_ts", "joined_line", "winpath", "logfmt", "truncated3_then")
BARE = {
    case: (log_cases.FOLDER / case).read_text(encoding="utf-8").replace("\r", "").rstrip("\n").split("\n")
    for case in log_cases.cases()
    if case.split("/")[0] in ("appstate", "attribution", "console", "reasons", "pretty")
    and not any(odd in case for odd in ODD)
    and not any(
        word in case for word in ("pm2", "compose", "cri", "journald", "dated", "waha_1509", "group.log", "json")
    )
}

Dress = Callable[[list[str]], list[str]]


def prefixed(prefix: str) -> Dress:
    return lambda lines: [prefix + line for line in lines]


def prefixed_by(head: Callable[[int], str]) -> Dress:
    return lambda lines: [head(n) + line for n, line in enumerate(lines)]


def wrapped(field: str, more: dict[str, Any], end: str = "") -> Dress:
    return lambda lines: [json.dumps({field: line + end, **more}, ensure_ascii=False) for line in lines]


def nested(*dresses: Dress) -> Dress:
    def dress(lines: list[str]) -> list[str]:
        for one in dresses:
            lines = one(lines)
        return lines

    return dress


NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,14}[a-z0-9]", fullmatch=True).filter(lambda name: name not in ("am", "pm"))
DATES = st.sampled_from(
    [
        *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d-%m-%Y", "%d/%m/%Y", "%d.%m.%Y", "%m/%d/%Y", "%a %b %d %Y"),
        *("%b %d %Y", "%d %b %Y", "%d/%b/%Y", "%A, %B %dth %Y", "%m-%d", "%y%m%d", "%d %B", "%j %Y"),
    ]
)
CLOCKS = st.sampled_from(["%H:%M:%S", "%H:%M:%S.343", "%H:%M:%S,343", "%H:%M", "%I:%M:%S %p", "%I:%M %p"])
ZONES = st.sampled_from(["", "Z", "+00:00", " +0000", " +00:00", " UTC", " GMT"])
STAMPS = st.one_of(
    st.builds(
        lambda date, between, clock, zone: MOMENT.strftime(date + between + clock) + zone,
        *(DATES, st.sampled_from(["T", " ", ", "]), CLOCKS, ZONES),
    ),
    st.sampled_from(["1795200421343", "1795200421", "18:47:01", "18:47:01.343", "Nov 20 18:47:01"]),
    st.builds(lambda nanoseconds: f"2026-11-20T18:47:01.{nanoseconds:09}Z", st.integers(0, 10**9 - 1)),
)
PREFIXES = st.one_of(
    st.builds(lambda at, end: at + end, STAMPS, st.sampled_from([": ", " ", ", ", " - "])),
    st.builds("[{}] ".format, STAMPS),
    st.builds("{}  | ".format, NAMES),
    st.builds("{}  | {} ".format, NAMES, STAMPS),
    st.builds("{}|{}  | ".format, st.integers(0, 99), NAMES),
    st.builds("{}|{}  | {}: ".format, st.integers(0, 99), NAMES, STAMPS),
    st.builds("{} {}|{}  | ".format, STAMPS, st.integers(0, 99), NAMES),
    st.builds("PM2 {}|{} | ".format, st.integers(0, 99), NAMES),
    st.builds("[pod/{}/{}] ".format, NAMES, NAMES),
    st.builds("Nov 20 18:47:01 {} {}[{}]: ".format, NAMES, NAMES, st.integers(1, 99999)),
    st.builds("2026-11-20T18:47:01.343Z {} {}[{}]: ".format, NAMES, NAMES, st.integers(1, 99999)),
    st.builds(
        "<{}>1 2026-11-20T18:47:01.343Z {} {} {} - - ".format, st.integers(0, 191), NAMES, NAMES, st.integers(1, 9)
    ),
    st.builds("2026-11-20T18:47:01.343456+00:00 app[{}.{}]: ".format, NAMES, st.integers(1, 9)),
    st.builds("2026-11-20T18:47:01Z app[{}] ams [info]".format, st.from_regex(r"[0-9a-f]{6,14}", fullmatch=True)),
    st.builds("2026-11-20T18:47:01.343456789Z {} F ".format, st.sampled_from(["stdout", "stderr"])),
    st.builds("{} {} ".format, STAMPS, st.sampled_from(["ERROR", "INFO", "warn", "[ERROR]", "Error:", "DEBUG"])),
)
WRAPPERS = st.sampled_from(
    [
        wrapped("log", {"stream": "stderr", "time": "2026-11-20T18:47:01.343456789Z"}, "\n"),
        wrapped("MESSAGE", {"__REALTIME_TIMESTAMP": "1795200421343456", "_PID": "1234"}),
        wrapped("message", {"attributes": {"level": "error"}, "timestamp": "2026-11-20T18:47:01.343456789Z"}),
        wrapped("message", {"timestamp": "2026-11-20T18:47:01", "type": "out", "process_id": 0, "app_name": "m"}, "\n"),
        wrapped("textPayload", {"severity": "ERROR", "timestamp": "2026-11-20T18:47:01.343Z", "labels": {"a": "b"}}),
        wrapped("anything", {"at": 1795200421343}),
        nested(wrapped("message", {"level": "error"}), wrapped("log", {"stream": "stdout"}, "\n")),
        lambda lines: [
            json.dumps({"jsonPayload": {"message": line}, "timestamp": "2026-11-20T18:47:01Z"}) for line in lines
        ],
        lambda lines: [f"\x1b[31m{line}\x1b[0m" for line in lines],
        lambda lines: [f"{line}\r" for line in lines],
        prefixed(""),
    ]
)
DRESSES = st.one_of(st.builds(prefixed, PREFIXES), WRAPPERS, st.builds(nested, st.builds(prefixed, PREFIXES), WRAPPERS))


def scanned(lines: list[str]) -> Scanner:
    scanner = Scanner()
    scanner.feed("\n".join([*lines, ""]).encode())
    scanner.finish().finish()
    return scanner


def said(lines: list[str]) -> dict[str, Any]:
    """What a log says, times left out."""
    found = scanned(lines).found
    rows = [[(list(one.names)[sender], kind) for sender, kind in zip(one.senders, one.kinds, strict=True)]
            for one in (found.failures, found.console)]  # fmt: skip
    return {
        "rows": rows,
        "ids": list(found.failures.ids),
        "collections": found.collections,
        "counters": {name: list(one.numbers) for name, one in found.counters.items()},
        "secrets": found.secrets,
        "unread": [(form, rows.lines) for form, rows in found.not_understood()],
    }


@pytest.mark.parametrize("case", BARE)
@examples(6)
@given(dress=DRESSES, before=st.booleans())
def test_in_every_dress_a_log_says_the_same(case: str, dress: Dress, before: bool) -> None:
    lines = [OWN, *BARE[case]] if before else [*BARE[case], OWN]
    assert said(dress(lines)) == said(lines)


@examples(60)
@given(dress=DRESSES, cut=st.integers(0, 4000), case=st.sampled_from(sorted(BARE)))
def test_cut_anywhere_it_says_the_same(dress: Dress, cut: int, case: str) -> None:
    """Fed in two blocks; a log that goes on between two lines of an entry waits for the rest."""
    lines = dress([OWN, *BARE[case], OWN])
    log = "\n".join([*lines, ""]).encode()
    scanner, whole = Scanner(), scanned(lines)
    scanner.feed(log[: cut % len(log)])
    scanner.feed(log[cut % len(log) :])
    scanner.finish().finish()
    assert scanner.found == whole.found


@given(
    head=st.from_regex(r"[a-z]{2,9} [a-z]{2,9}: ?", fullmatch=True),
    case=st.sampled_from(["console/ok.log", "console/over2000.log"]),
)
def test_an_unknown_prefix_is_learned_from_a_stack(head: str, case: str) -> None:
    """What stands before the frames of a stack is no text; lines after it are read, too."""
    lines = [*BARE[case], *BARE[case], OWN, *BARE["reasons/bad_mac_pkmsg.log"]]
    assert said([head + line for line in lines]) == said(lines)


@pytest.mark.parametrize("host", ["am_0", "pm-2", "amnesia", "a.mx"])
def test_a_host_is_no_half_of_a_day(host: str) -> None:
    lines = [OWN, *BARE["reasons/bad_mac_pkmsg.log"]]
    assert said([f"Nov 20 18:47:01 {host} a0[1]: {line}" for line in lines]) == said(lines)


def test_a_prefix_before_all_lines_is_learned() -> None:
    lines = ["started", *(f"GET /health {n}" for n in range(9)), OWN, *BARE["reasons/bad_mac_pkmsg.log"]]
    found = said([f"shop backend 7: {line}" for line in lines])
    assert (found["counters"], found["rows"][0], found["unread"]) == (
        {(0, "77051234567"): [2]}, [(b"77071003330.0", 0)], [])  # fmt: skip


def test_what_could_not_be_read_is_told_without_what_is_anybodys() -> None:
    found = scanned(["shop Асель 77051234567: Session error:Error: Bad MAC Error: Bad MAC", "ok"]).found
    [(form, rows)] = found.not_understood()
    assert form == "libsignal's error, its prefix or form is not known"
    assert (rows.lines, rows.example) == (1, "xxxx xxxxx 00000000000: Session error:…")


@given(quoted=st.sampled_from(["> ", "Асель: ", '✅ Сообщение отправлено: "']), first=st.booleans())
def test_what_a_customer_quotes_is_text_where_the_prefix_of_the_log_is_known(quoted: str, first: bool) -> None:
    prefix = "2026-11-20T18:47:01: "
    lines = [prefix + OWN, f"{prefix}{quoted}{OWN}", f"{prefix}{quoted}Session error:Error: Bad MAC Error: Bad MAC"]
    found = scanned(lines if first else lines[::-1]).found
    assert (list(found.not_understood()), list(found.counters[(Kind.BAD_MAC, "77051234567")].numbers)) == ([], [2])
    assert [rows.lines for _, rows in scanned(lines[1:]).found.not_understood()] == [1, 1]


UNLISTED: dict[str, Callable[[list[str]], list[str]]] = {
    "logcli": prefixed('2026-11-20T18:47:01Z {app="wa",pod="wa-1"} '),
    "stern": prefixed("wa-6d5f7 app "),
    "concurrently": prefixed("[api] "),
    "awslogs": prefixed("group/app/i-0abc 2026-11-20T18:47:01.343Z "),
    "klog": prefixed("E1120 18:47:01.343456   12345 node.go:12] "),
    "grep -Hn": lambda lines: [f"app.log:{n + 10}:{line}" for n, line in enumerate(lines)],
    "csv": lambda lines: ['"2026-11-20T18:47:01.343Z","api","' + line.replace('"', '""') + '"' for line in lines],
    "a sign": prefixed("⚠️ "),
    "the library's words": prefixed("Session error: | "),
    "blanks behind": lambda lines: [f"{line}  " for line in lines],
    "a cleared line": lambda lines: [f"\x1b[2K{line}\x1b[0m\x1b[K" for line in lines],
}


@pytest.mark.parametrize("dress", UNLISTED)
@pytest.mark.parametrize("case", ["console/ok.log", "attribution/heads_three_senders.log", "console/over2000.log"])
def test_what_stands_before_the_first_stack_is_read_too(dress: str, case: str) -> None:
    lines = [OWN, *BARE["reasons/bad_mac_pkmsg.log"], *BARE[case], *BARE["pretty/pretty_886.log"], "ready"]
    found = said(UNLISTED[dress](lines))
    if dress == "the library's words":
        assert found.pop("unread"), "each line has them, and it is told of those that say nothing"
    assert found == {name: told for name, told in said(lines).items() if name in found}


HEADS: dict[str, Callable[[UUID, int], str]] = {
    "hex": lambda one, _: f"{one.hex} ",
    "hex in brackets": lambda one, _: f"[{one.hex}] ",
    "uuid": lambda one, _: f"{one} ",
    "upper case": lambda one, _: f"{str(one).upper()}: ",
    "a time and an id": lambda one, _: f"2026-11-20T18:47:01.343Z [{one}] ",
    "a request": lambda one, _: f"2026-11-20T18:47:01.343Z req={one.hex[:12]} ",
    "grep -n and an id": lambda one, n: f"{n + 1}:{one.hex} ",
}


@pytest.mark.parametrize("head", HEADS)
@given(ids=st.lists(st.uuids(version=4), min_size=40, max_size=40))
def test_an_id_of_its_own_before_each_line_is_learned(head: str, ids: list[UUID]) -> None:
    lines = [*BARE["console/ok.log"], OWN, *BARE["reasons/bad_mac_pkmsg.log"], *BARE["console/over2000.log"]]
    dressed = [HEADS[head](one, n) + line for n, (one, line) in enumerate(zip(ids, lines, strict=False))]
    assert said(dressed) == said(lines)


def test_text_of_letters_that_hex_has_is_no_id() -> None:
    lines = BARE["console/ok.log"]
    found = said([*(f"facade: {line}" for line in lines), f"decade: {OWN}"])
    assert (found["counters"], found["unread"]) == (
        {},
        [("the backend's own line, its prefix or form is not known", 1)],
    )


NUMBERED = {
    "cat -n": prefixed_by(lambda n: f"{n + 1:6}\t"),
    "less -N": prefixed_by(lambda n: f"{n + 1:7} "),
    "cat -n of pm2's": prefixed_by(lambda n: f"{n + 1:6}\t2026-11-20T18:47:01: "),
    "a tab": prefixed("\t"),
}


@pytest.mark.parametrize("dress", NUMBERED)
@pytest.mark.parametrize("case", BARE)
def test_numbered_lines_are_read(dress: str, case: str) -> None:
    lines = [OWN, *BARE[case], OWN]
    assert said(NUMBERED[dress](lines)) == said(lines)


@pytest.mark.parametrize("depth", [3, 4])
@pytest.mark.parametrize("field", ["log", "anything"])
@pytest.mark.parametrize("case", ["console/ok.log", "reasons/bad_mac_pkmsg.log", "appstate/skip_patch.log"])
def test_four_wrappers_are_not_too_many(case: str, field: str, depth: int) -> None:
    lines = [OWN, *BARE[case], OWN]
    dress = nested(*[wrapped(field, {"stream": "stderr", "time": "2026-11-20T18:47:01.343456789Z"})] * depth)
    assert said(dress(lines)) == said(lines)


PIECE = "2026-11-20 18:47:01,343 DEBG 'api' stderr output:\n"
SPAWNED = "2026-11-20 18:47:00,001 INFO spawned: 'api' with pid 12\n"
OTHERS = "2026-11-20 18:47:01,344 DEBG 'web' stdout output:\nGET / 200\n\n"


@examples(60)
@given(cuts=st.sets(st.integers(1, 2000), max_size=6), case=st.sampled_from(sorted(BARE)), others=st.booleans())
def test_what_supervisord_breaks_in_pieces_is_put_together(cuts: set[int], case: str, others: bool) -> None:
    lines = [OWN, *BARE[case], OWN]
    log = "\n".join([*lines, ""])
    begins = sorted({0, *(cut % len(log) for cut in cuts)})
    pieces = [PIECE + log[begin:end] + "\n" for begin, end in zip(begins, [*begins[1:], len(log)], strict=True)]
    around = OTHERS if others else ""
    assert said((SPAWNED + around + "".join(pieces) + around + SPAWNED).split("\n")) == said(lines)


@given(cuts=st.lists(st.integers(1, 2000), max_size=5), case=st.sampled_from(sorted(BARE)))
def test_a_line_that_kubernetes_breaks_is_put_together(cuts: list[int], case: str) -> None:
    at = "2026-11-20T18:47:01.343456789Z stdout"
    lines = [OWN, *BARE[case], OWN]
    dressed = list[str]()
    for line in lines:
        begins = sorted({0, *(cut % max(len(line), 1) for cut in cuts)})
        *parts, last = [line[begin:end] for begin, end in zip(begins, [*begins[1:], len(line)], strict=True)]
        dressed += [*(f"{at} P {part}" for part in parts), f"{at} F {last}"]
    assert said(dressed) == said(lines)


@pytest.mark.parametrize("lost", ["the prefix is learned too late", "the entry is cut", "lists", "logfmt"])
def test_what_is_lost_is_told(lost: str) -> None:
    [failed], stack = BARE["reasons/bad_mac_pkmsg.log"], BARE["console/ok.log"]
    logs = {
        "the prefix is learned too late": ["shop a: " + line for line in (failed, *["ready"] * 99, *stack)],
        "the entry is cut": ["2026-11-20T18:47:01: " + line for line in (OWN, failed[:-1])],
        "lists": [json.dumps({"stream": {"app": "x"}, "values": [["1795200421343000000", failed]]})],
        "logfmt": [f"level=error msg={json.dumps(line)}" for line in (failed, *stack)],
    }
    log = "\n".join([*logs[lost], ""]).encode()
    scanner = Scanner()
    for line in log.splitlines(keepends=True):
        scanner.feed(line)
    scanner.finish().finish()
    assert [rows.lines for _, rows in scanner.found.not_understood()] == [1]


@pytest.mark.parametrize(
    "message",
    [
        {"key": {"remoteJid": "7@s.whatsapp.net"}, "message": {"conversation": OWN}},
        {"from": "77010000000@c.us", "body": OWN, "timestamp": 1795200421},
        {"text": OWN},
        {"data": {"caption": OWN}},
    ],
)
def test_a_message_that_the_backend_prints_is_no_wrapper_of_its_log(message: dict[str, Any]) -> None:
    """What a customer writes makes no phone ill."""
    lines = ['{"level":30,"time":1795200421343,"msg":"ready"}', json.dumps(message, ensure_ascii=False), "got it"]
    assert said(lines)["counters"] == {}
