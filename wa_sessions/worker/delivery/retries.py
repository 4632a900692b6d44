"""PURE: how often a message is handed over, and after which pauses."""

from dataclasses import dataclass

from tenacity import RetryCallState, Retrying, wait_exponential

PAUSE_FIRST, PAUSE_BASE, PAUSE_MOST = 1.0, 4.0, 300.0
"""Seconds until a message is tried again; how many times longer each next pause is; the most."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What becomes of messages that a handler fails at: so many ``attempts`` are made, the first pause in seconds.

    ``hold``: the chat of one that is set aside waits until somebody decides; else it goes on.
    """

    attempts: int = 5
    first_pause: float = PAUSE_FIRST
    hold: bool = False

    def pause(self, failures: int) -> float:
        """Seconds until the next attempt after so many failures in a row."""
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = failures
        return float(wait_exponential(multiplier=self.first_pause, exp_base=PAUSE_BASE, max=PAUSE_MOST)(state))
