"""How many phones a second go over to whatsmeow's records and back, from rows to rows.

    .venv/bin/python scripts/bench_takeover.py --rounds 20
    .venv/bin/python scripts/bench_takeover.py --dump /path/to/dump.sql

The phones are those of ``tests/data``, or of a dump with rows in COPY's format as the tests' has them (``.gz`` too).
Nothing is stored: a row comes as the database gives it and ends as the database would take it. A second is one of one
core (CPU time), so that it makes no difference what else the machine does.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from bench_support import machine
from support import corpus

from wa_sessions.keys.baileys.rows import BaileysPhone, Row
from wa_sessions.keys.conversion.refusals import refusals, refusals_to_return
from wa_sessions.keys.conversion.to_baileys import to_baileys
from wa_sessions.keys.conversion.to_whatsmeow import to_whatsmeow
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

STEPS = (
    "there: rows read",
    "there: judged",
    "there: converted",
    "there: rows made",
    "back: rows read",
    "back: judged",
    "back: rows from before read",
    "back: converted",
    "back: rows made",
)
FRESH = bytes(range(32))


def there_and_back(rows: list[Row]) -> list[float]:
    """Seconds of each step for one phone; none where the phone was never paired."""
    moments = [time.process_time()]

    def done() -> None:
        moments.append(time.process_time())

    phone = BaileysPhone.of_rows(rows)
    done()
    if refusals(phone):
        return []
    done()
    over = to_whatsmeow(phone, fresh_pre_key=FRESH).phone
    done()
    tables = over.rows()
    done()
    device = WhatsmeowPhone.of_rows(tables)
    done()
    if refusals_to_return(device):
        raise SystemExit("a phone that went there may not come back")
    done()
    before = BaileysPhone.of_rows(rows)
    done()
    returned = to_baileys(device, major=before.major, before=before, pairing_key=FRESH, now=0).phone
    done()
    returned.rows()
    done()
    return [after - before for before, after in pairwise(moments)]


def as_stored(rows: list[Row], shape: str) -> list[Row]:
    """In the older shape of the table a value is bytes."""
    if shape != "BaileysAuth-old":
        return rows
    return [Row(row.key, row.value.encode() if isinstance(row.value, str) else row.value, row.type) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dump", type=Path, default=corpus.FILE)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    phones = [rows for rows in corpus.rows(options.dump).values() if there_and_back(rows)]
    keys = sum(map(len, phones))
    print(f"{machine()}; {options.dump.name}: {len(phones)} paired phones, {keys} keys; {options.rounds} rounds\n")
    print("| table | there | back | there and back |\n| --- | ---: | ---: | ---: |")
    steps: list[list[float]] = []
    for shape in corpus.SHAPES:
        stored = [as_stored(rows, shape) for rows in phones]
        found = [[there_and_back(rows) for rows in stored] for _ in range(options.rounds)]
        means = [[sum(step) / len(phones) for step in zip(*one, strict=True)] for one in found]
        steps += means
        there, back = median(sum(one[:4]) for one in means), median(sum(one[4:]) for one in means)
        both = median(sum(one) for one in means)
        print(f"| `{shape}` | {1 / there:.0f} | {1 / back:.0f} | {1 / both:.0f} |")
    print("\n| step | ms a phone |\n| --- | ---: |")
    for name, seconds in zip(STEPS, zip(*steps, strict=True), strict=True):
        print(f"| {name} | {median(seconds) * 1000:.1f} |")


if __name__ == "__main__":
    main()
