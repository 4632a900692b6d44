"""Lines that do not stand plainly: in JSON, on several lines, in colours, or behind a prefix that has to be learned."""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any

from wa_sessions.logs import senders
from wa_sessions.logs.entries import (
    DEEPEST,
    error_text,
    failed_message,
    inner_entries,
    line_of,
    texts_of,
    time_of,
)
from wa_sessions.logs.events import OWN_BEGINS, Events
from wa_sessions.logs.lines import COLOUR, NO_PREFIX, Clock, behind, shape
from wa_sessions.logs.pretty import MIXED_IN, MOST_LINES, TITLE, as_json, fields
from wa_sessions.logs.reasons import FAILED_MESSAGE, of_collection, of_session
from wa_sessions.logs.stacks import FARTHEST_FRAME, read_stack
from wa_sessions.logs.times import NO_TIME
from wa_sessions.logs.words import DUMP, HEAD, SESSION_ERROR, any_word, example_of, form_of, is_ours

LONGEST_ENTRY = 2**22
_DUMP = re.compile(rb"(.*?)(?:[A-Z][a-z]+ [a-z ]{0,40}(?:session|closed):? )?SessionEntry \{", re.DOTALL)
_IN_LAYOUT = re.compile(rb'(.{0,300}?)[ \t]+"(?:msg|message)": ?"')
_QUOTED = re.compile(rb'([^"\n]{0,300},)"(.*)"')
KEY = re.compile(rb"privKey: |private: ")
_SAMPLE = 2**16
_FEWEST = 8


class Outcome(Enum):
    """What became of a line."""

    READ = auto()
    SOMETHING_ELSE = auto()
    UNREAD = auto()
    GOES_ON = auto()


