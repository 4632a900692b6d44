"""Lines that do not stand plainly: in JSON, on several lines, in colours, or behind a prefix that has to be learned."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any

from wa_sessions.logs import senders
from wa_sessions.logs.around import SAMPLE, Around
from wa_sessions.logs.entries import (
    DEEPEST,
    error_text,
    failed_message,
    inner_entries,
    is_message,
    is_of_a_log,
    is_pinos,
    line_of,
    texts_of,
    time_of,
)
from wa_sessions.logs.events import OWN_BEGINS, Events
from wa_sessions.logs.lines import LONGEST_PREFIX, NO_PREFIX, Clock, shape
from wa_sessions.logs.path import QUOTED, Path, clean, entry_at, follow, unquoted
from wa_sessions.logs.pretty import MIXED_IN, MOST_LINES, as_json, fields, title
from wa_sessions.logs.reasons import FAILED_MESSAGE, of_collection, of_session
from wa_sessions.logs.stacks import FARTHEST_FRAME, read_stack
from wa_sessions.logs.times import NO_TIME
from wa_sessions.logs.words import DUMP, HEAD, SESSION_ERROR, any_word, begin_of, example_of, form_of, is_ours

LONGEST_ENTRY = 2**22
_DUMP = re.compile(rb"(.*?)(?:[A-Z][a-z]+ [a-z ]{0,40}(?:session|closed):? )?SessionEntry \{", re.DOTALL)
_IN_LAYOUT = re.compile(rb'(.{0,300}?)[ \t]{1,80}"(?:msg|message)": ?"')
_ERROR = re.compile(SESSION_ERROR + rb"(?= ?[\w.$]{0,60}(?:Error|Exception)\b)")
"""What is printed there is always an error; a prefix may have the words, too."""
KEY = re.compile(rb"privKey: |private: ")
_NEAR = LONGEST_PREFIX + 100
"""Bytes within which the first words of an entry stand; what has more before it is text."""


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
        self._around = Around()

    def read(self, lines: bytes, span: tuple[int, int], word: int, behind_it: bytes, *, last: bool) -> int | None:
        """Read the line at ``span``, which has one of the words; returns where to read on.

        None where more lines must come first. ``behind_it`` are lines before these.
        """
        self._lines, (self._begin, end), self._last, self._behind = lines, span, last, behind_it
        self._next, self._mark = end + 1, self._events.taken
        self._around.lines, self._around.before = lines, behind_it
        if end - self._begin > LONGEST_ENTRY:
            self._events.found.not_read(form_of(word), b"", "…")
            return self._next
        raw = clean(lines[self._begin : end])
        match self._line(raw, NO_TIME, (), None):
            case Outcome.GOES_ON:
                return None
            case Outcome.UNREAD if is_ours(raw, word):
                self._events.found.not_read(form_of(word), self._shape(raw, word), example_of(raw, word))
            case _:
                pass
        return self._next

    def _shape(self, raw: bytes, word: int) -> bytes:
        """The shape of what stands before the text that has a word, or before the entry that could not be read."""
        at, brace = begin_of(raw, word), entry_at(raw)
        if 0 <= brace < at and (as_json(raw[brace:]) is None or self._clock.read(raw[:brace]) == NO_PREFIX):
            at = brace
        return shape(raw[: min(at, LONGEST_PREFIX)])

    def _line(self, raw: bytes, time: int, path: Path, rest: Sequence[bytes] | None) -> Outcome:
        """One line; ``path`` leads to it in a line of the log, ``rest`` are those below it in the same text."""
        brace = entry_at(raw)
        if brace >= 0 and raw.endswith(b"}") and isinstance(entry := as_json(raw[brace:]), dict):
            before = self._time(raw[:brace], time)
            if before != NO_PREFIX:
                return self._entry(entry, before, (*path, raw[:brace]), ())
            if any_word(raw[:brace]) is None:
                ours = line_of(entry)
                return Outcome.UNREAD if ours and any_word(ours.encode()) is not None else Outcome.SOMETHING_ELSE
        if (quoted := QUOTED.fullmatch(raw)) and (before := self._time(quoted[1], time)) != NO_PREFIX:
            return self._line(unquoted(raw[len(quoted[1]) :]), before, (*path, quoted[1], None), rest)
        return self._text(raw, time, path, rest)

    def _entry(self, entry: Mapping[str, Any], time: int, path: Path, keys: tuple[str, ...]) -> Outcome:
        """A JSON entry, the library's or a wrapper of its lines."""
        time = time_of(entry, time)
        text = line_of(entry)
        if text is not None and (outcome := self._library(entry, text.strip(), time)):
            return outcome
        if len(path) >= 2 * DEEPEST or len(keys) > DEEPEST:
            return Outcome.UNREAD
        if is_message(entry):
            return Outcome.SOMETHING_ELSE
        holders = [(name, one) for name, one in texts_of(entry) if any_word(one.encode("utf-8", "replace")) is not None]
        if len(holders) == 1:
            [(name, one)] = holders
            inside: Path = (*path, (*keys, name))
            if not is_of_a_log(entry, name, time) and not (alike := self._around.wrap_alike(inside)):
                more = alike is None and self._may_go_on(SAMPLE)
                return Outcome.GOES_ON if more else Outcome.UNREAD
            lines = [clean(line) for line in one.encode("utf-8", "replace").rstrip(b"\n").split(b"\n")]
            if is_pinos(entry, name) and any_word(lines[0]) is None:
                return Outcome.SOMETHING_ELSE
            return self._all_lines(lines, time, inside)
        if text is None and not holders:
            inner = [self._entry(one, time, path, (*keys, name)) for name, one in inner_entries(entry)]
            if (outcome := _first_of(inner)) is not Outcome.SOMETHING_ELSE:
                return outcome
            listed = json.dumps([one for one in entry.values() if isinstance(one, list)], ensure_ascii=False)
            return Outcome.SOMETHING_ELSE if any_word(listed.encode("utf-8", "replace")) is None else Outcome.UNREAD
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

    def _all_lines(self, lines: Sequence[bytes], time: int, path: Path) -> Outcome:
        """The lines of one text."""
        if len(lines) == 1:
            return self._line(lines[0], time, path, None)
        outcomes = {
            self._line(line, time, path, lines[n + 1 :]) for n, line in enumerate(lines) if any_word(line) is not None
        }
        return _first_of(outcomes)

    def _text(self, raw: bytes, time: int, path: Path, rest: Sequence[bytes] | None) -> Outcome:
        """A line that is no entry: the console's, or the first of an entry on several lines."""
        if (match := _ERROR.search(raw)) and HEAD not in raw:
            return self._error(raw, match.start(), time, path, rest)
        if (at := raw.find(HEAD)) >= 0:
            return self._head(raw, at, time, path, rest)
        signs = [match.start() for match in OWN_BEGINS.finditer(raw)]
        if any(self._own(raw, at, time) for at in reversed(signs)):
            return Outcome.READ
        if DUMP in raw:
            return self._dump(raw)
        if path and KEY.search(raw):
            return Outcome.SOMETHING_ELSE
        return self._on_several_lines(raw, time, path, rest)

    def _own(self, raw: bytes, at: int, time: int) -> bool:
        before = self._time(raw[:at], time)
        return before != NO_PREFIX and self._events.own(before, raw[at:])

    def _head(self, raw: bytes, at: int, time: int, path: Path, rest: Sequence[bytes] | None) -> Outcome:
        prefix, more = raw[:at], raw[at + len(HEAD) :]
        before = self._time(prefix, time)
        if before == NO_PREFIX and rest is None:
            below = [text for _, line in zip(range(2), self._following(), strict=False)
                     if (text := follow(clean(line), (*path, prefix)))]  # fmt: skip
            if len(below) < 2 and self._may_go_on(2 * FARTHEST_FRAME):
                return Outcome.GOES_ON
            if len(below) == 2 and below[0].startswith(SESSION_ERROR) and below[1].lstrip().startswith(b"at "):
                self._clock.learn(prefix)
                before = self._time(prefix, time)
        if before == NO_PREFIX:
            return Outcome.UNREAD
        self._events.message(before)
        return self._text(more, before, path, rest) if SESSION_ERROR in more else Outcome.READ

    def _error(self, raw: bytes, at: int, time: int, path: Path, rest: Sequence[bytes] | None) -> Outcome:
        prefix, error = raw[:at], raw[at + len(SESSION_ERROR) :]
        if rest is None:
            stack = read_stack(error, self._following(), lambda line: follow(clean(line), (*path, prefix)))
        else:
            stack = read_stack(error, rest, lambda line: line)
        if stack.cut and rest is None and self._may_go_on(FARTHEST_FRAME):
            return Outcome.GOES_ON
        before = self._time(prefix, time)
        if before == NO_PREFIX and rest is None and stack.frames:
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

    def _on_several_lines(self, raw: bytes, time: int, path: Path, rest: Sequence[bytes] | None) -> Outcome:
        """pino-pretty's title, with its fields behind or below it, or JSON that was laid out."""
        if any_word(raw[:_NEAR]) is None:
            return Outcome.UNREAD
        if rest is None and (match := _IN_LAYOUT.match(raw)):
            entry = self._laid_out(raw, (*path, match[1]))
            return self._entry(entry, time, path, ()) if entry else Outcome.UNREAD
        found = self._titled(raw, time)
        if found is None:
            return Outcome.UNREAD
        outers, before, text = found
        words, brace, more = text.partition(b" {")
        if brace:
            entry = as_json(b"{" + more)
        else:
            blocks = [self._block((*path, outer), rest) for outer in outers]
            if any(cut for _, cut in blocks):
                return Outcome.GOES_ON
            entry = fields(max((block for block, _ in blocks), key=len))
        if not isinstance(entry, dict) or not entry:
            return Outcome.UNREAD
        outcome = self._library(entry, words.decode("utf-8", "replace"), before)
        ours = (line_of(entry) or "").encode("utf-8", "replace")
        return outcome or (Outcome.SOMETHING_ELSE if any_word(ours) is None else Outcome.UNREAD)

    def _titled(self, raw: bytes, time: int) -> tuple[tuple[bytes, ...], int, bytes] | None:
        """What may stand before the lines below pino-pretty's title, the entry's time, and its words."""
        for one in reversed([*title().finditer(raw[:_NEAR])]):
            times = (self._time(raw[:end], time) for end in (one.end(), one.start()))
            if (before := next((one for one in times if one != NO_PREFIX), NO_PREFIX)) != NO_PREFIX:
                return (raw[: one.start()], raw[: one.start("level")]), before, raw[one.end() :]
        words = MIXED_IN.sub(b"", raw[: next((at for one in FAILED_MESSAGE if (at := raw.find(one)) >= 0), 0)])
        before = self._time(words, time)
        return ((words,), before, raw[len(words) :]) if before != NO_PREFIX else None

    def _block(self, path: Path, rest: Sequence[bytes] | None) -> tuple[list[bytes], bool]:
        """The indented lines below, and whether more of them may follow."""
        block = list[bytes]()
        for line in self._following() if rest is None else rest:
            text = line if rest is not None else follow(clean(line), path)
            if text is None or not text.startswith((b"    ", b"\t")) or len(block) > MOST_LINES:
                return block, False
            block.append(text)
        return block, rest is None and self._may_go_on(MOST_LINES * FARTHEST_FRAME)

    def _laid_out(self, raw: bytes, path: Path) -> dict[str, Any] | None:
        """The object whose text stands on this line."""
        above = (self._behind + self._lines[max(0, self._begin - SAMPLE) : self._begin]).split(b"\n")[:-1]
        texts = [raw[len(path[-1] or b"") :]]
        for line in reversed(above[-MOST_LINES:]):
            if (text := follow(clean(line), path)) is None:
                return None
            texts.insert(0, text)
            if text.strip() == b"{":
                break
        for line in self._following():
            text = follow(clean(line), path) or b""
            texts.append(text)
            if text.strip() == b"}":
                break
        entry = as_json(b"\n".join(texts))
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

    def _time(self, prefix: bytes, otherwise: int) -> int:
        time = self._clock.read(prefix)
        if time == NO_PREFIX and self._around.have_before_them(prefix):
            self._clock.learn(prefix)
            time = self._clock.read(prefix)
        return otherwise if time == NO_TIME else time


def _first_of(outcomes: Collection[Outcome]) -> Outcome:
    order = (Outcome.GOES_ON, Outcome.READ, Outcome.UNREAD)
    return next((one for one in order if one in outcomes), Outcome.SOMETHING_ELSE)
