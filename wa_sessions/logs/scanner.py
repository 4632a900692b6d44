"""From a log's bytes to what they say, whatever they are cut into.

A search for a few words picks out the lines that matter, some hundred a MB at most; only those are looked at. A line of
the backend's own says something where its text (or the ``msg`` of a pino line) begins with the words: what a customer
wrote does not. Seen with Baileys 6.7.21 and 7.0.0-rc14, libsignal 6.0.0, pm2 7.
"""

import json
import re
from typing import Any

import ahocorasick_rs

from wa_sessions.logs.found import Counted, Found, Kind, Stacks
from wa_sessions.logs.lines import NO_PREFIX, NO_TIME, Clock, pino_time, unwrapped

FARTHEST_FRAME = 4096
"""How many bytes after an error the frame of its stack that names the sender may stand."""
LONGEST_LINE = 16 * 2**20

_MESSAGE, _SESSION_ERROR, _SECRET, _FAILED = range(4)
_OWN_LINE, _COLLECTION, _WRAPPED = range(4, 7)
_WORDS = {
    "Failed to decrypt message with any known session": _MESSAGE,
    "Session error:": _SESSION_ERROR,
    "SessionEntry {": _SECRET,
    "failed to decrypt message": _FAILED,
    "Bad MAC error #": _OWN_LINE,
    "Bad Decrypt error #": _OWN_LINE,
    " для organizationPhoneId: ": _OWN_LINE,
    "Закрытие сессии для ": _OWN_LINE,
    "failed to sync state from version": _COLLECTION,
    "failed to decode patch": _COLLECTION,
    "LTHash verification failed": _COLLECTION,
    '"app_name":': _WRAPPED,
}
_MEANINGS = tuple(_WORDS.values())
_SEARCH = ahocorasick_rs.BytesAhoCorasick(
    [words.encode() for words in _WORDS], matchkind=ahocorasick_rs.MatchKind.LeftmostFirst
)
_FRAME = b" [as awaitable]"
_OWN = re.compile(
    "(?:⚠(?:\ufe0f)? ?Bad (?P<kind>MAC|Decrypt) error #(?P<number>[0-9]{1,9})"
    " для (?P<counted>[0-9]{5,20})(?![0-9])[^ ]*"
    "|🔄 ?Счетчики ошибок сброшены для organizationPhoneId: (?P<id>[0-9]{1,18})"
    r"|🚪 ?Закрытие сессии для (?P<closed>[0-9]{5,20})(?![0-9])[^ ]*? Причина: (?P<reason>.+))\s*".encode(),
    re.DOTALL,
)
_SIMPLE = rb'(?:"\w+":(?:\d+|"[^"\\\n]*"),)*?'
_STAMP = rb'\{"level":(?P<level>\d+),"time":(?P<time>\d{13}|"[^"\\\n]{20,32}"),' + _SIMPLE
_PINO_OWN = re.compile(_STAMP + rb'"msg":"(?P<msg>[^"\\\n]*)"\}\r?')
_PINO_FAILED = re.compile(
    _STAMP
    + rb'"key":\{"remoteJid":"(?P<chat>[^"\\\n]*)"(?:,"\w+":(?:true|false|"[^"\\\n]*"))*?,"id":"(?P<id>[^"\\\n]*)"'
    rb'(?:,"participant":"(?P<who>[^"\\\n]*)")?[^{}\n]*\},"err":\{"type":"[^"\\\n]*","message":"(?P<why>[^"\\\n]*)"'
)
_PINO_FAILED_ENDS = (b',"msg":"failed to decrypt message"}', b',"msg":"failed to decrypt message"}\r')
_PINO_COLLECTION = re.compile(_STAMP + rb'"error":"(?P<why>[^"\\\n]*)')
_REASONS = {
    b"Bad MAC": Kind.BAD_MAC,
    b"No matching sessions found for message": Kind.UNDETERMINED,
    b"No session record": Kind.NO_SESSION,
    b"No sessions available": Kind.NO_SESSION,
    b"Invalid PreKey ID": Kind.INVALID_PREKEY,
    b"Key used already or never filled": Kind.DUPLICATE,
    b"No session found to decrypt message": Kind.GROUP,
    b"Invalid signature!": Kind.GROUP,
}
_OLD_COUNTER = b"Received message with old counter"
_BAD_DECRYPT = (
    *("bad decrypt", "HMAC content verification failed", "HMAC index verification failed", "Invalid patch mac"),
    *(
        "Invalid snapshot mac",
        "failed to verify LTHash",
        "LTHash verification failed",
        "tried remove, but no previous op",
    ),
)
_OF_COLLECTIONS = tuple(words for words, meaning in _WORDS.items() if meaning == _COLLECTION)
_MISSING_KEY = "failed to find key"
_SENDER = re.compile(rb"[0-9A-Za-z_.:@|+-]{1,160}")
_ADDRESS = re.compile(rb"(\d+)(?::(\d+))?@(.*)")


