"""How long to wait before the next attempt: exponential, with jitter."""

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random


class Backoff:
    """Pauses that grow from ``first`` to ``most`` seconds until ``reset``."""

    def __init__(self, first: float = 1.0, most: float = 60.0) -> None:
        self._wait = wait_exponential(multiplier=first, max=most) + wait_random(0, first)
        self._state = _beginning()

    def reset(self) -> None:
        """Begin again with the first pause. Costs nothing where nothing was waited for."""
        if self._state.attempt_number > 1:
            self._state = _beginning()

    def next(self) -> float:
        """Seconds to wait now."""
        seconds = float(self._wait(self._state))
        self._state.prepare_for_next_attempt()
        return seconds


def _beginning() -> RetryCallState:
    return RetryCallState(Retrying(), None, (), {})
