"""What can be done to a phone from the view: what the commands ``relink`` and ``force-close`` do."""

from wa_sessions.actions.connection import Opened
from wa_sessions.actions.engine.carry_out import carry_out, plan
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair.repairs import RepairPlan, force_close
from wa_sessions.actions.sessions import relink as relinking
from wa_sessions.cli.changing import RepairView
from wa_sessions.cli.sessions.control import shows_qr
from wa_sessions.keys.phone_ref import PhoneRef

CLOSING = RepairView(force_close())


def plan_close(opened: Opened, phone_id: int) -> RepairPlan:
    """What closing a phone would do. Raises what ``plan`` raises."""
    return plan(opened, CLOSING.change, Scope(PhoneRef(phone_id=phone_id)))


def close(opened: Opened, planned: RepairPlan) -> str:
    """Close a phone; what was done, and how it is undone. Raises what ``carry_out`` raises."""
    return "; ".join(CLOSING.outcome(carry_out(opened, planned), planned))


def relink(opened: Opened, phone_id: int) -> str:
    """Open pairing again; what was done. Raises what ``actions.relink`` raises."""
    return shows_qr(relinking.relink(opened, PhoneRef(phone_id=phone_id)).number)