class Scanner:
    """Reads one log, or a part of one that begins at the beginning of a line."""

    def __init__(self, zone: int = 0) -> None:
        """``zone``: ms by which the times that pm2 writes are ahead of UTC."""
        self.found = Found()
        self._clock = Clock(zone)
        self._unfinished = b""
        self._waiting = b""

    def feed(self, block: bytes) -> None:
        """Read on; a block may end anywhere."""
        block = self._unfinished + block if self._unfinished else block
        end = block.rfind(b"\n") + 1
        if not end and len(block) > LONGEST_LINE:
            end = len(block)
        self._unfinished = block[end:]
        if end:
            lines = block[:end]
            self._waiting = self._scan(self._waiting + lines if self._waiting else lines)

    def finish(self, ahead: bytes = b"") -> Found:
        """No more comes; ``ahead``: what stands behind this part, to find the end of its last stack."""
        self._scan(self._waiting + self._unfinished, ahead, last=True)
        self._waiting = self._unfinished = b""
        return self.found

    def _scan(self, lines: bytes, ahead: bytes = b"", *, last: bool = False) -> bytes:
        """Look at lines; those are returned that are to be looked at again once more has come."""
        matches = _SEARCH.find_matches_as_indexes(lines + ahead if ahead else lines)
        if any(_MEANINGS[match[0]] == _WRAPPED for match in matches):
            lines, ahead = unwrapped(lines), unwrapped(ahead)
            matches = _SEARCH.find_matches_as_indexes(lines + ahead)
        limit = len(lines)
        lines += ahead
        done = 0
        for word, at, _ in matches:
            if at < done:
                continue
            start = lines.rfind(b"\n", done, at) + 1 or done
            if start >= limit:
                break
            end = lines.find(b"\n", at)
            end = len(lines) if end < 0 else end
            meaning = _MEANINGS[word]
            if meaning != _SESSION_ERROR:
                self._line(meaning, lines, start, at, end)
            elif not self._session_error(lines, start, at, end, last=last):
                return lines[start:limit]
            done = end + 1
        return b""

    def _line(self, meaning: int, lines: bytes, start: int, at: int, end: int) -> None:
        """One line, from ``start`` to ``end``, that has words of this meaning at ``at``."""
        if meaning == _FAILED:
            self._failed(lines, start, end)
        elif meaning == _MESSAGE:
            self._message(lines[start:at])
        elif meaning == _OWN_LINE:
            self._own(lines, start, at, end)
        elif meaning == _SECRET:
            self._secret(lines[start:at])
        elif meaning == _COLLECTION:
            self._collection(lines, start, at, end)

    def _message(self, prefix: bytes) -> None:
        """libsignal could not decrypt a message; errors with their stacks follow."""
        time = self._clock.read(prefix)
        if time != NO_PREFIX:
            self.found.close_message()
            self.found.open = Stacks(self._place(), time)

    def _session_error(self, lines: bytes, start: int, at: int, end: int, *, last: bool) -> bool:
        """One session state did not fit; whether its stack could be read to its end."""
        time = self._clock.read(lines[start:at])
        if time == NO_PREFIX:
            return True
        stacks = self.found.open or self.found.head
        sender = b""
        if stacks is None or not stacks.sender:
            frame = lines.find(_FRAME, end, end + FARTHEST_FRAME)
            if frame < 0 and not last and len(lines) < end + FARTHEST_FRAME:
                return False
            if frame >= 0:
                sender = _sender(lines[lines.rfind(b" ", end, frame) + 1 : frame])
        if stacks is None:
            stacks = self.found.head = Stacks(self._place(), time)
        stacks.sender = stacks.sender or sender
        if lines.startswith(b"MessageCounterError", at + 14):
            stacks.duplicate = True
        elif lines.startswith(b"Error: Bad MAC", at + 14):
            stacks.bad_mac = True
        return True

    def _secret(self, prefix: bytes) -> None:
        """``Closing session: SessionEntry {…}``, and others, with private keys."""
        words = re.fullmatch(rb"(.*?)(?:[A-Z][a-z]+ [a-z ]*(?:session|closed):? )", prefix, re.DOTALL)
        if words and self._clock.read(words[1]) != NO_PREFIX:
            self.found.secrets += 1

    def _failed(self, lines: bytes, start: int, end: int) -> None:
        brace = lines.find(b"{", start, end)
        if brace < 0 or self._clock.read(lines[start:brace]) == NO_PREFIX:
            return
        match = _PINO_FAILED.match(lines, brace, end)
        if match is None or not lines.endswith(_PINO_FAILED_ENDS, match.end(), end):
            self._failed_otherwise(lines[brace:end])
            return
        written, chat, message, who, why = match.group("time", "chat", "id", "who", "why")
        self._add_failure(written, chat, message, who or b"", why, lines, match.end(), end)

    def _failed_otherwise(self, line: bytes) -> None:
        """The same in another order of fields, or with quotes in them."""
        match _object(line):
            case {
                "msg": "failed to decrypt message",
                "key": {"id": str(message), "remoteJid": str(chat), **key},
                **rest,
            }:
                error = rest.get("err") or rest.get("error")
                error = error if isinstance(error, dict) else {}
                who, stack = str(key.get("participant") or "").encode(), str(error.get("stack")).encode()
                written = json.dumps(rest.get("time")).encode()
                why = str(error.get("message")).encode()
                self._add_failure(written, chat.encode(), message.encode(), who, why, stack, 0, len(stack))

    def _add_failure(
        self, written: bytes, chat: bytes, message: bytes, who: bytes, why: bytes, text: bytes, at: int, end: int
    ) -> None:
        """A message failed; ``text[at:end]`` has the stack."""
        kind = _REASONS.get(why)
        if kind is None:
            if not why.startswith(_OLD_COUNTER):
                return
            kind = Kind.DUPLICATE
        frame = text.find(_FRAME, at, end)
        if frame >= 0:
            sender = text[text.rfind(b" ", at, frame) + 1 : frame]
        elif chat.endswith((b"@g.us", b"@broadcast")):
            sender = who + b"|" + chat
        else:
            sender = _address(who or chat)
        time = int(written) if written[:1] != b'"' and written.isdigit() else pino_time(written[1:-1].decode())
        message_hash = hash(int.from_bytes(message, "big"))
        self.found.failures.add(_sender(sender), self._place(), time, message_hash, kind)

    def _collection(self, lines: bytes, start: int, at: int, end: int) -> None:
        brace = lines.find(b"{", start, at)
        if brace < 0 or self._clock.read(lines[start:brace]) == NO_PREFIX:
            return
        match = _PINO_COLLECTION.match(lines, brace, at)
        if match and lines.startswith(b'"msg":"', at - 7) and lines.find(b'"', at, end) >= end - 3:
            why, text = match["why"].decode("utf-8", "replace"), lines[at:end].decode("utf-8", "replace")
        else:
            why, text = _collection_of(_object(lines[brace:end]))
        if _MISSING_KEY in why:
            self.found.collections[Kind.MISSING_KEY] += 1
        elif any(words in why or words in text for words in _BAD_DECRYPT):
            self.found.collections[Kind.BAD_DECRYPT] += 1

    def _own(self, lines: bytes, start: int, at: int, end: int) -> None:
        """A line of the backend's own: a counter, a reset, a close."""
        brace = lines.find(b"{", start, at)
        if brace >= 0:
            if self._clock.read(lines[start:brace]) == NO_PREFIX:
                return
            time, text = _pino_text(lines, brace, end)
        else:
            begins = lines.find(b"\xe2\x9a\xa0" if lines[at : at + 4] == b"Bad " else b"\xf0\x9f", start, at)
            time = self._clock.read(lines[start:begins]) if begins >= 0 else NO_PREFIX
            text = lines[begins:end]
        match = _OWN.fullmatch(text) if time != NO_PREFIX else None
        if match is None:
            return
        kind, number, counted, phone_id, closed, reason = match.groups()
        if counted:
            key = Kind.BAD_MAC if kind == b"MAC" else Kind.BAD_DECRYPT, counted.decode()
            rows = self.found.counters.get(key)
            if rows is None:
                rows = self.found.counters[key] = Counted()
            rows.add(self._place(), time, int(number))
        elif phone_id:
            self.found.resets.setdefault(int(phone_id), Counted()).add(self._place(), time, 0)
        else:
            words = reason.decode("utf-8", "replace").strip()[:200]
            self.found.closes.setdefault((closed.decode(), words), Counted()).add(self._place(), time, 0)

    def _place(self) -> int:
        self.found.events += 1
        return self.found.events


