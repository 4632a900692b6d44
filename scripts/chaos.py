"""Workers on three machines, and everything that goes wrong, by a seed: is anything lost, doubled, or left behind?

    .venv/bin/python scripts/chaos.py --minutes 20 --sessions 60 --seed 1

A private embedded database with a standby that commits wait for, the emulator, real neonize clients that write without
end, and a worker on each of three machines (namespaces, see ``machines.py``). What has to be so afterwards stands in
``chaos_laws.py``. Exit status 1 if something is not, 2 where this machine has no namespaces.
"""

from __future__ import annotations

import argparse
import sys

from bench_support import machine
from chaos_engine import Chaos
from chaos_scene import Plan
from machines import kernel


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=3.0, help="seconds from one thing to the next, on average")
    parser.add_argument("--rate", type=float, default=8.0, help="messages a second")
    parser.add_argument("--named", action="store_true", help="each worker is given its phones by name")
    options = parser.parse_args()
    abilities = kernel()
    if abilities.why_not:
        print(abilities.why_not, file=sys.stderr)
        return 2
    minutes, shared = options.minutes, not options.named
    plan = Plan(options.seed, options.sessions, minutes * 60, options.every, rate=options.rate, shared=shared)

    def hear(line: str) -> None:
        print(line, flush=True)

    with Chaos(plan, abilities, hear) as chaos:
        result = chaos.run()
    print(f"\n{machine()}; {plan}\n")
    print("| what was done | times |\n| --- | ---: |")
    for kind, count in sorted(result.happened.items()):
        print(f"| {kind} | {count} |")
    print(
        f"\nsent {result.sent}, stood in the inbox {result.accepted}, handled {result.handled}, again {result.twice}, "
        f"after later ones {result.late}, lost between WhatsApp's acknowledgement and the inbox "
        f"{result.lost_before_inbox}; {result.logins} logins, {result.quarantined} keys in quarantine; all connected "
        f"{result.all_well_after:.1f} s after the last thing"
    )
    print(f"violations: {len(result.violations)}")
    for one in result.violations:
        print(f"- {one}")
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
