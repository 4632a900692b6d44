"""The scenes of the demo, in order; each shows one promise being kept."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tenacity import Retrying, stop_after_delay, wait_fixed

from wa_sessions import config
from wa_sessions.actions.connection import Opened, open_target
from wa_sessions.actions.engine.carry_out import make
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair import repairs
from wa_sessions.actions.sessions.add import add_phone
from wa_sessions.actions.sessions.send import send_text
from wa_sessions.actions.setup.demo.handler import ORDER
from wa_sessions.actions.setup.demo.watch import Moment, WatchedWorker
from wa_sessions.actions.watch.stats import session_stats
from wa_sessions.config.reading import FILE_VARIABLE, PROFILE_VARIABLE
from wa_sessions.config.table import DATABASE_URL
from wa_sessions.db import phones, whatsmeow
from wa_sessions.db.embedded import EmbeddedServer
from wa_sessions.db.settings import embedded_target
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from wa_sessions.emulator import Device, Emulator, Phone

ALICE, BOB = "77051234567", "77057654321"
ORDERS = 6
PATIENCE = 60.0  # seconds for anything to happen, on a machine that is busy


@dataclass(frozen=True, slots=True)
class Step:
    """One scene: whether it happened, and how long it took. ``error`` says what did not happen."""

    name: str
    ok: bool
    seconds: float
    error: str | None = None


class _Play:
    """The stage: the emulator, the worker, and the second terminal's view of both."""

    def __init__(
        self,
        emulator: "Emulator",
        opened: Opened,
        start: Callable[[], WatchedWorker],
        tell: Callable[[str], None],
    ) -> None:
        self.emulator = emulator
        self.opened = opened
        self.start = start
        self.tell = tell
        self.worker = start()
        self.phones: dict[str, Phone] = {
            ALICE: emulator.add_phone(ALICE, "Alice"),
            BOB: emulator.add_phone(BOB, "Bob"),
        }
        self.devices: dict[str, Device] = {}
        self._place = 0

    def go_on_with(self, worker: WatchedWorker) -> None:
        """Another worker's log, from its beginning."""
        self.worker = worker
        self._place = 0

    def expect(self, event: str, phone: str, containing: str = "") -> Moment:
        """What comes next in the worker's log."""
        return self.worker.expect(event, phone, PATIENCE, after=self._place, containing=containing)

    def from_here(self) -> None:
        """Expect only what comes after now."""
        self._place = self.worker.mark()

    def scan_next_code(self, number: str) -> None:
        """Hold the phone before the QR that the worker shows."""
        self.expect("qr", number)
        with self.opened.database.transaction() as conn:
            code = phones.find(conn, self.opened.backend, PhoneRef(number)).qr_code
        if code is None:
            raise WaSessionsError(f'"OrganizationPhone"."qrCode" of {number} is empty')
        self.devices[number] = self.emulator.scan(code, self.phones[number])

    def send(self, sender: str, to: str, text: str) -> None:
        """What ``wa-sessions send`` does in a second terminal."""
        send_text(self.opened, PhoneRef(sender), None, to, text)

    def exchange(self, sender: str, to: str, text: str) -> None:
        """Send a text and see it in the other's message handler."""
        self.from_here()
        self.send(sender, to, text)
        self.expect("output", to, text)

    def await_synced(self, collection: str) -> None:
        """Until the store has a version of an app-state collection of Alice's."""
        device = str(self.devices[ALICE].jid)
        for attempt in Retrying(stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), reraise=True):
            with attempt, self.opened.database.transaction() as conn:
                if collection not in whatsmeow.app_state_versions(conn, device):
                    raise WaSessionsError(f"{collection} did not sync")

    def check(self, number: str, **expected: object) -> None:
        """Look at ``wa-sessions stats``."""
        stats = session_stats(self.opened, PhoneRef(number), None).as_dict()
        wrong = {key: stats[key] for key, value in expected.items() if stats[key] != value}
        if wrong:
            raise WaSessionsError(f"stats of {number}: expected {expected}, found {wrong}")


