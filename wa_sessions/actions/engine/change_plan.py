"""What a change by operators is, which phones it is planned for, and what became of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from wa_sessions.db import quarantine
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import Phone
from wa_sessions.db.quarantine import Taken
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.selection import Selection


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to each phone. ``verb`` is what a worker is asked; None refuses phones that a worker runs.

    ``ends_session``: it is only true where nothing runs the session afterwards.
    """

    action: str
    event: str
    reason: str
    selection: Selection | None = None
    status: str | None = None
    verb: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    clears_counters: bool = False
    removes_phone: bool = False
    ends_session: bool = False

    @property
    def undoable(self) -> bool:
        """Whether the history keeps it as an operation."""
        return self.selection is not None or self.action == "reset_status"


@dataclass(frozen=True, slots=True)
class Planned:
    """A phone that is to be changed: how many of its keys are selected, by type, and the worker that would do it."""

    phone: Phone
    matched: dict[str, int]
    owner: WorkerInfo | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A change and the phones that it is for. ``everyone`` says that it is for all phones and not for one."""

    change: Change
    phones: tuple[Planned, ...]
    everyone: bool
    process_stopped: bool

    @property
    def keys(self) -> int:
        """How many keys are selected."""
        return sum(sum(planned.matched.values()) for planned in self.phones)

    @property
    def touched(self) -> tuple[Planned, ...]:
        """The phones at which there is something to do."""
        if not self.everyone or self.change.status is not None or self.change.removes_phone:
            return self.phones
        return tuple(planned for planned in self.phones if planned.matched)

    @property
    def touches_node(self) -> bool:
        """Whether a phone is changed that a Node process may have in memory."""
        return any(one.phone.connection_type == "baileys" for one in self.beside_node)

    @property
    def beside_node(self) -> tuple[Planned, ...]:
        """The phones that may not be changed while a Node process runs them."""
        return self.phones if self.change.ends_session else tuple(one for one in self.phones if one.matched)


@dataclass(frozen=True, slots=True)
class ChangedPhone:
    """What was done at one phone; ``status`` is its status now, ``worker_id`` who did it (None: we)."""

    phone: Phone
    taken: Taken
    status: str
    worker_id: UUID | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A phone that was left as it was, and why."""

    phone: Phone
    error: WaSessionsError


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that is made, or with ``dry_run`` was rolled back. ``operation`` is what ``restore`` undoes.

    Where many phones are meant, those that cannot be changed are in ``failed``; the others are changed all the same.
    ``down``: why the Node process could not be started again, where it could not.
    """

    operation: str | None
    phones: tuple[ChangedPhone, ...]
    failed: tuple[Failed, ...]
    dry_run: bool
    down: WaSessionsError | None = None

    @property
    def taken(self) -> Taken:
        """What was taken at all phones together."""
        return quarantine.together(changed.taken for changed in self.phones)
