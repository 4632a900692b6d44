"""From a log's bytes to what they say, whatever they are cut into.

A search for a few words picks out the lines that matter, some hundred a MB at most; only those are looked at. A line of
the backend's own says something where its text (or the ``msg`` of a pino line) begins with the words: what a customer
wrote does not. Lines as most backends write them are read here, all others by ``Dressed``.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from wa_sessions.logs import senders
from wa_sessions.logs.events import Events
from wa_sessions.logs.lines import NO_PREFIX, Clock, now_in_ms
from wa_sessions.logs.pieces import Pieces
from wa_sessions.logs.reasons import of_collection, of_session
from wa_sessions.logs.recognized import newest
from wa_sessions.logs.scan_result import DUMP, ScanResult
from wa_sessions.logs.stacks import FARTHEST_FRAME, plain_stack
from wa_sessions.logs.times import written_time
from wa_sessions.logs.words import HEAD, MEANINGS, SEARCH, SESSION_ERROR

LONGEST_LINE = 16 * 2**20
BEHIND = 2**14
"""Bytes before a line in which the beginning of its entry is looked for."""

_SIMPLE = rb'(?:"\w+":(?:\d+|"[^"\\\n]*"),)*?'
_STAMP = rb'\{"level":(?P<level>\d+),"time":(?P<time>\d{13}|"[^"\\\n]{20,32}"),' + _SIMPLE
_PINO_OWN = re.compile(_STAMP + rb'"msg":"(?P<msg>[^"\\\n]*)"\}\r?')
_PINO_FAILED = re.compile(
    _STAMP
    + rb'"key":\{"remoteJid":"(?P<chat>[^"\\\n]*)"(?:,"\w+":(?:true|false|"[^"\\\n]*")){0,12}?,"id":"(?P<id>[^"\\\n]*)"'
    rb'(?:,"participant":"(?P<who>[^"\\\n]*)")?[^{}\n]*\},"err":\{"type":"[^"\\\n]*","message":"(?P<why>[^"\\\n]*)"'
)
_PINO_FAILED_ENDS = (b',"msg":"failed to decrypt message"}', b',"msg":"failed to decrypt message"}\r')
_PINO_COLLECTION = re.compile(_STAMP + rb'"error":"(?P<why>[^"\\\n]*)')
_DUMP_TITLE = re.compile(rb"(.*?)(?:[A-Z][a-z]+ [a-z ]{0,40}(?:session|closed):? )", re.DOTALL)


if TYPE_CHECKING:
    from wa_sessions.logs.dressed import Dressed
    from wa_sessions.logs.naming import Naming

_Read = Callable[[bytes, int, int, int], bool]


class Scanner:
    """Reads one log, or a part of one that begins at the beginning of a line."""

    def __init__(self, zone: int = 0, behind: bytes = b"", *, naming: bool = False) -> None:
        """``zone``: ms by which the times that pm2 writes are ahead of UTC. ``behind``: what stands before the part.

        ``naming``: whether to look which phones lines name.
        """
        self.found = ScanResult()
        self._events, self._clock = Events(self.found), Clock(zone, now_in_ms())
        self._dressed: Dressed | None = None
        self._naming: Naming | None = _naming(self.found, self._clock) if naming else None
        self._plain: tuple[_Read, ...] = (
            *(self._message, self._session_error, self._secret),
            *(self._failed, self._own, self._collection, self._key),
        )
        """By meaning. Each reads a line from ``start`` to ``end`` with its words at ``at``; False: it is not plain."""
        self._unfinished, self._waiting, self._pieces = b"", b"", Pieces()
        self._behind = behind[-BEHIND:]
        self._read, self._dumped = 0, -1

    def feed(self, block: bytes) -> None:
        """Read on; a block may end anywhere."""
        block = self._unfinished + block if self._unfinished else block
        end = block.rfind(b"\n") + 1
        if not end and len(block) > LONGEST_LINE:
            end = len(block)
        self._unfinished = block[end:]
        if end:
            lines = self._pieces.joined(block[:end])
            self._waiting = self._scan(self._waiting + lines if self._waiting else lines)

    def finish(self, ahead: bytes = b"") -> ScanResult:
        """No more comes; ``ahead``: what stands behind this part, to find the end of its last stack."""
        self._scan(self._waiting + self._unfinished, ahead, last=True)
        self._waiting = self._unfinished = b""
        latest = newest(self._behind[-self._read :], self._clock) if self._read else -1
        self.found.seen = max(self.found.seen, self.found.newest(), latest)
        self.found.prefixes = self._clock.shapes_read()
        self.found.keys.size = self._read
        self.found.keys.left = self._read - self._dumped if self._dumped >= 0 else -1
        return self.found

    def _scan(self, lines: bytes, ahead: bytes = b"", *, last: bool = False) -> bytes:
        """Look at lines; those are returned that are to be looked at again once more has come."""
        limit = len(lines)
        lines = lines + ahead if ahead else lines
        done = 0
        for word, at, _ in SEARCH.find_matches_as_indexes(lines):
            if at < done:
                continue
            start = lines.rfind(b"\n", done, at) + 1 or done
            if start >= limit:
                break
            end = lines.find(b"\n", at)
            end = len(lines) if end < 0 else end
            meaning = MEANINGS[word]
            if self._plain[meaning](lines, start, at, end):
                done = end + 1 if meaning else at + len(HEAD)
                continue
            further = self._look_closer().read(lines, (start, end), word, self._behind, last=last)
            if further is None:
                self._keep(lines[:start])
                return lines[start:limit]
            done = further
        self._keep(lines[:limit])
        return b""

    def _look_closer(self) -> "Dressed":
        """What reads other lines, which most logs do not have."""
        if self._dressed is None:
            from wa_sessions.logs.dressed import Dressed

            self._dressed = Dressed(self._events, self._clock)
        return self._dressed

    def _keep(self, lines: bytes) -> None:
        if self._naming:
            self._naming.read(lines)
        self._read += len(lines)
        self._behind = lines[-BEHIND:] if len(lines) >= BEHIND else (self._behind + lines)[-BEHIND:]

    def _message(self, lines: bytes, start: int, at: int, _end: int) -> bool:
        """libsignal could not decrypt a message; errors with their stacks follow."""
        time = self._clock.read(lines[start:at])
        if time == NO_PREFIX:
            return False
        self._events.message(time)
        return True

    def _session_error(self, lines: bytes, start: int, at: int, end: int) -> bool:
        prefix = lines[start:at]
        time = self._clock.read(prefix)
        if time == NO_PREFIX:
            return False
        sender = plain_stack(lines, prefix, end + 1)
        if sender:
            self._events.error(time, of_session(lines[at + len(SESSION_ERROR) : end]), sender)
        return sender != b""

    def _secret(self, lines: bytes, start: int, at: int, _end: int) -> bool:
        """``Closing session: SessionEntry {…}``, and others, with private keys; keys below one are its own."""
        title = _DUMP_TITLE.fullmatch(lines[start:at])
        if title is None or self._clock.read(title[1]) == NO_PREFIX:
            self._dumped = self._read + at
            return False
        self._events.secret()
        self._dumped = self._read + at
        return True

    def _key(self, _lines: bytes, _start: int, at: int, _end: int) -> bool:
        """A key without the title of a dump: one below it, or of something else that was printed."""
        at += self._read
        if self._dumped < 0 and at <= DUMP:
            self.found.keys.stray = at
        elif self._dumped < 0 or at - self._dumped > DUMP:
            self._events.secret()
        self._dumped = at
        return True

    def _failed(self, lines: bytes, start: int, _at: int, end: int) -> bool:
        brace = lines.find(b"{", start, end)
        if brace < 0 or self._clock.read(lines[start:brace]) == NO_PREFIX:
            return False
        match = _PINO_FAILED.match(lines, brace, end)
        if match is None or not lines.endswith(_PINO_FAILED_ENDS, match.end(), end):
            return False
        written, chat, message, who, why = match.group("time", "chat", "id", "who", "why")
        frame = lines.find(senders.FRAME, match.end(), end)
        sender = senders.of_message(chat, who or b"") if frame < 0 else senders.of_frame(lines, match.end(), frame)
        self._events.failure(_time(written), sender, message, why)
        return True

    def _collection(self, lines: bytes, start: int, at: int, end: int) -> bool:
        brace = lines.find(b"{", start, at)
        if brace < 0 or self._clock.read(lines[start:brace]) == NO_PREFIX:
            return False
        match = _PINO_COLLECTION.match(lines, brace, at)
        if match is None or not lines.startswith(b'"msg":"', at - 7) or lines.find(b'"', at, end) < end - 3:
            return False
        words = lines[at:end].decode("utf-8", "replace")
        kind = of_collection(words, match["why"].decode("utf-8", "replace"))
        if kind is not None:
            self._events.collection(_time(match["time"]), kind)
        return True

    def _own(self, lines: bytes, start: int, at: int, end: int) -> bool:
        """A line of the backend's own: a counter, a reset, a close."""
        brace = lines.find(b"{", start, at)
        if brace >= 0:
            if self._clock.read(lines[start:brace]) == NO_PREFIX:
                return False
            match = _PINO_OWN.fullmatch(lines, brace, end)
            return match is not None and self._events.own(_time(match["time"]), match["msg"])
        begins = lines.find(b"\xe2\x9a\xa0" if lines[at : at + 4] == b"Bad " else b"\xf0\x9f", start, at)
        time = self._clock.read(lines[start:begins]) if begins >= 0 else NO_PREFIX
        return time != NO_PREFIX and self._events.own(time, lines[begins:end])


def _naming(found: ScanResult, clock: Clock) -> "Naming":
    """What looks for names, which only recording does."""
    from wa_sessions.logs.naming import Naming

    return Naming(found, clock)


def unfinished_from(text: bytes) -> int:
    """Where what is to be read once more has come begins: a line without an end, a stack without its sender."""
    end = text.rfind(b"\n") + 1
    error = text.rfind(SESSION_ERROR, max(0, end - FARTHEST_FRAME), end)
    if error < 0 or text.find(senders.FRAME, error, end) >= 0:
        return end
    _, *below = text[error:end].split(b"\n")[:-1]
    over = any(b"at " not in line for line in below)
    return end if over else text.rfind(b"\n", 0, error) + 1


def _time(written: bytes) -> int:
    return int(written) if written[:1] != b'"' else written_time(written[1:-1].decode())