def _pair(play: _Play) -> None:
    for number in (ALICE, BOB):
        play.scan_next_code(number)
    for number in (ALICE, BOB):
        play.expect("connected", number)
    play.check(ALICE, status="connected", severity="ok")


def _talk(play: _Play) -> None:
    play.exchange(BOB, ALICE, "hello")
    play.exchange(ALICE, BOB, "hello to you")
    play.exchange(BOB, ALICE, "how are you")


def _recover(play: _Play) -> None:
    play.from_here()
    play.emulator.damage_messages(to=play.phones[ALICE], sender=play.phones[BOB], count=1, first_copies=True)
    play.send(BOB, ALICE, "damaged on its way, once")
    play.expect("message_pending", ALICE)
    play.expect("message_recovered", ALICE)
    play.check(ALICE, bad_mac_errors=0, messages_recovered=1)


def _repair_session(play: _Play) -> None:
    play.from_here()
    fault = play.emulator.damage_messages(to=play.phones[ALICE], sender=play.phones[BOB], count=None)
    play.send(BOB, ALICE, "damaged in every copy")
    play.expect("error_counted", ALICE)
    play.expect("session_quarantined", ALICE)
    play.expect("message_lost", ALICE)
    fault.heal()
    play.check(ALICE, bad_mac_errors=1, severity="warning", status="connected")
    play.exchange(BOB, ALICE, "whole again")
    play.expect("counter_reset", ALICE)


def _repair_app_state(play: _Play) -> None:
    from wa_sessions.emulator import AppStateDamage

    alice, device = play.phones[ALICE], play.devices[ALICE]
    play.emulator.share_app_state_key(device)
    play.exchange(BOB, ALICE, "comes after the app-state key")
    play.emulator.mute(alice, BOB)
    play.emulator.notify_app_state(device, "regular_high")
    play.await_synced("regular_high")
    play.from_here()
    play.emulator.damage_app_state(alice, "regular_high", AppStateDamage.CONTENT_MAC)
    play.emulator.mute(alice, "77050000000")
    play.emulator.notify_app_state(device, "regular_high")
    play.expect("collection_quarantined", ALICE)
    play.emulator.heal()
    play.emulator.notify_app_state(device, "regular_high")
    play.expect("counter_reset", ALICE)
    play.check(ALICE, bad_decrypt_errors=0, status="connected")


def _close_at_limit(play: _Play) -> None:
    play.from_here()
    play.emulator.damage_messages(to=play.phones[ALICE], sender=play.phones[BOB], count=None)
    for number in range(3):
        play.from_here()
        play.send(BOB, ALICE, f"lost {number + 1}")
        play.expect("error_counted", ALICE)
    play.expect("session_closed", ALICE)


def _new_code(play: _Play) -> None:
    play.expect("qr", ALICE)
    play.emulator.heal()
    play.check(ALICE, status="pending", bad_mac_errors=0)


def _pair_again(play: _Play) -> None:
    play.scan_next_code(ALICE)
    play.expect("connected", ALICE)
    play.exchange(BOB, ALICE, "welcome back")


def _deploy(play: _Play) -> None:
    """Messages that come at once, and SIGTERM when the first of them is handled."""
    orders, alice = [f"{ORDER} {n + 1}" for n in range(ORDERS)], play.phones[ALICE]
    play.emulator.withhold(alice)
    for order in orders:
        play.send(BOB, ALICE, order)
    play.from_here()
    play.emulator.hear(alice)
    play.expect("output", ALICE, orders[0])
    before, began = play.worker, time.monotonic()
    if status := before.stop():
        raise WaSessionsError(f"the worker ended with {status}")
    play.go_on_with(play.start())
    play.expect("connected", ALICE)
    play.expect("connected", BOB)
    seconds = time.monotonic() - began
    play.expect("output", ALICE, orders[-1])
    old, new = (_mentioned(orders, worker.texts(ALICE)) for worker in (before, play.worker))
    if old | new != set(orders):
        raise WaSessionsError(f"only {', '.join(sorted(old | new))} were handled")
    play.tell(
        f"{ORDERS} of {ORDERS} orders are handled, {len(old)} by the old worker; both phones are connected again "
        f"{seconds:.1f} s after SIGTERM"
    )


