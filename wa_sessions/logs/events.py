"""What lines of any form say, put into ``ScanResult``."""

import re

from wa_sessions.logs.reasons import of_message
from wa_sessions.logs.scan_result import Counted, Kind, ScanResult, SignalTrace

OWN_BEGINS = re.compile("⚠|🔄|🚪".encode())
_OWN = re.compile(
    "(?:⚠(?:\ufe0f)? ?Bad (?P<kind>MAC|Decrypt) error #(?P<number>[0-9]{1,9})"
    " для (?P<counted>[0-9]{5,20})(?![0-9])[^ ]*"
    "|🔄 ?Счетчики ошибок сброшены для organizationPhoneId: (?P<id>[0-9]{1,18})"
    r"|🚪 ?Закрытие сессии для (?P<closed>[0-9]{5,20})(?![0-9])[^ ]*? Причина: (?P<reason>.+))\s*".encode(),
    re.DOTALL,
)


class Events:
    """Takes down what is read, line by line."""

    def __init__(self, found: ScanResult) -> None:
        self.found = found

    @property
    def taken(self) -> int:
        """How much was taken down so far."""
        return self.found.events + self.found.secrets

    def message(self, time: int) -> None:
        """libsignal could not decrypt a message; errors with their stacks follow."""
        self.found.close_message()
        self.found.open = SignalTrace(self._place(), time)

    def error(self, time: int, kind: Kind, sender: bytes) -> None:
        """One session state did not fit. Without a line of ``message`` before it, another sender is another message."""
        stacks = self.found.open or self.found.head
        if stacks is None:
            stacks = self.found.head = SignalTrace(self._place(), time)
        elif stacks.differs(sender):
            self.found.close_message()
            stacks = self.found.open = SignalTrace(self._place(), time)
        stacks.add(kind, sender)

    def failure(self, time: int, sender: bytes, message: bytes, why: bytes) -> None:
        """Baileys says that a message failed."""
        message_hash = hash(int.from_bytes(message, "big"))
        self.found.failures.add(sender, self._place(), time, message_hash, of_message(why))

    def collection(self, time: int, kind: Kind) -> None:
        """A collection did not sync."""
        self.found.collected.add(self._place(), time, kind)

    def secret(self) -> None:
        """A private key stands in the log."""
        self.found.secrets += 1

    def own(self, time: int, text: bytes) -> bool:
        """A line of the backend's own: a counter, a reset, a close; False for any other text."""
        match = _OWN.fullmatch(text)
        if match is None:
            return False
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
        return True

    def _place(self) -> int:
        self.found.events += 1
        return self.found.events
