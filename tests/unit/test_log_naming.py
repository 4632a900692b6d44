"""Whom lines of a log name: what a backend binds to them, never what a customer wrote."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.logs.naming import CERTAIN
from wa_sessions.logs.scan_result import MOST_NAMES, ScanResult
from wa_sessions.logs.scanner import Scanner

NUMBER, OTHER, PEER = "77051234567", "77017654321", "77019990053"
AT = 1_795_744_710_355
MINUTE = AT // 60_000


def read(*lines: str, size: int = 2**20) -> ScanResult:
    scanner = Scanner(naming=True)
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    for begin in range(0, len(text), size):
        scanner.feed(text[begin : begin + size])
    return scanner.finish()


def named(*lines: str) -> set[str]:
    return {whose for names in read(*lines).named.values() for whose in names}


def pino(**fields: Any) -> str:
    return json.dumps({"level": 30, "time": AT, "pid": 7, "hostname": "h"} | fields, ensure_ascii=False)


def compact(line: str) -> str:
    return json.dumps(json.loads(line), separators=(",", ":"), ensure_ascii=False)


OWN = pino(phone=NUMBER, remoteJid=f"{PEER}@s.whatsapp.net", text="привет", msg="new message")


@pytest.mark.parametrize(
    "value",
    [NUMBER, f"+{NUMBER}", int(NUMBER), f"{NUMBER}@s.whatsapp.net", f"{NUMBER}:12@s.whatsapp.net", f"{NUMBER}@c.us"],
)
@pytest.mark.parametrize("field", ["phone", "phoneJid", "session", "sessionId", "instanceName", "ownJid"])
def test_a_field_of_an_entry(field: str, value: str | int) -> None:
    line = pino(class_="baileys", node={"tag": "x"}, **{field: value}, msg="recv ack")
    assert named(line) == named(compact(line)) == {NUMBER}


@pytest.mark.parametrize("field", ["organizationPhoneId", "phoneId", "phone_id"])
def test_a_phone_by_its_id(field: str) -> None:
    assert named(pino(**{field: 17}, msg="x")) == named(compact(pino(**{field: "17"}, msg="x"))) == {"#17"}


@pytest.mark.parametrize(
    "line",
    [
        OWN,
        compact(OWN),
        f"2026-11-27T01:58:30: {compact(OWN)}",
        f"api-1  | {compact(OWN)}",
        json.dumps({"log": f"{compact(OWN)}\n", "stream": "stdout", "time": "2026-11-27T01:58:30.355Z"}),
        json.dumps({"log": f"[{NUMBER}] connected\n", "stream": "stdout", "time": "2026-11-27T01:58:30.355Z"}),
        json.dumps({"message": json.dumps({"log": compact(OWN), "time": AT}), "severity": "INFO", "ts": AT}),
        json.dumps(
            {"level": "info", "message": "connected", "sessionName": NUMBER, "timestamp": "2026-11-27T01:58:30Z"}
        ),
        f"2026-11-27T01:58:30Z [{NUMBER}] connected",
        f"2026-11-27T01:58:30Z [{NUMBER}:3@s.whatsapp.net] connected",
        f"2026-11-27T01:58:30Z [session {NUMBER}] connected",
        f"2026-11-27T01:58:30Z session:{NUMBER} - connected",
        f"2026-11-27T01:58:30Z INFO phone={NUMBER} connected",
        f"time=2026-11-27T01:58:30Z level=info phone={NUMBER} msg=connected",
        f"2026-11-27T01:58:30Z ✅ Сообщение отправлено: {NUMBER}@s.whatsapp.net -> {PEER}@s.whatsapp.net",
    ],
)
def test_behind_whatever_a_line_stands(line: str) -> None:
    found = read(line)
    assert {whose for names in found.named.values() for whose in names} == {NUMBER}
    [[minutes]] = [list(names.values()) for names in found.named.values()]
    assert list(minutes) in ([MINUTE], [-1]), line


@pytest.mark.parametrize(
    "line",
    [
        pino(msg=NUMBER),
        pino(text=NUMBER, msg=f"phone={NUMBER}"),
        pino(msg=f'"phone":"{NUMBER}"', text=f'{{"session":"{NUMBER}"}}'),
        pino(remoteJid=f"{NUMBER}@s.whatsapp.net", msg="new message"),
        pino(to=NUMBER, sender=NUMBER, participant=NUMBER, customerPhone=NUMBER, pushName=NUMBER, msg="x"),
        pino(key={"session": NUMBER}, body={"phone": NUMBER}, msg="x"),
        pino(phone=[NUMBER], session={"id": NUMBER}, msg="x"),
        pino(session=f"{NUMBER}0000", instance=f"x{NUMBER}", phone=f"call {NUMBER}", msg="x"),
        pino(sessionId=1_795_744_710_355, accountId=17, msg="x"),
        json.dumps({"from": PEER, "body": compact(OWN), "timestamp": AT}),
        json.dumps({"from": PEER, "type": "chat", "body": f"[{NUMBER}] connected", "timestamp": AT}),
        compact(OWN)[:-1],
        f"new message: [{NUMBER}] connected",
        f"{PEER}: phone={NUMBER} call me",
        f'✅ Сообщение отправлено: {PEER}@s.whatsapp.net: "✅ Сообщение отправлено: {NUMBER}@s.whatsapp.net"',
        f"phone {NUMBER} is mine",
        f"[1795744710355] {NUMBER}",
        f"[{NUMBER}0] connected",
        f"sessionphone={NUMBER} x",
        f"{NUMBER}",
        f"{NUMBER} said: [{PEER}] phone=1",
    ],
)
def test_what_others_wrote_names_nobody(line: str) -> None:
    names = named(line) | named(f"2026-11-27T01:58:30: {line}")
    assert NUMBER not in names


def test_a_field_of_its_own_goes_before_one_that_may_be_a_customers() -> None:
    assert named(pino(phone=PEER, organizationPhoneId=3, msg="order")) == {"#3"}
    assert named(compact(pino(phone=PEER, order={"n": 1}, session=NUMBER, msg="order"))) == {NUMBER}
    assert named(compact(pino(phone=NUMBER, msg='","session":"' + PEER))) == {NUMBER}


def test_one_minute_is_one_and_a_day_is_many() -> None:
    lines = [compact(pino(phone=NUMBER, msg="x")).replace(str(AT), str(AT + 1_000 * n)) for n in range(7_200)]
    [minutes] = read(*lines).named["phone"].values()
    assert len(minutes) == len(set(minutes))
    assert minutes[-1] - minutes[0] >= 118
    assert max(later - earlier for earlier, later in pairwise(minutes)) <= 2


FIELDS = st.dictionaries(
    st.sampled_from([*CERTAIN, "phone", "msg", "text", "remoteJid", "to", "n", "key"]),
    st.one_of(
        st.sampled_from([NUMBER, OTHER, f"{PEER}@s.whatsapp.net", "17", 17, True, None, {"phone": OTHER}, [NUMBER]]),
        st.text(max_size=20),
        st.text(alphabet='"\\,:{}[]phonesi7051234567', max_size=40),
    ),
    max_size=6,
)


@given(FIELDS, st.booleans(), st.sampled_from(["", "2026-11-27T01:58:30: ", "api-1  | "]))
def test_read_fast_or_slowly_it_is_the_same(fields: dict[str, Any], laid_out: bool, prefix: str) -> None:
    entry = {"level": 30, "time": AT} | fields | {"msg": "x"}
    fast = json.dumps(entry, separators=(",", ":"), ensure_ascii=False)
    slow = json.dumps({"log": f"{fast}\n", "stream": "stdout", "time": "2026-11-27T01:58:30.355Z"})
    assert named(prefix + (json.dumps(entry) if laid_out else fast)) == named(slow)


@given(st.integers(1, 400))
def test_wherever_it_is_cut(size: int) -> None:
    lines = [
        OWN,
        compact(OWN),
        f"2026-11-27T01:58:30Z [{OTHER}] connected",
        "noise",
        pino(organizationPhoneId=3, msg="x"),
    ]
    assert read(*lines, size=size).named == read(*lines).named


def test_parts_are_put_together() -> None:
    first, second = read(OWN, pino(session=OTHER, msg="x")), read(OWN)
    whole = ScanResult()
    whole.extend(first)
    whole.extend(second)
    assert {by: {whose: list(rows) for whose, rows in names.items()} for by, names in whole.named.items()} == {
        "phone": {NUMBER: [MINUTE]},
        "session": {OTHER: [MINUTE]},
    }


def test_customers_numbers_do_not_fill_the_memory() -> None:
    found = ScanResult()
    for number in range(MOST_NAMES + 100):
        found.name("phone", str(77_000_000_000 + number), AT)
    found.name("session", NUMBER, AT)
    assert (len(found.named["phone"]), len(found.named["session"])) == (MOST_NAMES, 1)


def test_a_line_of_nothing_but_names_stops_nothing() -> None:
    hits = '"phone":"' + NUMBER + '",'
    for line in (hits * 9_000, "[7" * 200_000, "phone=" * 90_000, '{"session":' * 90_000, pino(text=hits * 20_000)):
        assert read(line).named == {}