def _mentioned(words: Sequence[str], texts: Sequence[str]) -> set[str]:
    return {word for word in words if any(word in text for text in texts)}


def _take_over(play: _Play) -> None:
    """A second worker that stands by, and SIGKILL for the first."""
    second = play.start()
    second.expect("standing_by", None, PATIENCE)
    began = time.monotonic()
    play.worker.kill()
    play.go_on_with(second)
    play.expect("connected", ALICE)
    play.expect("connected", BOB)
    play.tell(
        f"the second worker has both phones connected {time.monotonic() - began:.1f} s after SIGKILL of the first"
    )
    play.exchange(BOB, ALICE, "still there?")


def _force_close(play: _Play) -> None:
    play.from_here()
    make(play.opened, repairs.force_close(reason="end of the demo"), Scope(PhoneRef(ALICE)))
    play.emulator.wait_disconnected(play.devices[ALICE], PATIENCE)
    play.check(ALICE, status="disconnected", state="force_closed")
    play.check(BOB, status="connected", bad_mac_errors=0)


def _stop(play: _Play) -> None:
    if status := play.worker.stop():
        raise WaSessionsError(f"the worker ended with {status}")


SCENES: tuple[tuple[str, Callable[[_Play], None]], ...] = (
    ("two phones pair by QR", _pair),
    ("they talk", _talk),
    ("a damaged message is recovered", _recover),
    ("a peer's session is repaired", _repair_session),
    ("app state is repaired", _repair_app_state),
    ("three lost messages close the session", _close_at_limit),
    ("a new QR comes by itself", _new_code),
    ("it pairs again", _pair_again),
    ("a deploy loses no message", _deploy),
    ("another worker takes over", _take_over),
    ("force-close works", _force_close),
    ("the worker stops gracefully", _stop),
)


def run_demo(on_scene: Callable[[str], None], on_moment: Callable[[Moment], None]) -> list[Step]:
    """Play all scenes until one fails. ``on_scene`` gets each one's name as it begins, ``on_moment`` the worker's log.

    Raises WaSessionsError if the stage cannot be set up.
    """
    steps: list[Step] = []
    with ExitStack() as stage:
        play = stage.enter_context(_staged(on_moment))
        from wa_sessions.emulator import EmulatorError

        for name, scene in SCENES:
            on_scene(name)
            started = time.monotonic()
            error = None
            try:
                scene(play)
            except (WaSessionsError, EmulatorError, TimeoutError) as failure:
                error = str(failure)
            steps.append(Step(name, error is None, round(time.monotonic() - started, 2), error))
            if error:
                break
    return steps


@contextmanager
def _staged(on_moment: Callable[[Moment], None]) -> Iterator[_Play]:
    try:
        from wa_sessions.emulator import Emulator, EmulatorError
    except ImportError as error:
        raise WaSessionsError(f"the demo needs more packages ({error.name}): pip install 'wa-sessions[all]'") from None
    began = time.monotonic()
    with ExitStack() as stage:
        try:
            emulator = stage.enter_context(Emulator())
        except EmulatorError as error:
            raise WaSessionsError(str(error)) from None
        folder = Path(tempfile.mkdtemp(prefix="wa-sessions-demo-"))
        stage.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        server = EmbeddedServer(folder / "data")
        stage.callback(server.stop)
        target = embedded_target(server)
        opened = stage.enter_context(open_target(target))
        for number, name in ((ALICE, "Alice"), (BOB, "Bob")):
            add_phone(opened, number, 1, name)
        nothing_of_files = {FILE_VARIABLE: os.devnull, PROFILE_VARIABLE: ""}
        ours = nothing_of_files | {DATABASE_URL.variable: target.conninfo}
        environment = {**config.environment(), **emulator.client_env(), **ours}

        def start() -> WatchedWorker:
            worker = WatchedWorker(environment, began, on_moment)
            stage.callback(worker.stop)
            return worker

        def tell(text: str) -> None:
            on_moment(Moment(time.monotonic() - began, None, "told", text, {}))

        yield _Play(emulator, opened, start, tell)