class Dressed:
    """Reads one line at a time, and those below that belong to it."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events, self._clock = events, clock
        self._lines, self._begin, self._next, self._last, self._behind, self._mark = b"", 0, 0, True, b"", 0
        self._looked_at = set[bytes]()

    def read(self, lines: bytes, span: tuple[int, int], word: int, behind_it: bytes, *, last: bool) -> int | None:
        """Read the line at ``span``, which has one of the words; returns where to read on.

        None where more lines must come first. ``behind_it`` are lines before these.
        """
        self._lines, (self._begin, end), self._last, self._behind = lines, span, last, behind_it
        self._next, self._mark = end + 1, self._events.taken
        if end - self._begin > LONGEST_ENTRY:
            self._events.found.not_read(form_of(word), "…")
            return self._next
        raw = clean(lines[self._begin : end])
        match self._line(raw, NO_TIME, 0, []):
            case Outcome.GOES_ON:
                return None
            case Outcome.UNREAD if is_ours(raw, word):
                self._events.found.not_read(form_of(word), example_of(raw, word))
        return self._next

    def _line(self, raw: bytes, time: int, depth: int, rest: Sequence[bytes]) -> Outcome:
        """One line; ``rest`` are those below it in the same entry."""
        brace = raw.find(b"{")
        if brace >= 0 and raw.endswith(b"}") and isinstance(entry := as_json(raw[brace:]), dict):
            before = self._time(raw[:brace], time)
            if before != NO_PREFIX:
                return self._entry(entry, before, depth)
            if any_word(raw[:brace]) is None:
                ours = line_of(entry)
                return Outcome.UNREAD if ours and any_word(ours.encode()) is not None else Outcome.SOMETHING_ELSE
        if (quoted := _QUOTED.fullmatch(raw)) and (before := self._time(quoted[1], time)) != NO_PREFIX:
            return self._line(quoted[2].replace(b'""', b'"'), before, depth + 1, rest)
        return self._text(raw, time, depth, rest)

    def _entry(self, entry: Mapping[str, Any], time: int, depth: int) -> Outcome:
        """A JSON entry, the library's or a wrapper of its lines."""
        time = time_of(entry, time)
        text = line_of(entry)
        if text is not None and (outcome := self._library(entry, text.strip(), time)):
            return outcome
        if depth >= DEEPEST:
            return Outcome.UNREAD
        holders = [one for one in texts_of(entry) if any_word(one.encode("utf-8", "replace")) is not None]
        if len(holders) == 1:
            return self._all_lines(holders[0].encode("utf-8", "replace"), time, depth + 1)
        if text is None and not holders:
            inner = [self._entry(one, time, depth + 1) for one in inner_entries(entry)]
            return next((one for one in (Outcome.READ, Outcome.UNREAD) if one in inner), Outcome.SOMETHING_ELSE)
        return Outcome.UNREAD if holders else Outcome.SOMETHING_ELSE

    def _library(self, entry: Mapping[str, Any], text: str, time: int) -> Outcome | None:
        """An entry that Baileys wrote with pino."""
        words = text.encode("utf-8", "replace")
        title = next((one for one in FAILED_MESSAGE if words.endswith(one)), None)
        if title and (title == words or MIXED_IN.fullmatch(words.removesuffix(title))):
            return self._failed(entry, time)
        text = re.sub(r"^[\w.:@/-]{1,80} - ", "", text)
        if (kind := of_collection(text, error_text(entry))) is None:
            return None
        self._events.collection(time, kind)
        return Outcome.READ

    def _failed(self, entry: Mapping[str, Any], time: int) -> Outcome:
        found = failed_message(entry)
        if found is None:
            return Outcome.UNREAD
        key, error = found
        chat, stack = key["remoteJid"].encode(), str(error.get("stack")).encode()
        frame = stack.find(senders.FRAME)
        sender = senders.of_frame(stack, 0, frame) if frame >= 0 else b""
        sender = sender or senders.of_message(chat, str(key.get("participant") or "").encode())
        self._events.failure(time, sender, key["id"].encode(), str(error.get("message")).encode())
        return Outcome.READ

    def _all_lines(self, text: bytes, time: int, depth: int) -> Outcome:
        """The lines of one text."""
        lines = [clean(line) for line in text.rstrip(b"\n").split(b"\n")]
        outcomes = {
            self._line(line, time, depth, lines[n + 1 :]) for n, line in enumerate(lines) if any_word(line) is not None
        }
        order = (Outcome.GOES_ON, Outcome.READ, Outcome.UNREAD)
        return next((one for one in order if one in outcomes), Outcome.SOMETHING_ELSE)

    def _text(self, raw: bytes, time: int, depth: int, rest: Sequence[bytes]) -> Outcome:
        """A line that is no entry: the console's, or the first of an entry on several lines."""
        if (at := raw.find(SESSION_ERROR)) >= 0 and HEAD not in raw:
            return self._error(raw, at, time, depth, rest)
        if (at := raw.find(HEAD)) >= 0:
            before = self._time(raw[:at], time)
            if before == NO_PREFIX:
                return Outcome.UNREAD
            self._events.message(before)
            more = raw[at + len(HEAD) :]
            return self._text(more, before, depth, rest) if SESSION_ERROR in more else Outcome.READ
        if match := OWN_BEGINS.search(raw):
            before = self._time(raw[: match.start()], time)
            own = before != NO_PREFIX and self._events.own(before, raw[match.start() :])
            return Outcome.READ if own else Outcome.UNREAD
        if DUMP in raw:
            return self._dump(raw)
        if depth:
            return Outcome.SOMETHING_ELSE if KEY.search(raw) else self._on_several_lines(raw, time, rest)
        return self._on_several_lines(raw, time, None)

    def _error(self, raw: bytes, at: int, time: int, depth: int, rest: Sequence[bytes]) -> Outcome:
        prefix, error = raw[:at], raw[at + len(SESSION_ERROR) :]
        wrapped = depth > 0 and not rest

        def inner(line: bytes) -> bytes | None:
            return line if rest else self._inner(clean(line), prefix, wrapped=wrapped)

        stack = read_stack(error, rest or self._following(), inner)
        if stack.cut and not rest and self._may_go_on(FARTHEST_FRAME):
            return Outcome.GOES_ON
        before = self._time(prefix, time)
        if before == NO_PREFIX and stack.frames:
            self._clock.learn(prefix)
            before = self._time(prefix, time)
        if before == NO_PREFIX:
            return Outcome.UNREAD
        self._events.error(before, of_session(error), stack.sender)
        return Outcome.READ

    def _dump(self, raw: bytes) -> Outcome:
        match = _DUMP.match(raw)
        if match is None or self._time(match[1], NO_TIME) == NO_PREFIX:
            return Outcome.UNREAD
        self._events.secret()
        return Outcome.READ

    def _on_several_lines(self, raw: bytes, time: int, rest: Sequence[bytes] | None) -> Outcome:
        """pino-pretty's title, with its fields behind or below it, or JSON that was laid out."""
        if rest is None and (match := _IN_LAYOUT.match(raw)) and (entry := self._laid_out(match[1])) is not None:
            return self._entry(entry, time, 0)
        found = self._titled(raw, time)
        if found is None:
            return Outcome.UNREAD
        outer, before, text = found
        words, brace, more = text.partition(b" {")
        if brace:
            entry = as_json(b"{" + more)
        else:
            block, cut = self._block(outer, rest)
            if cut:
                return Outcome.GOES_ON
            entry = fields(block)
        if not isinstance(entry, dict) or not entry:
            return Outcome.UNREAD
        return self._library(entry, words.decode("utf-8", "replace"), before) or Outcome.SOMETHING_ELSE

    def _titled(self, raw: bytes, time: int) -> tuple[bytes, int, bytes] | None:
        """What stands before pino-pretty's title, the entry's time, and its words."""
        for title in TITLE.finditer(raw):
            if (before := self._time(raw[: title.end()], time)) != NO_PREFIX:
                return raw[: title.start()], before, raw[title.end() :]
        words = MIXED_IN.sub(b"", raw[: next((at for one in FAILED_MESSAGE if (at := raw.find(one)) >= 0), 0)])
        before = self._time(words, time)
        return (words, before, raw[len(words) :]) if before != NO_PREFIX else None

    def _block(self, prefix: bytes, rest: Sequence[bytes] | None) -> tuple[list[bytes], bool]:
        """The indented lines below, and whether more of them may follow."""
        block = list[bytes]()
        for line in self._following() if rest is None else rest:
            text = line if rest is not None else self._inner(clean(line), prefix, wrapped=False)
            if text is None or not text.startswith((b"    ", b"\t")):
                return block, False
            block.append(text)
            if len(block) > MOST_LINES:
                return block, False
        return block, rest is None and self._may_go_on(MOST_LINES * FARTHEST_FRAME)

    def _laid_out(self, prefix: bytes) -> dict[str, Any] | None:
        """The object whose text stands on this line."""
        if self._time(prefix, NO_TIME) == NO_PREFIX:
            return None
        above = (self._behind + self._lines[max(0, self._begin - _SAMPLE) : self._begin]).split(b"\n")[:-1]
        head = list[bytes]()
        for line in reversed(above[-MOST_LINES:]):
            text = self._inner(clean(line), prefix, wrapped=False)
            if text is None:
                return None
            head.append(text)
            if text.strip() == b"{" and not text.startswith((b"  ", b"\t")):
                break
        body = clean(self._lines[self._begin : self._next - 1])[len(prefix) :]
        tail = list[bytes]()
        for line in self._following():
            text = self._inner(clean(line), prefix, wrapped=False) or b""
            tail.append(text)
            if text.strip() == b"}" and not text.startswith((b"  ", b"\t")):
                break
        entry = as_json(b"\n".join([*reversed(head), body, *tail]))
        return entry if isinstance(entry, dict) else None

    def _may_go_on(self, most: int) -> bool:
        """Whether lines that are not there yet may belong to this one, of which nothing was taken down so far."""
        return not self._last and self._next + most > len(self._lines) and self._events.taken == self._mark

    def _following(self) -> Iterator[bytes]:
        """The lines below, at most as many as an entry has."""
        at = self._next
        for _ in range(MOST_LINES):
            if at >= len(self._lines):
                return
            end = self._lines.find(b"\n", at)
            end = len(self._lines) if end < 0 else end
            yield self._lines[at : min(end, at + FARTHEST_FRAME)]
            at = end + 1

    def _inner(self, line: bytes, prefix: bytes, *, wrapped: bool) -> bytes | None:
        """What stands in a line below; None where it is of another kind."""
        if wrapped:
            brace = line.find(b"{")
            entry = as_json(line[brace:]) if brace >= 0 else None
            for _ in range(DEEPEST):
                if not isinstance(entry, dict):
                    return None
                if (text := line_of(entry) or next(texts_of(entry), None)) is None:
                    entry = next(inner_entries(entry), None)
                    continue
                words = clean(text.encode("utf-8", "replace").rstrip(b"\n"))
                entry = as_json(words) if words.startswith(b"{") else None
                if entry is None:
                    return words[len(prefix) :] if prefix and words.startswith(prefix) else words
            return None
        match = behind(prefix)(line)
        return line[match.end() :] if match else None

    def _time(self, prefix: bytes, otherwise: int) -> int:
        time = self._clock.read(prefix)
        if time == NO_PREFIX and self._before_all_lines(prefix):
            self._clock.learn(prefix)
            time = self._clock.read(prefix)
        return otherwise if time == NO_TIME else time

    def _before_all_lines(self, prefix: bytes) -> bool:
        """Whether every line around has such a prefix before it, as no text has."""
        form = shape(prefix)
        if form in self._looked_at or len(self._looked_at) > MOST_LINES:
            return False
        lines = [line for line in (self._behind + self._lines[:_SAMPLE]).split(b"\n")[1:-1] if line.strip()]
        if len(lines) < _FEWEST:
            return False
        self._looked_at.add(form)
        return all(behind(prefix)(clean(line)) for line in lines)


def clean(raw: bytes) -> bytes:
    """A line without colours, the end that Windows writes, and what a broken disk left before it."""
    return COLOUR.sub(b"", raw).removeprefix(b"\xef\xbb\xbf").lstrip(b"\0").rstrip(b"\r")
