"""What is counted, its limits, and what a count means: all that ``stats`` needs of the policy."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal


class ErrorKind(StrEnum):
    """The two kinds of error that have a limit."""

    BAD_MAC = "bad_mac"
    BAD_DECRYPT = "bad_decrypt"

    @property
    def label(self) -> str:
        return "Bad MAC" if self is ErrorKind.BAD_MAC else "Bad Decrypt"


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How far a counter is towards its limit."""

    kind: ErrorKind
    count: int
    limit: int


class Severity(StrEnum):
    """``critical`` means that the next error of that kind closes the session."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Limits:
    """When a session is closed, and how long a retry is waited for."""

    bad_mac: int = 3
    bad_decrypt: int = 5
    scope: Literal["account", "sender"] = "account"
    give_up_after: timedelta = timedelta(days=1)

    def of(self, kind: ErrorKind) -> int:
        return self.bad_mac if kind is ErrorKind.BAD_MAC else self.bad_decrypt


def severity(bad_mac: int, bad_decrypt: int, limits: Limits, *, uncounted: int = 0) -> Severity:
    """Judge two counters: any error is a warning, one short of a limit is critical.

    ``uncounted``: messages that fail again and again for reasons that count towards no limit.
    """
    if 0 < bad_mac >= limits.bad_mac - 1 or 0 < bad_decrypt >= limits.bad_decrypt - 1:
        return Severity.CRITICAL
    return Severity.WARNING if bad_mac or bad_decrypt or uncounted else Severity.OK
