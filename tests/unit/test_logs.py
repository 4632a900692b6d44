"""Reading logs: lines in all their forms, decoys, whatever they are cut into, and what stays open without times."""

import doctest
import gzip
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import backend_logs
from support.examples import examples

from wa_sessions import cli
from wa_sessions.logs import files
from wa_sessions.logs.messages import of_senders
from wa_sessions.logs.report import report
from wa_sessions.logs.scan_result import ScanResult
from wa_sessions.logs.scanner import Scanner

Capture = pytest.CaptureFixture[str]
COUNTER = "⚠️ Bad MAC error #2 для 77051234567:12@s.whatsapp.net"
CLOSE = "🚪 Закрытие сессии для 77051234567@s.whatsapp.net. Причина: Слишком много ошибок Bad MAC"
RESET = "🔄 Счетчики ошибок сброшены для organizationPhoneId: 1"
CONSOLE = """Failed to decrypt message with any known session...
Session error:Error: Bad MAC Error: Bad MAC
    at Object.verifyMAC (/srv/libsignal/src/crypto.js:87:15)
    at async 77019990053.0 [as awaitable] (/srv/libsignal/src/session_cipher.js:171:28)
Session error:Error: Bad MAC Error: Bad MAC
    at Object.verifyMAC (/srv/libsignal/src/crypto.js:87:15)
    at async 77019990053.0 [as awaitable] (/srv/libsignal/src/session_cipher.js:171:28)
"""


def pino(level: int = 30, **fields: Any) -> str:
    return json.dumps({"level": level, "time": 1795200155987, "pid": 1, **fields}, ensure_ascii=False)


def failed(message: str = "3EB01", why: str = "No matching sessions found for message", **key: str) -> str:
    stack = f"Error: {why}\n    at async 77019990053.0 [as awaitable] (/srv/x.js:1:1)"
    whose = {"remoteJid": "77019990053@s.whatsapp.net", "fromMe": False, "id": message, **key}
    return pino(50, key=whose, err={"type": "Error", "message": why, "stack": stack}, msg="failed to decrypt message")


def compact(line: str) -> str:
    return json.dumps(json.loads(line), ensure_ascii=False, separators=(",", ":"))


def scanned(*logs: str | bytes) -> list[ScanResult]:
    found = []
    for log in logs:
        scanner = Scanner()
        scanner.feed(log if isinstance(log, bytes) else log.encode())
        scanner.finish().finish()
        found.append(scanner.found)
    return found


def told(*logs: str | bytes) -> dict[str, Any]:
    found = scanned(*logs)
    return report(found, of_senders(found), {1: "77051234567"}, {}).as_dict()


def phone(data: dict[str, Any]) -> dict[str, Any]:
    [only] = data["phones"]
    assert only["phone"] == "77051234567"
    return dict(only)


def test_the_corpus_is_told_as_it_happened() -> None:
    found = files.read(backend_logs.FILES)
    data = report(found, of_senders(found), backend_logs.NUMBERS, {}).as_dict()
    assert [one["phone"] for one in data["phones"]] == sorted(backend_logs.TRUTH["phones"])
    for one in data["phones"]:
        truth = backend_logs.TRUTH["phones"][one["phone"]]
        for kind in ("bad_mac", "bad_decrypt"):
            names = {"lines": "counter_lines", "max_n": "max_counter", "last_n": "last_counter"}
            assert {name: one[kind][ours] for name, ours in names.items()} == truth[kind]
            assert one[kind]["messages"] == truth[kind]["lines"]
        assert (one["closes"], one["resets"]) == (truth["closes"], truth["resets"])
    assert data["library"] == backend_logs.LIBRARY
    assert (data["secrets_seen"], data["undetermined"]) == (backend_logs.INCIDENTS["closing"], 0)


