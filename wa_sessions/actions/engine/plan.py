"""What an operator confirms: a change, whom it is for, as they were seen, and what may not differ when it is made."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from wa_sessions.actions.connection import Opened
from wa_sessions.db import quarantine
from wa_sessions.db.gateway import Connection
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.phones import Phone
from wa_sessions.db.quarantine import QuarantineResult
from wa_sessions.errors import OwnedByAnother, WaSessionsError
from wa_sessions.health.backend_words import ConnectionType
from wa_sessions.keys.phone_ref import PhoneRef

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which phones are meant: one, all, or all of an organization."""

    phone: PhoneRef | None = None
    organization_id: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a change is for, a phone in most cases. ``like``: what of it must be the same when the change is made."""

    id: int | str
    name: str
    like: Mapping[str, object]
    phone: Phone | None = None

    @classmethod
    def of(cls, phone: Phone) -> Self:
        """A phone."""
        like = {
            "number": phone.number,
            "organization": phone.organization_id,
            "connection type": phone.connection_type,
        }
        return cls(phone.id, phone.number, like, phone)


def differences(planned: Iterable[Target], now: Iterable[Target]) -> list[str]:
    """How targets differ from what was planned, each in words.

    >>> one, two = Target(1, "77051234567", {"organization": 1}), Target(2, "77057654321", {"organization": 1})
    >>> differences([one, two], [Target(1, "77051234567", {"organization": 7}), Target(3, "77050000003", {})])
    ['77051234567: its organization was 1 and is 7', '77057654321 is gone', '77050000003 was added']
    """
    left = {target.id: target for target in now}
    found = []
    for target in planned:
        present = left.pop(target.id, None)
        if present is None or (target.phone and not present.phone):
            found.append(f"{target.name} is gone")
            continue
        if present.phone and not target.phone:
            found.append(f"{target.name} was added")
            continue
        found += [
            f"{target.name}: its {what} was {value} and is {present.like.get(what)}"
            for what, value in target.like.items()
            if present.like.get(what) != value
        ]
    return found + [f"{target.name} was added" for target in left.values()]


T = TypeVar("T", bound=Target)
F = TypeVar("F")


class Done(Protocol):
    """What became of a target: at least which keys were taken."""

    @property
    def taken(self) -> QuarantineResult: ...


D = TypeVar("D", bound=Done)


@dataclass(frozen=True)
class PlanItem(Generic[T, F]):
    """A target that is to be changed: what was found of it, how many keys that concerns, and the worker that has it."""

    target: T
    found: F
    keys: int = 0
    owner: WorkerInfo | None = None

    @cached_property
    def phone(self) -> Phone:
        """The target's phone; for changes whose targets have one."""
        assert self.target.phone
        return self.target.phone


@dataclass(frozen=True, slots=True)
class Failed:
    """A target that stays as it is, and why."""

    target: Target
    error: WaSessionsError

    @property
    def why(self) -> str:
        """The reason, with the target's name."""
        text = str(self.error)
        return text if self.target.name in text else f"{self.target.name} stays as it is: {text}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"phone_id": self.target.id, "phone": self.target.name, "error": str(self.error)}


@dataclass(frozen=True)
class Changed(Generic[D]):
    """A change that is made, or with ``dry_run`` was rolled back. ``operation`` is what ``restore`` undoes.

    Where many phones are meant, those that cannot be changed are in ``failed``; the others are changed all the same.
    ``down``: why the Node process could not be started again, where it could not.
    """

    operation: str | None
    phones: tuple[D, ...]
    failed: tuple[Failed, ...]
    dry_run: bool
    down: WaSessionsError | None = None

    @cached_property
    def taken(self) -> QuarantineResult:
        """What was taken at all phones together."""
        return quarantine.together([done.taken for done in self.phones])


