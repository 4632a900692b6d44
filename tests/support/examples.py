"""On how many examples a law is tried: few in ``make test``, twenty times as many in ``make test-long``."""

from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ExampleT = TypeVar("ExampleT")

SUITE = "suite"
USUAL = 30

settings.register_profile(
    SUITE,
    max_examples=USUAL,
    database=None,
    deadline=None,  # the machine may be busy
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("thorough", settings.get_profile(SUITE), max_examples=20 * USUAL)


def examples(number: int) -> settings:
    """``number`` examples, and as many times more as the chosen profile asks for."""
    assert settings.default is not None
    return settings(max_examples=number * settings.default.max_examples // USUAL)


def shared(strategy: st.SearchStrategy[ExampleT], number: int, size: Callable[[ExampleT], int]) -> list[ExampleT]:
    """Examples for many laws, made once. The smallest stand first, as one of them is shown when a law is broken."""
    made: list[ExampleT] = []

    @settings(examples(number), phases=[Phase.generate])
    @given(strategy)
    def make(example: ExampleT) -> None:
        made.append(example)

    make()
    return sorted(made, key=size)
