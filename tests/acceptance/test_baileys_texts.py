"""All that the libraries can say of a message or a collection that failed is known, as their sources have it."""

import json
import re
from collections.abc import Iterator

import pytest
from support import baileys

from wa_sessions.logs.scan_result import Kind, ScanResult
from wa_sessions.logs.scanner import Scanner

MODULES = baileys.FOLDER / "node_modules"
PACKAGES = ("baileys6", "baileys6-last", "baileys7")
LIBSIGNAL = MODULES / "libsignal/src"
TEXT = r"""(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)"""
THROWN = re.compile(r"throw (?:new )?(?:errors\.)?(\w+)\(" + TEXT)
LOGGED = re.compile(r"logger\??\.(?:error|warn|info)\([^;]*?" + TEXT + r"\)", re.DOTALL)
PRINTED = re.compile(r"console\.(?:error|warn|info)\(" + TEXT)
EXPRESSION = re.compile(r"\$\{([^}]*)\}")

MESSAGES = {
    "Bad MAC": "bad_mac",
    "No matching sessions found for message": "undetermined",
    "No session record": "no_session",
    "No sessions available": "no_session",
    "No sessions": "no_session",
    "No open session": "no_session",
    "Invalid PreKey ID": "invalid_prekey",
    "Missing SignedPreKey": "invalid_prekey",
    "Key used already or never filled": "duplicate",
    "Received message with old counter: 1, 1": "duplicate",
    "No SenderKeyRecord found for decryption": "group",
    "No session found to decrypt message": "group",
    "No sender message key found for iteration": "group",
    "Invalid signature!": "group",
    "InvalidMessageException": "group",
}
"""What is thrown while a message is decrypted. Whatever else is thrown there is ``other``."""

COLLECTIONS = {
    "tried remove, but no previous op": "bad_decrypt",
    "HMAC content verification failed": "bad_decrypt",
    "HMAC index verification failed": "bad_decrypt",
    "Invalid patch mac": "bad_decrypt",
    "failed to verify LTHash at 1 of 1 from snapshot": "bad_decrypt",
    "failed to verify LTHash at 1 of 1": "bad_decrypt",
    'failed to find key "1" to decode mutation': "missing_key",
    'failed to find key "1" to decode patch': "missing_key",
}
LINES = {
    "failed to decrypt message",
    "failed to sync state from version1",
    "failed to sync 1 from v1, giving up",
    "failed to sync 1 from v1, forcing snapshot retry",
    "1 blocked on missing key from v1, parking after 1 attempts",
    "1 blocked on missing key from v1, retrying with snapshot",
    "failed to decode patch, skipping",
    "LTHash verification failed, skipping remaining patches",
    "LTHash verification failed on snapshot, continuing with partial state",
}
OTHER_LINES = {
    "failed to process sender key distribution message": "the message that brought the key was read",
    "failed to decrypt event response": "an answer to an event's invitation, which has no session",
    "event creation message not found, cannot decrypt response": "the same",
    "event response: missing messageSecret for decryption": "the same",
}
ABOUT = re.compile(r"decrypt|failed to sync|failed to decode patch|LTHash|missing key|sender key distribution")

pytestmark = [
    pytest.mark.program("node"),
    pytest.mark.program("npm"),
    pytest.mark.usefixtures("_npm_packages"),
]


def sources(package: str) -> Iterator[str]:
    for path in sorted((MODULES / package / "lib").rglob("*.js")):
        yield path.read_text(encoding="utf-8")


def texts(pattern: re.Pattern[str], source: str) -> Iterator[str]:
    """The texts of calls, with 1 for what is put into them."""
    for match in pattern.finditer(source):
        yield EXPRESSION.sub("1", next(group for group in match.groups()[-3:] if group is not None))


def said(line: dict[str, object]) -> ScanResult:
    scanner = Scanner()
    scanner.feed(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    found = scanner.finish()
    found.finish()
    assert not found.unread
    return found


def of_message(why: str) -> str:
    key = {"remoteJid": "77019990053@s.whatsapp.net", "fromMe": False, "id": "3EB01"}
    error = {"type": "Error", "message": why, "stack": f"Error: {why}\n    at x"}
    line = {"level": 50, "time": 1795200421343, "key": key, "err": error, "msg": "failed to decrypt message"}
    return Kind(said(line).failures.kinds[0]).name.lower()


def test_what_libsignal_throws_as_it_decrypts() -> None:
    names = ("session_cipher.js", "session_builder.js", "crypto.js")
    thrown = {text for name in names for text in texts(THROWN, (LIBSIGNAL / name).read_text(encoding="utf-8"))}
    assert {"Bad MAC", "Over 2000 messages into the future!", "Missing SignedPreKey"} <= thrown
    for text in thrown:
        assert of_message(text) == MESSAGES.get(text, "other"), text


@pytest.mark.parametrize("package", PACKAGES)
def test_what_baileys_throws_as_it_decrypts(package: str) -> None:
    folder = MODULES / package / "lib/Signal"
    thrown = {text for path in folder.rglob("*.js") for text in texts(THROWN, path.read_text(encoding="utf-8"))}
    assert {"No SenderKeyRecord found for decryption", "Received message with old counter: 1, 1"} <= thrown
    for text in thrown:
        assert of_message(text) == MESSAGES.get(text, "other"), text


@pytest.mark.parametrize("package", PACKAGES)
def test_why_a_collection_does_not_sync(package: str) -> None:
    source = (MODULES / package / "lib/Utils/chat-utils.js").read_text(encoding="utf-8")
    thrown = set(texts(THROWN, source)) & COLLECTIONS.keys()
    assert "Invalid patch mac" in thrown
    assert all(text in COLLECTIONS for text in texts(THROWN, source) if "failed to" in text or "MAC" in text)
    for text in thrown:
        line = {"level": 30, "time": 1795200421343, "name": "regular", "error": f"Error: {text}\n    at x"}
        kinds = said(line | {"msg": "failed to sync state from version"}).collections
        assert [kind.name.lower() for kind in kinds] == [COLLECTIONS[text]], text


@pytest.mark.parametrize("package", PACKAGES)
def test_every_line_about_it_is_known(package: str) -> None:
    logged = {text for source in sources(package) for text in texts(LOGGED, source) if ABOUT.search(text)}
    logged = {text for text in logged if "\n" not in text}
    assert logged <= LINES | OTHER_LINES.keys()
    assert "failed to decrypt message" in logged


def test_what_libsignal_prints() -> None:
    printed = {text for path in LIBSIGNAL.glob("*.js") for text in texts(PRINTED, path.read_text(encoding="utf-8"))}
    assert {"Failed to decrypt message with any known session...", "Session error:", "Closing session:"} <= printed
    dumps = {"Session already closed", "Closing session:", "Opening session:", "Removing old closed session:"}
    assert {text for text in printed if "ession" in text and text not in dumps} <= {
        *("Failed to decrypt message with any known session...", "Session error:", "Session already open"),
        *("Closing open session in favor of incoming prekey bundle", "Decrypted message with closed session."),
        "Closing stale open session for new outgoing prekey bundle",
        *("Migrating session to:", "V1 session storage migration error: registrationId"),
    }
    for text in dumps:
        scanner = Scanner()
        scanner.feed(f"{text} SessionEntry {{\n  currentRatchet: {{\n    privKey: <Buffer 00>\n".encode())
        assert scanner.finish().secrets == 1