class Change(ABC, Generic[T, F, D]):
    """What is done to each target, as a value.

    A target is read and judged once, when the change is planned (``look``); what was found then is what is carried out
    (``apply``, in a transaction that a dry run rolls back).
    """

    called: ClassVar[str] = "phones"
    """What its targets are, where there are many."""

    at_once: ClassVar[bool] = False
    """All targets in one transaction, or none."""

    never_beside_node: ClassVar[bool] = False
    """Phones that the Node process runs are refused before anything else is found of them."""

    singly: ClassVar[bool] = False
    """Each target in a transaction of its own, as what is done cannot be rolled back."""

    @abstractmethod
    def targets(self, conn: Connection, opened: Opened, scope: Scope) -> Sequence[T]:
        """Those that are meant. Raises what keeps the change from all of them, as a right that is missing."""

    @abstractmethod
    def look(self, conn: Connection, opened: Opened, target: T, owner: WorkerInfo | None) -> PlanItem[T, F]:
        """Read and judge one; raises WaSessionsError where it cannot be changed."""

    def prepare(self, opened: Opened, items: Sequence[PlanItem[T, F]]) -> None:
        """Make what has to be there before some are changed; not for a dry run."""

    @abstractmethod
    def apply(
        self, conn: Connection, opened: Opened, item: PlanItem[T, F], operation: str | None, *, stopped: bool
    ) -> tuple[str | None, D | None]:
        """Change one as it was planned, as a part of ``operation`` if there is one, and write that down.

        The operation that it is part of, and what became of it (None: nothing was left to do). One with an owner is
        changed to be rolled back. ``stopped``: the Node process is not running, whatever statuses say.
        """

    def by_worker(
        self,
        opened: Opened,  # noqa: ARG002
        item: PlanItem[T, F],
        operation: str | None,  # noqa: ARG002
    ) -> tuple[str | None, D | None]:
        """Have the worker that owns it change one."""
        assert item.owner
        raise OwnedByAnother(f"{item.owner.name} runs {item.target.name}: end that worker first")

    def finish(self, conn: Connection, opened: Opened, items: Sequence[PlanItem[T, F]]) -> None:
        """What remains to be done for some that were changed in one transaction."""

    def undone_by(self, operation: str) -> str:
        """The command that undoes what was done under an operation."""
        return f"wa-sessions restore {operation}"

    def concerns(self, item: PlanItem[T, F]) -> bool:  # noqa: ARG002
        """Whether there is something to do."""
        return True

    def beside_node(self, item: PlanItem[T, F]) -> bool:
        """Whether it may not be changed while the Node process runs it."""
        return item.phone.connection_type == ConnectionType.BAILEYS

    def stops_node(self, items: Sequence[PlanItem[T, F]]) -> bool:
        """Whether the Node process is stopped meanwhile, where its commands are known."""
        return any(map(self.beside_node, items))


@dataclass(frozen=True)
class Plan(Generic[T, F, D]):
    """A change, and those whom it is for, as they were seen. ``failed`` are those that will stay as they are.

    ``items`` have something to do but where one phone is meant; ``others`` have not.
    """

    change: Change[T, F, D]
    scope: Scope
    items: tuple[PlanItem[T, F], ...]
    others: tuple[Target, ...]
    failed: tuple[Failed, ...]
    process_stopped: bool

    @cached_property
    def everyone(self) -> bool:
        """Whether all phones are meant, and not one."""
        return self.scope.phone is None

    @cached_property
    def many(self) -> bool:
        """Whether one that cannot be changed does not hold the others."""
        return not self.change.at_once and len(self.items) + len(self.others) + len(self.failed) > 1

    @property
    def keys(self) -> int:
        """How many keys it concerns."""
        return sum(item.keys for item in self.items)

    @property
    def needless(self) -> bool:
        """Whether there is nothing to do."""
        return not any(map(self.change.concerns, self.items))

    @property
    def beside_node(self) -> list[Phone]:
        """The phones that may not be changed while the Node process runs them."""
        return [item.phone for item in self.items if self.change.beside_node(item)]
