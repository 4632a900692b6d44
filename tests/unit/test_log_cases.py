"""Logs as operators have them (``tests/data/logs/cases``): every prefix, dress and reason, and what each must give."""

import pytest
from support import log_cases

CASES = log_cases.cases()


@pytest.mark.parametrize("case", CASES)
def test_each_log_gives_what_it_holds(case: str) -> None:
    assert log_cases.summary(log_cases.told(log_cases.FOLDER / case)) in CASES[case]
