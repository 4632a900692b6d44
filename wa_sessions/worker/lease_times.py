"""The times of ownership, all derived from one: how long a worker may be silent until another has its sessions."""

from dataclasses import dataclass

from wa_sessions.db.leases import FREE_AFTER
from wa_sessions.health.workers import HOSTS_END

DEFAULT_LEASE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Everything in seconds, counted from when the last renewal that was answered had been asked for.

    A host ends itself at ``host_deadline``, and the kernel ends it a twentieth of the lease later; both before
    ``lapse``, from which on another worker may take a phone whose lock is free. One whose lock is held, by a connection
    that leads nowhere, may be taken after the whole ``lease``.
    """

    lease: float = DEFAULT_LEASE

    @property
    def renew_every(self) -> float:
        """How often a lease is renewed: three renewals may be lost."""
        return self.lease / 5

    @property
    def answer_within(self) -> float:
        """How long the database may take for an answer until all sockets close."""
        return self.lease / 5

    @property
    def host_deadline(self) -> float:
        """When a host ends itself."""
        return self.lease * HOSTS_END

    @property
    def lapse(self) -> float:
        """When a lease cannot be counted on any more."""
        return self.lease * FREE_AFTER
