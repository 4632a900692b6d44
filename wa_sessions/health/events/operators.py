"""What is told of what operators did. ``actor`` is who it was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from wa_sessions.health.event_kinds import EventKind
from wa_sessions.health.events.detail import EventDetail


@dataclass(frozen=True, slots=True)
class Added(EventDetail):
    """`add`, or an `import` of a phone that was not there."""

    KIND: ClassVar = EventKind.ADDED
    actor: str | None


@dataclass(frozen=True, slots=True)
class Assigned(EventDetail):
    """`assign`: from one connection type to another."""

    KIND: ClassVar = EventKind.ASSIGNED
    actor: str | None
    from_: str | None
    to: str | None


@dataclass(frozen=True, slots=True)
class Renamed(EventDetail):
    """`rename`; null is no name."""

    KIND: ClassVar = EventKind.RENAMED
    NULLS: ClassVar = frozenset({"from", "to"})
    actor: str | None
    from_: str | None
    to: str | None


@dataclass(frozen=True, slots=True)
class KeysQuarantined(EventDetail):
    """`clean-app-state`, `clean-sessions`: keys went into quarantine; `selection` is what was chosen."""

    KIND: ClassVar = EventKind.KEYS_QUARANTINED
    action: str | None
    actor: str | None
    keys: int | None
    reason: str | None = None
    selection: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ForceClosed(EventDetail):
    """`force-close`; where no worker ran the phone, with its status before and after, and `node_runs`: whether a Node
    process ran it."""

    KIND: ClassVar = EventKind.FORCE_CLOSED
    reason: str | None
    actor: str | None
    logout: bool | None
    keys: int | None = None
    status_before: str | None = None
    status: str | None = None
    node_runs: bool | None = None


@dataclass(frozen=True, slots=True)
class StatusReset(EventDetail):
    """`reset-status`; `node_runs`: a Node process ran the phone."""

    KIND: ClassVar = EventKind.STATUS_RESET
    actor: str | None
    reason: str | None
    keys: int | None
    status_before: str | None
    status: str | None
    node_runs: bool | None


@dataclass(frozen=True, slots=True)
class Adopted(EventDetail):
    """`adopt`: the phone moved to our store; `keys` went into quarantine, `mark` is a digest of the keys after it."""

    KIND: ClassVar = EventKind.ADOPTED
    actor: str | None
    reason: str | None
    keys: int | None
    device: str | None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Returned(EventDetail):
    """`return`: the phone moved back to the Node backend's store; `keys` went into quarantine, `pairing` tells one
    pairing from another, `mark` is a digest of the keys after it."""

    KIND: ClassVar = EventKind.RETURNED
    NULLS: ClassVar = frozenset({"pairing"})
    actor: str | None
    reason: str | None
    keys: int | None
    device: str | None
    pairing: str | None
    mark: str | None


@dataclass(frozen=True, slots=True)
class Exported(EventDetail):
    """`export`: the phone left for another machine; `keys` went into quarantine."""

    KIND: ClassVar = EventKind.EXPORTED
    actor: str | None
    reason: str | None
    keys: int | None
    file: str | None
    devices: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Imported(EventDetail):
    """`import`: it came from a file, made at `made_at`; `quarantined` keys made room for its `keys`, `pairing` tells
    one pairing from another, `mark` is a digest of the keys after it."""

    KIND: ClassVar = EventKind.IMPORTED
    NULLS: ClassVar = frozenset({"pairing"})
    actor: str | None
    reason: str | None
    file: str | None
    made_at: str | None
    keys: int | None
    quarantined: int | None
    device: str | None
    connection_type: str | None
    connection_type_before: str | None
    pairing: str | None
    mark: str | None


@dataclass(frozen=True, slots=True)
class Removed(EventDetail):
    """`remove`: the phone's row and `keys` went into quarantine."""

    KIND: ClassVar = EventKind.REMOVED
    actor: str | None
    reason: str | None
    keys: int | None


@dataclass(frozen=True, slots=True)
class Restored(EventDetail):
    """`restore`: keys came back from quarantine."""

    KIND: ClassVar = EventKind.RESTORED
    actor: str | None
    keys: int | None


@dataclass(frozen=True, slots=True)
class RestoredFromFile(EventDetail):
    """`restore --file`: keys came back from a backup, made at `made_at`; `quarantined` keys made room for them."""

    KIND: ClassVar = EventKind.RESTORED_FROM_FILE
    actor: str | None
    file: str | None
    made_at: str | None
    keys: int | None
    quarantined: int | None


@dataclass(frozen=True, slots=True)
class Unlinked(EventDetail):
    """`unlink`: a closed session's device is gone at WhatsApp, or was `already`."""

    KIND: ClassVar = EventKind.UNLINKED
    device: str | None
    actor: str | None
    already: bool | None


@dataclass(frozen=True, slots=True)
class InboxRetried(EventDetail):
    """`inbox retry`: an operator had messages tried again."""

    KIND: ClassVar = EventKind.INBOX_RETRIED
    actor: str | None
    messages: int | None


@dataclass(frozen=True, slots=True)
class InboxDropped(EventDetail):
    """`inbox drop`: an operator deleted messages for good."""

    KIND: ClassVar = EventKind.INBOX_DROPPED
    actor: str | None
    messages: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class MoveAsked(EventDetail):
    """`move`: an operator had another worker run it (`from` null: none ran it); the epoch of the lease tells whether it
    did."""

    KIND: ClassVar = EventKind.MOVE_ASKED
    NULLS: ClassVar = frozenset({"from"})
    actor: str | None
    from_: str | None
    to: str | None


InboxDetail = InboxRetried | InboxDropped
OperatorDetail = (
    Added
    | Assigned
    | Renamed
    | KeysQuarantined
    | ForceClosed
    | StatusReset
    | Adopted
    | Returned
    | Exported
    | Imported
    | Removed
    | Restored
    | RestoredFromFile
    | Unlinked
    | InboxDetail
    | MoveAsked
)
