"""When nothing more is done to anybody: wait until all is well, judge what was seen, end all, and see what is left."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import chaos_laws as laws
from chaos_computer import command_line

from wa_sessions.actions.sessions.restart import restart
from wa_sessions.emulator import overlapping
from wa_sessions.errors import WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos_scene import Scene

ALL_WELL = 120.0  # seconds until every phone has to be connected, once nothing more is done to anybody
ALL_DONE = 180.0  # seconds until every message has to be handled
NOTHING_CAME = 15.0  # seconds without any message that comes into the inbox, after which the rest counts as lost
FAULTS = ("fault", "faulted", "service_failed", "unknown_frame", "internal_error", "events_dropped")
TRACEBACK = "Traceback (most recent call last)"
STANDING = """
    SELECT 'a lease of phone #' || phone_id AS left_over FROM wa_sessions.lease WHERE expires_at > clock_timestamp()
    UNION ALL SELECT 'the row of a worker on ' || host FROM wa_sessions.worker
    WHERE heartbeat_at > clock_timestamp() - interval '5 seconds'
    UNION ALL SELECT 'the lock of phone #' || objid::text FROM pg_locks WHERE locktype = 'advisory'
"""
CONNECTED = """
    SELECT 'a connection, ' || state || ': ' || left(query, 60) AS left_over FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND application_name <> 'chaos'
      AND NOT starts_with(application_name, 'wa-sessions')
"""
KNOWN = """
    SELECT split_part(split_part("phoneJid", ':', 1), '@', 1) AS number, health.state,
           worker.host || ' ' || worker.pid AS host
    FROM public."OrganizationPhone" AS phone LEFT JOIN wa_sessions.health ON health.phone_id = phone.id
    LEFT JOIN wa_sessions.lease ON lease.phone_id = phone.id AND lease.expires_at > clock_timestamp()
    LEFT JOIN wa_sessions.worker ON worker.id = lease.worker_id
"""
UNDONE = """
    SELECT quarantine.operation_id, quarantine.seq FROM wa_sessions.quarantine
    LEFT JOIN wa_sessions.operation ON operation.id = quarantine.operation_id WHERE operation.id IS NULL
