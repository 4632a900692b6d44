"""Logs as operators have them (``tests/data/logs/cases``): every prefix, dress and reason, and what each must give."""

from datetime import datetime

import pytest
from support import log_cases

CASES = log_cases.cases()


@pytest.mark.parametrize("case", CASES)
def test_each_log_gives_what_it_holds(case: str) -> None:
    assert log_cases.summary(log_cases.told(log_cases.FOLDER / case)) in CASES[case]


LOCAL = datetime(2026, 11, 20, 18, 47, 1).astimezone()
UTC = "2026-11-20T18:47:01.343Z"
TIMES: dict[str, datetime | str | None] = {
    **dict.fromkeys(("pm2/bracket", "pm2/iso_z", "pm2/unix_ms", "prefix/rfc5424", "prefix/journald_json"), UTC),
    **dict.fromkeys(
        ("prefix/railway_json", "prefix/cri", "prefix/heroku", "prefix/cloudwatch_csv", "prefix/none"), UTC
    ),
    **dict.fromkeys(("pm2/iso_tz",), "2026-11-20T13:47:01.000Z"),
    **dict.fromkeys(("pm2/ymd_tz_min",), "2026-11-20T13:47:00.000Z"),
    **dict.fromkeys(("pm2/tz_name", "prefix/fly", "prefix/journald_iso"), "2026-11-20T18:47:01.000Z"),
    "pm2/hms": None,
    "pm2/ns": None,
}
TIMES |= {
    f"pm2/{name}": LOCAL
    for name in ("ddd", "dmy_dash", "err_raw", "mdy_slash", "ts_opt", "ymd_ampm", "ymd_comma", "ymd_slash", "ymd_ms")
}


@pytest.mark.parametrize("case", TIMES)
def test_when_it_was_written(case: str) -> None:
    """As the prefix says, which goes by this machine's clock where it has no zone; else as pino says."""
    [phone] = log_cases.told(log_cases.FOLDER / f"{case}.log")["phones"]
    first, wanted = phone["bad_mac"]["first_at"], TIMES[case]
    if isinstance(wanted, datetime):
        first, wanted = datetime.fromisoformat(first).replace(microsecond=0), wanted
    assert first == wanted