def test_one_log_alone_says_how_many_have_their_reason_in_the_other() -> None:
    data = told(backend_logs.content("out"))
    incidents = backend_logs.INCIDENTS
    assert data["undetermined"] == sum(incidents[name] for name in ("bad_mac_msg", "bad_mac_multi", "replay_msg"))
    assert data["library"]["bad_mac"] == incidents["bad_mac_pkmsg"]


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "2026-11-20T18:42:35: ", "0|messenger | ", "12|messenger-backend  | 2026-11-20T18:42:35: ", "\0\0\0"),
        *("2026-11-20 18:42:35 +05:00: ", "2026-11-20T18:42:35.123Z: ", "\x1b[32m0|messenger | \x1b[39m"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_prefix(prefix: str, end: str) -> None:
    lines = [COUNTER, compact(pino(40, msg=COUNTER)), CLOSE, RESET, *CONSOLE.splitlines(), compact(failed())]
    data = told("".join(f"{prefix}{line}{end}" for line in lines))
    one = phone(data)
    assert (one["bad_mac"]["counter_lines"], one["bad_mac"]["last_counter"], one["resets"]) == (2, 0, 1)
    assert one["closes"] == {"Слишком много ошибок Bad MAC": 1}
    assert (data["library"]["bad_mac"], data["undetermined"]) == (1, 0)


def test_json_of_pm2() -> None:
    texts = [f"{COUNTER}\n", CONSOLE, f"{compact(failed())}\n", f"{RESET}\n"]
    rest = {"timestamp": "2026-11-20T18:42:35", "type": "out", "process_id": 0, "app_name": "messenger"}
    data = told("".join(json.dumps({"message": text, **rest}, ensure_ascii=False) + "\n" for text in texts))
    assert phone(data)["bad_mac"]["first_at"] == "2026-11-20T18:42:35.000Z"
    assert (data["library"]["bad_mac"], data["undetermined"]) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        f"> повтор: {COUNTER}",
        f'✅ Сообщение отправлено: "{COUNTER}"',
        pino(text=COUNTER, msg="📩 Новое сообщение"),
        pino(text=f'","msg":"{COUNTER}"}}', msg="📩 Новое сообщение"),
        pino(payload={"msg": COUNTER}, msg="📩 Новое сообщение"),
        pino(text="failed to decrypt message", msg="📩"),
        pino(text="bad decrypt", msg="failed to sync state from my phone"),
        compact(failed())[:-1],
        f"text {CONSOLE.splitlines()[1]}",
        "⚠️ Bad MAC error # для 77051234567@s.whatsapp.net",
        f"{COUNTER} и ещё текст",
        "он пишет: Closing session: SessionEntry {",
    ],
)
def test_decoys(line: str) -> None:
    data = told(f"{line}\n")
    assert data | {"unread": []} == told("")


@pytest.mark.parametrize("form", [compact, str])
def test_a_retried_message_is_one(form: Any) -> None:
    counter = compact(pino(40, msg="⚠️ Bad MAC error #1 для 77051234567@s.whatsapp.net"))
    data = told(CONSOLE + f"{form(failed())}\n{counter}\n" + CONSOLE + f"{form(failed())}\n{counter}\n")
    assert data["library"]["bad_mac"] == 1
    assert (phone(data)["bad_mac"]["counter_lines"], phone(data)["bad_mac"]["messages"]) == (2, 1)


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ("Bad MAC", "bad_mac"),
        ("Invalid PreKey ID", "invalid_prekey"),
        ("No session record", "no_session"),
        ("Key used already or never filled", "duplicate"),
        ("Received message with old counter: 1, 0", "duplicate"),
        ("No session found to decrypt message", "group"),
        ("Invalid signature!", "group"),
    ],
)
def test_reasons(why: str, kind: str) -> None:
    rolled_back = pino(50, err={"message": why}, msg="transaction failed, rolling back")
    for line in (failed(why=why), compact(failed(why=why))):
        library = told(f"{rolled_back}\n{line}\n")["library"]
        assert {name for name, count in library.items() if count} == {kind}
        assert library[kind] == 1


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (
            pino(name="regular", error="Error: error:1C800064:Provider routines::bad decrypt\n at x", msg="m"),
            "bad_decrypt",
        ),
        (pino(name="regular", error='Error: failed to find key "AAA" to decode mutation', msg="m"), "missing_key"),
        (
            pino(40, name="regular", error="Error: Invalid patch mac", msg="failed to decode patch, skipping"),
            "bad_decrypt",
        ),
        (pino(40, name="regular", msg="LTHash verification failed, skipping remaining patches"), "bad_decrypt"),
    ],
)
def test_collections(line: str, kind: str) -> None:
    line = line.replace('"msg": "m"', '"msg": "failed to sync state from version"')
    for form in (line, compact(line)):
        assert told(f"{form}\n")["library"][kind] == 1


