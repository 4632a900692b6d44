"""300 messages through a webhook that answers 500, is slow, hangs, or is not there: each is taken, in order."""

from collections import defaultdict
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from support.client_process import ClientProcess
from support.installation import Installation
from support.pairing import link
from support.receivers import Receiver, Request, http
from support.waiting import PATIENCE

ALICE = "77051234567"
SENDERS = ("bob", "carol", "dave")
EACH = 100
PATIENT = ("--handlers", "3", "--handler-timeout", "2s", "--handler-pause", "1s", "--handler-attempts", "40")


class Webhook:
    """A receiver that comes and goes, always at the same port."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._serving = ExitStack()
        self._gone: list[Receiver] = []
        self.receiver = self._serving.enter_context(http())

    def away(self) -> None:
        """Nobody listens."""
        self._serving.close()

    def back(self) -> None:
        self._gone.append(self.receiver)
        self.receiver = self._serving.enter_context(http(self.receiver.port))

    def misbehave(self, requests: int) -> None:
        """Of so many requests half get 500 or 503, some come late, and a few after the worker has lost patience."""
        ill = [(0.0, 500), (0.0, 503), (0.0, 500), (0.3, 200), (0.3, 500), (0.0, 200), (0.0, 200), (2.5, 200)]
        weights = [3, 1, 1, 3, 1, 12, 8, 1]
        self.receiver.answers += self._random.choices(ill, weights, k=requests)

    def taken(self) -> list[Request]:
        return [request for receiver in (*self._gone, self.receiver) for request in receiver.taken()]

    def close(self) -> None:
        self._serving.close()


@pytest.mark.timeout(180)
def test_300_of_300_through_a_webhook_that_is_down_slow_and_broken(
    installation: Installation, peers: ClientProcess, tmp_path: Path
) -> None:
    webhook = Webhook(Random(7))
    try:
        installation.add(ALICE)
        given = ("--on-message-url", webhook.receiver.url, *PATIENT)
        worker = installation.run(ALICE, *given, handler=False, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
        installation.scan(worker, ALICE)
        worker.expect("connected", ALICE)
        senders = [link(installation.emu, peers, name) for name in SENDERS]
        sent = []
        for number in range(EACH):
            for sender in senders:
                sent.append(f"{sender.name} {number}")
                sender.send_to(ALICE, sent[-1])
            if number in (5, 70):
                webhook.misbehave(60)
            if number == 30:
                webhook.away()
            if number == 60:
                webhook.back()
        installation.until("SELECT 1 WHERE NOT EXISTS (SELECT FROM wa_sessions.inbox)", timeout=120)
        taken = webhook.taken()
        assert {request.json["text"] for request in taken} >= set(sent)
        assert not installation.sql("SELECT 1 FROM wa_sessions.event WHERE kind = 'handler_dead'")
        assert installation.stats(ALICE)["inbox_dead"] == 0
        in_order(taken)
        assert worker.stop(PATIENCE) == 0
    finally:
        webhook.close()


def in_order(taken: list[Request]) -> None:
    """Each chat's messages came in order; one that comes again has the same key, and no other has it."""
    keys: dict[str, set[str]] = defaultdict(set)
    firsts: dict[str, list[int]] = defaultdict(list)
    for request in taken:
        name, _, number = request.json["text"].partition(" ")
        if request.json["text"] not in keys:
            firsts[name].append(int(number))
        keys[request.json["text"]].add(request.key)
    assert set(firsts) == set(SENDERS)
    for numbers in firsts.values():
        assert all(one < other for one, other in pairwise(numbers)), numbers
    assert all(len(its) == 1 for its in keys.values())
    assert len(set().union(*keys.values())) == len(keys)
