"""``adopt --run``: taking a phone over and seeing that the session goes on, or undoing all of it."""

from dataclasses import replace
from typing import Any

from wa_sessions.actions.adopt import adopt
from wa_sessions.actions.connection import Opened
from wa_sessions.actions.give_back import give_back
from wa_sessions.actions.node_process import NodeProcess
from wa_sessions.actions.restore import restore
from wa_sessions.actions.run import RunOptions, run
from wa_sessions.actions.takeover import Moved
from wa_sessions.errors import Conflict, WaSessionsError
from wa_sessions.health.classify import Cause
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import log

_FAILED = {State.REPLACED, State.LOGGED_OUT, State.OUTDATED, State.LOGIN_REFUSED, State.BANNED, State.UNREACHABLE}


class Trial:
    """What becomes of a session that was taken over, up to the first message that decrypts."""

    def __init__(self) -> None:
        self.connected = False
        self.proven = False
        self.failure: str | None = None

    def told(self, phone: str, event: str, fields: dict[str, Any]) -> bool:
        """Take one event of the session; whether the worker is to end, as the trial has failed."""
        if self.proven or self.failure:
            return False
        match event:
            case "connected":
                self.connected = True
            case "decrypted":
                self.proven = True
                log.info("the first message decrypted: the takeover has worked", phone=phone, event="takeover_proven")
            case "undecrypted" if fields.get("cause") == Cause.BAD_MAC:
                self.failure = "the first message did not decrypt"
            case _ if event in _FAILED and not self.connected:
                self.failure = f"it did not connect ({event.replace('_', ' ')})"
        return self.failure is not None


def adopt_and_run(
    opened: Opened,
    phone: PhoneRef,
    organization_id: int | None,
    options: RunOptions,
    *,
    node: NodeProcess | None = None,
    **how: Any,
) -> Moved:
    """Take a phone over and run it until SIGTERM or SIGINT. Returns what was moved.

    If it does not connect, or its first message does not decrypt, it goes back to the Node backend: with its old keys
    while nobody has used them since, else with those of now, converted; then WaSessionsError is raised. Raises what
    ``adopt`` and ``run`` raise.
    """
    moved = adopt(opened, phone, organization_id, node=node, store_url=options.store_url, **how)
    [ours] = moved.phones
    log.info(
        f"taken over as {ours.device}; undo: wa-sessions restore {moved.operation}",
        phone=ours.phone.number,
        event="adopted",
        operation=moved.operation,
    )
    trial, ref = Trial(), PhoneRef(phone_id=ours.phone.id)
    try:
        run(opened, [ref], None, replace(options, on_told=trial.told))
        if not trial.connected and trial.failure is None:
            trial.failure = "it was ended before it had connected"
    except WaSessionsError as error:
        trial.failure = str(error)
    if trial.failure is not None:
        how_back = _undo(opened, moved, ref, node)
        raise WaSessionsError(f"{ours.phone.number} is the Node backend's again ({how_back}): {trial.failure}")
    return moved


def _undo(opened: Opened, moved: Moved, phone: PhoneRef, node: NodeProcess | None) -> str:
    assert moved.operation
    try:
        restore(opened, moved.operation, process_stopped=node is None, node=node)
    except Conflict:
        give_back(opened, phone, node=node, reason="the takeover failed")
        return "its keys as they are now, converted back"
    return "its old keys restored"
