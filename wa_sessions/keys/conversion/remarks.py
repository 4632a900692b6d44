"""What a conversion has to say beside the records that it makes."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a key, or about ``count`` keys of a type; ``what`` is for the operator and holds no secret."""

    key: str
    what: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Converted(Generic[T]):
    """A phone in its new records; what was left out of them and why; and what somebody may notice."""

    phone: T
    left_out: tuple[Remark, ...]
    notices: tuple[Remark, ...]


class Remarks:
    """Collects what is to be said while a phone is converted."""

    def __init__(self) -> None:
        self._left_out: list[Remark] = []
        self._notices: list[Remark] = []

    def left_out(self, key: str, why: str, count: int = 1) -> None:
        """Something that is not carried."""
        self._left_out.append(Remark(key, why, count))

    def notice(self, key: str, what: str, count: int = 1) -> None:
        """Something that is carried, but not as it was."""
        self._notices.append(Remark(key, what, count))

    def converted(self, phone: T) -> Converted[T]:
        """All of it, with the phone."""
        return Converted(phone, tuple(self._left_out), tuple(self._notices))
