"""The whole story on one machine: a private database, a WhatsApp server on loopback, a real worker, real faults."""

from wa_sessions.actions.setup.demo.play import Step, run_demo
from wa_sessions.actions.setup.demo.watch import Moment

__all__ = ["Moment", "Step", "run_demo"]
