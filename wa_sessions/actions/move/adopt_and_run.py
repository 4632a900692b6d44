"""``adopt --run``: taking a phone over and seeing that the session goes on, or undoing all of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import all_the_same, carry_out, make
from wa_sessions.actions.engine.plan import Changed, Scope
from wa_sessions.actions.move.adopt import AdoptPlan
from wa_sessions.actions.move.moving import MovedPhone
from wa_sessions.actions.move.return_phone import Return
from wa_sessions.actions.node_process import NodeProcess, ending_raises, undisturbed
from wa_sessions.actions.repair.restore import restore
from wa_sessions.actions.sessions.run import RunOptions, run
from wa_sessions.errors import Conflict, WaSessionsError
from wa_sessions.health.classify import Cause
from wa_sessions.health.reconnect import State
from wa_sessions.keys.phone_ref import PhoneRef
from wa_sessions.worker import log

WAIT: Final = 60.0  # seconds for a session to connect
RESERVED: Final = 60.0  # seconds from the takeover until the trial has the phone
_FAILED: Final = {
    State.REPLACED,
    State.LOGGED_OUT,
    State.OUTDATED,
    State.LOGIN_REFUSED,
    State.BANNED,
}
_ENDED: Final = "it was ended before it had connected"
_TRIES_AGAIN: Final = {State.CRASHED, State.UNREACHABLE, State.WAITING_FOR_STORE}


class Trial:
    """What becomes of a session that was taken over, up to the first message that decrypts.

    It has ``wait`` seconds to connect.
    """

    def __init__(self, wait: float = WAIT) -> None:
        self._wait = wait
        self._last: str | None = None
        self.connected = False
        self.proven = False
        self.failure: str | None = None

    def handle_event(self, phone: str, event: str, fields: Mapping[str, Any]) -> bool:
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
            case "time_over" if not self.connected:
                last = f" ({self._last.replace('_', ' ')})" if self._last else ""
                self.failure = f"it did not connect within {self._wait:g} s{last}"
            case _ if event in _FAILED and not self.connected:
                self.failure = f"it did not connect ({event.replace('_', ' ')})"
            case _ if event in _TRIES_AGAIN:
                self._last = event
            case _:
                pass
        return self.failure is not None


def adopt_and_run(
    opened: Opened, planned: AdoptPlan, options: RunOptions, *, wait: float = WAIT, node: NodeProcess | None = None
) -> Changed[MovedPhone]:
    """Take one phone over, as it was planned, and run it until SIGTERM or SIGINT. Returns what was moved.

    ``Adopt.reserve`` should be ``RESERVED``, or a worker that shares all phones has it first.

    If it does not connect within ``wait`` seconds, or its first message does not decrypt, it goes back to the Node
    backend: with its old keys while nobody has used them since, else with those of now, converted; then WaSessionsError
    is raised. Raises what ``carry_out`` and ``run`` raise.
    """
    moved = carry_out(opened, planned, node=node)
    [ours] = moved.phones
    if moved.down:
        raise all_the_same(moved.down, planned.change.undone_by(str(moved.operation)), 1, 1)
    ref = PhoneRef(phone_id=ours.phone.id)
    try:
        with ending_raises():
            log.info(
                f"taken over as {ours.device}; undo: wa-sessions restore {moved.operation}",
                phone=ours.phone.number,
                event="adopted",
                operation=moved.operation,
            )
            failure = _tried(opened, ref, options, wait)
    except KeyboardInterrupt:
        failure = _ENDED
    if failure is not None:
        raise WaSessionsError(_gone_back(opened, moved, ref, node, failure))
    return moved


def _tried(opened: Opened, ref: PhoneRef, options: RunOptions, wait: float) -> str | None:
    """Run the phone; why it has to go back. What goes wrong once it has connected is raised, and it stays ours."""
    trial = Trial(wait)
    try:
        run(opened, [ref], None, replace(options, wait=False, trial_timeout=wait, on_event=trial.handle_event))
    except KeyboardInterrupt:
        pass
    except WaSessionsError as error:
        if trial.failure is None and trial.connected:
            raise
        return trial.failure or str(error)
    return trial.failure or (None if trial.connected else _ENDED)


def _gone_back(
    opened: Opened, moved: Changed[MovedPhone], ref: PhoneRef, node: NodeProcess | None, failure: str
) -> str:
    """Undo all; what is said of it."""
    number = moved.phones[0].phone.number
    try:
        with undisturbed():
            how_back = _undo(opened, moved, ref, node)
    except WaSessionsError as error:
        return (
            f"{number}: {failure}; AND IT COULD NOT GO BACK, it is still ours: {error}; then wa-sessions restore "
            f"{moved.operation}, or if that says that its session went on, wa-sessions return {number}"
        )
    again = "; start the Node backend again: it takes up its phones when it starts" if node is None else ""
    return f"{number} is the Node backend's again ({how_back}): {failure}{again}"


def _undo(opened: Opened, moved: Changed[MovedPhone], phone: PhoneRef, node: NodeProcess | None) -> str:
    assert moved.operation
    try:
        down = restore(opened, moved.operation, process_stopped=node is None, node=node).down
        how = "its old keys restored"
    except Conflict:
        down = make(opened, Return(reason="the takeover failed"), Scope(phone), node=node).down
        how = "its keys as they are now, converted back"
    return f"{how}; {down}" if down else how