def test_without_times_two_files_leave_the_last_line_open() -> None:
    one = phone(told(f"{COUNTER}\n", f"{RESET}\n"))
    assert (one["bad_mac"]["last_counter"], one["bad_mac"]["first_at"]) == (None, None)
    assert (one["bad_mac"]["max_counter"], one["resets"]) == (2, 1)


def test_a_line_that_goes_on_in_the_other_file_is_in_order() -> None:
    early, late = "2026-11-20T18:42:35: ", "2026-11-20T18:42:36: "
    assert phone(told(f"{late}{COUNTER}\n", f"{early}{RESET}\n"))["bad_mac"]["last_counter"] == 2
    assert phone(told(f"{early}{COUNTER}\n", f"{late}{RESET}\n"))["bad_mac"]["last_counter"] == 0


@examples(60)
@given(st.data())
def test_cut_anywhere_the_totals_are_the_same(data: st.DataObject) -> None:
    log = PIECE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=6)))
    scanner = Scanner()
    for begin, end in zip([0, *cuts], [*cuts, len(log)], strict=True):
        scanner.feed(log[begin:end])
    scanner.finish().finish()
    assert report([scanner.found], of_senders([scanner.found]), {}, {}) == WHOLE


def test_in_parts_on_several_processors_the_totals_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(PIECE)
    for size in (len(PIECE) // 2 - 40, 7000, 701):
        monkeypatch.setattr(files, "PART", 10**9)
        whole = ScanResult()
        for begin in range(0, len(PIECE), size):
            whole.extend(files._read_part(files.Part(str(path), 0, begin, min(begin + size, len(PIECE)))))
        whole.finish()
        assert report([whole], of_senders([whole]), {}, {}) == WHOLE
    monkeypatch.setattr(files, "PART", len(PIECE) // 2)
    [found] = files.read([str(path)])
    assert report([found], of_senders([found]), {}, {}) == WHOLE


def _piece() -> bytes:
    """Both logs in one, in order of time, with all that is odd in them; a few hundred lines."""
    texts = [CONSOLE, COUNTER + "\n", compact(failed("A")) + "\n", CLOSE + "\n", RESET + "\n", failed("A") + "\n"]
    rest = {"timestamp": "2026-11-20T18:42:35", "type": "err", "process_id": 0, "app_name": "messenger"}
    texts += [json.dumps({"message": CONSOLE, **rest}) + "\n", "\0\0\r\n", pino(text="ж" * 3000) + "\n"]
    return (
        backend_logs.content("out")[:6000]
        + b"\n"
        + backend_logs.content("error")[:9000]
        + b"\xd0\n"
        + "".join(texts).encode()
    ) * 2


PIECE = _piece()
[_WHOLE] = scanned(PIECE)
WHOLE = report([_WHOLE], of_senders([_WHOLE]), {}, {})


def test_command(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "cut.log.gz"
    path.write_bytes(gzip.compress(b"x" * 9999)[:-9])
    assert cli.execute(["logs", str(path)]) == 2
    assert "no whole gzip file" in capsys.readouterr().err
    assert cli.execute(["logs"]) == 2
    assert cli.execute(["logs", "nowhere.log"]) == 1
    assert "nowhere.log" in capsys.readouterr().err


def test_pm2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("PM2_HOME", str(tmp_path))
    assert cli.execute(["logs", "--pm2", "shop"]) == 2
    (tmp_path / "logs").mkdir()
    for name in ("shop-out.log", "shop-error-3.log", "shop-two-out.log"):
        (tmp_path / "logs" / name).write_text("Closing session: SessionEntry {\n  privKey: <Buffer f8>\n}\n")
    capsys.readouterr()
    assert cli.execute(["logs", "--pm2", "shop", "--find-secrets", "--json"]) == 0
    shown = capsys.readouterr()
    assert [Path(row["file"]).name for row in json.loads(shown.out)["files"]] == ["shop-error-3.log", "shop-out.log"]
    assert json.loads(shown.out)["secrets_seen"] == 2
    assert "Buffer" not in shown.out + shown.err


@pytest.mark.parametrize("name", ["wa_sessions.actions.watch.logs"])
def test_examples_in_docstrings(name: str) -> None:
    failed_, tried = doctest.testmod(importlib.import_module(name))
    assert (failed_, tried > 0) == (0, True)