def unfinished_from(text: bytes) -> int:
    """Where what is to be read once more has come begins: a line without an end, a stack without its sender."""
    end = text.rfind(b"\n") + 1
    error = text.rfind(b"Session error:", max(0, end - FARTHEST_FRAME), end)
    if error >= 0 and text.find(_FRAME, error, end) < 0:
        return text.rfind(b"\n", 0, error) + 1
    return end


def _pino_text(lines: bytes, brace: int, end: int) -> tuple[int, bytes]:
    """Time and ``msg`` of a pino line."""
    if match := _PINO_OWN.fullmatch(lines, brace, end):
        written = match["time"]
        return int(written) if written[:1] != b'"' else pino_time(written[1:-1].decode()), match["msg"]
    match _object(lines[brace:end]):
        case {"level": int(), "msg": str(text), **rest}:
            return pino_time(rest.get("time")), text.encode("utf-8", "replace")
    return NO_TIME, b""


def _object(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _collection_of(line: Any) -> tuple[str, str]:
    """Why a collection failed, and the words of the line; both empty where it is about something else."""
    match line:
        case {"level": int(), "msg": str(text), **rest} if text.startswith(_OF_COLLECTIONS):
            error = rest.get("error") or rest.get("err")
            return str(error.get("message") if isinstance(error, dict) else error), text
    return "", ""


def _sender(name: bytes) -> bytes:
    """A name as the libraries write them; empty for what a damaged line has in its place."""
    return name if _SENDER.fullmatch(name) else b""


def _address(jid: bytes) -> bytes:
    """Under which name libsignal files the sender: ``<user>.<device>``, for a LID ``<user>_1.<device>``."""
    match = _ADDRESS.fullmatch(jid)
    if match is None:
        return jid
    agent = b"_1" if match[3] in (b"lid", b"hosted.lid") else b""
    return match[1] + agent + b"." + (match[2] or b"0")
