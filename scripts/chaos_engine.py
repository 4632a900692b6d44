"""Machines with a worker each, peers that write without end, and what is done to them meanwhile; then, what was left.

One object is one run. ``run`` lets things happen by a seed, waits until all is well, ends all workers, and judges.
"""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from chaos_afterwards import Afterwards
from chaos_blows import Blows
from chaos_laws import Text
from chaos_scene import Plan, Result, Scene
from chaos_story import FAILOVER, schedule

from wa_sessions.errors import WaSessionsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench_support import Peer
    from machines import Kernel


class Chaos:
    """See the module."""

    def __init__(self, plan: Plan, abilities: Kernel, hear: Callable[[str], None] = lambda _line: None) -> None:
        self.plan = plan
        self.scene = Scene(plan, abilities, hear)
        self.story = self.scene.story
        self._blows, self._afterwards = Blows(self.scene), Afterwards(self.scene)
        self._quiet = threading.Event()

    def __enter__(self) -> Self:
        self.scene.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.scene.__exit__()

    def run(self) -> Result:
        """All of it, to the end."""
        self._afterwards.wait_until_well("in the beginning")
        plan, but = self.plan, () if self.scene.stage.servers else (FAILOVER,)
        happenings = schedule(plan.seed, plan.seconds, plan.machines, plan.every, plan.longest, but=but)
        self.story.tell(f"seed {self.plan.seed}: {len(happenings)} things happen in {self.plan.seconds:g} s")
        writers = [threading.Thread(target=self._write, args=(n, peer)) for n, peer in enumerate(self.scene.everyone)]
        for writer in writers:
            writer.start()
        try:
            began = time.monotonic()
            with ThreadPoolExecutor(len(happenings) or 1) as pool:
                doing = []
                for happening in happenings:
                    while (left := began + happening.at - time.monotonic()) > 0:
                        self.scene.look_after_all(min(left, 0.25))
                    doing.append(pool.submit(self._blows.let_happen, happening))
                while not all(one.done() for one in doing):
                    self.scene.look_after_all(0.25)
            for one in doing:
                one.result()
        finally:
            self._quiet.set()
            for writer in writers:
                writer.join(90)
        self._afterwards.settle()
        self._afterwards.judge()
        self._afterwards.end()
        return self.scene.result

    def _write(self, place: int, peer: Peer) -> None:
        """A peer that writes to all phones in turn, each time the next message of that chat."""
        places = dict.fromkeys(self.scene.numbers, 0)
        pause = self.plan.peers / self.plan.rate
        turns = itertools.islice(itertools.cycle(self.scene.numbers), place, None)
        for number in turns:
            if self._quiet.wait(pause):
                return
            text = str(Text(peer.name, number, places[number]))
            try:
                self.scene.peers.send(peer, number, text)
            except (WaSessionsError, TimeoutError) as error:
                self.story.tell(f"{peer.name} could not send: {error}")
                continue
            places[number] += 1
            self.scene.sent[text] = time.monotonic()
