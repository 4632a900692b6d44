"""What can be done to a phone from the view: what the commands ``relink`` and ``force-close`` do."""

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine import changes
from wa_sessions.actions.engine.changes import Plan
from wa_sessions.actions.repair import force_close
from wa_sessions.actions.sessions import relink as relinking
from wa_sessions.cli.repair.changing import outcome
from wa_sessions.cli.sessions.control import shows_qr
from wa_sessions.keys.phone_ref import PhoneRef


def plan_close(opened: Opened, phone_id: int) -> Plan:
    """What closing a phone would do. Raises what ``changes.plan`` raises."""
    return changes.plan(opened, force_close.change(), PhoneRef(phone_id=phone_id))


def close(opened: Opened, planned: Plan) -> str:
    """Close a phone; what was done, and how it is undone. Raises what ``changes.carry_out`` raises."""
    return "; ".join(outcome(changes.carry_out(opened, planned), planned.change, planned))


def relink(opened: Opened, phone_id: int) -> str:
    """Open pairing again; what was done. Raises what ``actions.relink`` raises."""
    return shows_qr(relinking.relink(opened, PhoneRef(phone_id=phone_id)).number)