"""


class Afterwards:
    """See the module."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._seen = laws.Seen()

    def settle(self) -> None:
        """Wait until all phones are connected, and all messages handled."""
        self._scene.story.tell("nothing more happens")
        for computer in self._scene.computers:
            computer.signal(signal.SIGCONT)
        began = time.monotonic()
        self.wait_until_well("in the end")
        self._scene.result.all_well_after = time.monotonic() - began
        self._scene.story.tell(f"all phones are connected {self._scene.result.all_well_after:.1f} s later")
        self._wait(
            ALL_DONE,
            "delivered",
            lambda: [n for n in self._scene.numbers if self._scene.stage.emulator.queued(self._scene.stage.devices[n])],
        )
        self._wait_for_what_is_on_its_way()
        self._wait(ALL_DONE, "handled", lambda: self._look().unhandled())

    def _look(self) -> laws.Seen:
        """What stood in the inbox first, then what handlers noted: what comes in between is no loss."""
        dead = "SELECT text FROM wa_sessions.inbox WHERE dead_at IS NOT NULL"
        accepted = self._scene.accepted()
        set_aside = [row["text"] for row in self._scene.rows(dead)]
        self._seen = laws.Seen(accepted, laws.notes(self._scene.notes.read_text().splitlines()), set_aside)
        return self._seen

    def _wait(self, seconds: float, what: str, left: Callable[[], list[Any]]) -> None:
        deadline = time.monotonic() + seconds
        while (rest := left()) and time.monotonic() < deadline:
            self._scene.look_after_all(0.1)
        if rest:
            self._scene.violated(f"not {what} within {seconds:g} s: {len(rest)}, {rest[:5]}")

    def _wait_for_what_is_on_its_way(self) -> None:
        """WhatsApp is told that a message is delivered before the inbox has it, on a busy machine long before."""
        missing, came_at = {*self._scene.sent} - {*self._scene.accepted()}, time.monotonic()
        self._scene.story.tell(f"{len(missing)} messages are acknowledged, and not in the inbox")
        while missing and time.monotonic() - came_at < NOTHING_CAME:
            self._scene.look_after_all(0.5)
            if (left := missing - {*self._scene.accepted()}) != missing:
                missing, came_at = left, time.monotonic()
        self._scene.story.tell(f"{len(missing)} of them did not come there")

    def wait_until_well(self, when: str) -> None:
        """Until every phone is connected, all at the same time; an operator restarts those that were replaced."""
        deadline, asked = time.monotonic() + ALL_WELL, 0.0
        while away := [
            n for n in self._scene.numbers if not self._scene.stage.emulator.connected(self._scene.stage.devices[n])
        ]:
            if time.monotonic() > deadline:
                self._scene.violated(f"not connected {when}, within {ALL_WELL:g} s: {', '.join(away)}")
                return
            self._scene.look_after_all(0.1)
            if time.monotonic() - asked > 3:
                asked = time.monotonic()
                self._scene.story.tell(f"not connected yet: {', '.join(self._states(away))}")
                self._restart_replaced()

    def _states(self, numbers: list[str]) -> list[str]:
        """What is known of phones: state, and which worker has them."""
        rows = {row["number"]: row for row in self._scene.rows(KNOWN)}
        return [f"{number} ({rows[number]['state']}, {rows[number]['host']})" for number in numbers if number in rows]

    def _restart_replaced(self) -> None:
        for row in self._scene.rows(KNOWN):
            number = row["number"]
            if row["state"] != "replaced":
                continue
            try:
                restart(self._scene.stage.opened, PhoneRef(number))
                self._scene.story.tell(f"an operator restarted {number}")
            except (WaSessionsError, TimeoutError) as error:
                self._scene.story.tell(f"{number} was not restarted: {error}")

    def judge(self) -> None:
        """Compare all that was written down with the laws."""
        result, logins = self._scene.result, self._scene.stage.emulator.logins
        noted, accepted = self._seen.noted, self._scene.accepted()
        result.sent, result.accepted, result.logins = len(self._scene.sent), len({*accepted}), len(logins)
        result.handled = len({note.text for note in noted if note.what == "done"})
        result.twice, sent_again = laws.twice(noted), self._sent_again()
        result.late = laws.late(noted, sent_again)
        result.lost_before_inbox = len({*self._scene.sent} - {*accepted})
        result.quarantined = int(self._scene.rows("SELECT count(*) AS n FROM wa_sessions.quarantine")[0]["n"])
        self._scene.violated(
            *laws.two_sockets(overlapping(logins)),
            *(f"{text} {how} {self._past_of(text, noted)}" for text, how in self._seen.unhandled()),
            *laws.taken_back(self._scene.stood, noted, accepted),
            *laws.never_accepted(self._scene.sent, accepted, self._scene.blows),
            *laws.handled_twice(noted, self._scene.blows),
            *laws.out_of_order(noted, accepted, sent_again, self._scene.blows),
            *(f"a quarantined key has no operation: {row}" for row in self._scene.rows(UNDONE)),
        )
        replaced = self._scene.rows("SELECT count(*) AS n FROM wa_sessions.event WHERE kind = 'replaced'")[0]["n"]
        if replaced > self._scene.replaced:
            self._scene.violated(f"{replaced} sessions were replaced, {self._scene.replaced} by WhatsApp")
        for computer in self._scene.computers:
            for worker in computer.workers:
                found = {kind: worker.counts[kind] for kind in FAULTS if worker.counts[kind]}
                told = [line for line in worker.lines.recent if any(f'"{kind}"' in line for kind in found)]
                if found:
                    self._scene.violated(f"a worker on {computer.name} told of {found}: {told[-2:]}")
                if any(line.startswith(TRACEBACK) for line in worker.lines.recent):
                    self._scene.violated(f"a worker on {computer.name} failed: {list(worker.lines.recent)[-5:]}")

    def _past_of(self, text: str, noted: Sequence[laws.Note]) -> str:
        """What is known of a message: where a handler had it, when it was deleted."""
        had = [f"{note.what} on {note.machine} at {note.at:.2f}" for note in noted if note.text == text]
        query = "SELECT extract(epoch FROM clock_timestamp() - at)::float8 AS ago FROM public.deleted WHERE text = "
        gone = [f"deleted at {time.monotonic() - row['ago']:.2f}" for row in self._scene.rows(f"{query}'{text}'")]
        return (
            f"({', '.join([*had, *gone]) or 'nothing is known of it'}; sent at {self._scene.sent.get(text, 0.0):.2f})"
        )

    def _sent_again(self) -> set[str]:
        """The messages of which a phone has asked for another copy."""
        devices = [self._scene.stage.devices[number] for number in self._scene.numbers]
        return {asked for device in devices for asked, _ in self._scene.stage.emulator.retry_receipts(device)}

    def end(self) -> None:
        """SIGTERM for all, at once; then nothing may be left."""
        self._scene.story.tell("SIGTERM for all")
        with ThreadPoolExecutor(len(self._scene.computers)) as pool:
            for _ in pool.map(self._scene.terminate, self._scene.computers):
                pass
        self._wait_for_none(lambda: [row["left_over"] for row in self._scene.rows(STANDING)])
        self._wait_for_none(
            lambda: [
                f"{c.name}: {command_line(pid)[:80]}" for c in self._scene.computers for pid in c.machine.processes()
            ]
        )
        for computer in self._scene.computers:
            computer.machine.database.sever()  # what was swallowed, whose end no server hears of
        self._wait_for_none(lambda: [row["left_over"] for row in self._scene.rows_of_all(CONNECTED)])

    def _wait_for_none(self, left: Callable[[], list[str]]) -> None:
        deadline = time.monotonic() + 10
        while (rest := left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        self._scene.violated(*(f"left over: {one}" for one in rest))
