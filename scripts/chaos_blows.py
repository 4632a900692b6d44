"""What is done to workers, machines, database and sessions, each as a happening says."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING

import psycopg
import two_servers
from chaos_laws import Blow

from wa_sessions.actions.engine.carry_out import make
from wa_sessions.actions.engine.plan import Scope
from wa_sessions.actions.repair import repairs
from wa_sessions.emulator.errors import EmulatorError
from wa_sessions.errors import DatabaseError, StoreAway, TryAgain, WaSessionsError
from wa_sessions.keys.phone_ref import PhoneRef

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos_computer import Computer
    from chaos_scene import Scene
    from chaos_story import Happening

FAILED = (DatabaseError, StoreAway, TryAgain, psycopg.Error, OSError, subprocess.SubprocessError)
"""What a busy machine makes of a restart, a failover, a cable; anything else is a mistake in here and ends the run."""


class Blows:
    """See the module."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._one_server = threading.Lock()

    def let_happen(self, happening: Happening) -> None:
        """One happening, until it is over."""
        random = Random(happening.choice)
        do = {
            "kill worker": self._kill_worker,
            "stop worker": self._stop_worker,
            "kill host": self._kill_host,
            "stop host": self._stop_host,
            "kill handlers": self._kill_handlers,
            "deploy": self._deploy,
            "sever the database": self._sever,
            "swallow the database": self._swallow,
            "half-open the database": self._half_open,
            "pull the cable": self._pull,
            "cut WhatsApp": self._cut_whatsapp,
        }.get(happening.kind)
        try:
            if do is None:
                self._of_no_machine(happening, random)
            elif computer := self._free(happening.machine):
                try:
                    self._scene.count(happening.kind)
                    do(computer, happening, random)
                finally:
                    computer.busy.release()
            else:
                self._scene.story.tell(f"left out, as all are busy: {happening.kind}")
        except FAILED as error:  # a run of an hour goes on, and tells; the workers have to bear that too
            self._scene.violated(f"{happening.kind} could not be done: {type(error).__name__}: {error}")

    def _free(self, place: int) -> Computer | None:
        """The machine of that place, or the next one, to which nothing is being done; it is busy from now on."""
        in_turn = [*self._scene.computers[place:], *self._scene.computers[:place]]
        return next((one for one in in_turn if one.busy.acquire(blocking=False)), None)

    def _of_no_machine(self, happening: Happening, random: Random) -> None:
        kind = happening.kind
        match kind:
            case "rolling deploy":
                self._rolling_deploy()
            case "restart Postgres, fast" | "restart Postgres, immediate":
                self._restart_postgres(kind, immediate=kind.endswith("immediate"))
            case "failover":
                self._fail_over(happening, random)
            case "WhatsApp ends connections":
                self._end_connections(random)
            case "replaced":
                self._replace(random)
            case "operator cleans":
                self._clean(random)
            case _:
                raise ValueError(kind)

    @contextlib.contextmanager
    def _blow(self, kind: str, computer: Computer | None, *, kills: bool = False, more: str = "") -> Iterator[None]:
        name = computer.name if computer else None
        self._scene.story.tell(f"{kind} {name or ''} {more}".rstrip())
        began = time.monotonic()
        try:
            yield
        finally:
            self._scene.blows.append(Blow(kind, name, began, time.monotonic(), kills))
            if time.monotonic() - began > 0.1:
                self._scene.story.tell(f"over: {kind} {name or ''}".rstrip())

    def _kill_worker(self, computer: Computer, happening: Happening, _: Random) -> None:
        with self._blow("kill worker", computer, kills=True, more=f"and start it after {happening.seconds:.1f} s"):
            computer.signal(signal.SIGKILL)
            computer.wait()
            time.sleep(happening.seconds)
            computer.start()

    def _stop_worker(self, computer: Computer, happening: Happening, _: Random) -> None:
        with self._blow("stop worker", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
            computer.signal(signal.SIGSTOP)
            time.sleep(happening.seconds)
            computer.signal(signal.SIGCONT)

    def _kill_host(self, computer: Computer, _: Happening, random: Random) -> None:
        if hosts := computer.children("worker.hosts.main"):
            with self._blow("kill host", computer, kills=True), contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(hosts), signal.SIGKILL)

    def _stop_host(self, computer: Computer, happening: Happening, random: Random) -> None:
        if hosts := computer.children("worker.hosts.main"):
            host = random.choice(hosts)
            with self._blow("stop host", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(host, signal.SIGSTOP)
                time.sleep(happening.seconds)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(host, signal.SIGCONT)

    def _kill_handlers(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("kill handlers", computer):
            for pid in computer.children("worker.delivery."):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _deploy(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("deploy", computer):
            self._scene.terminate(computer)
            computer.start()

    def _rolling_deploy(self) -> None:
        self._scene.count("rolling deploy")
        for computer in self._scene.computers:
            with computer.busy, self._blow("rolling deploy", computer):
                self._scene.terminate(computer)
                computer.start()

    def _sever(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("sever the database", computer):
            computer.machine.database.sever()

    def _swallow(self, computer: Computer, happening: Happening, _: Random) -> None:
        """Hosts end by themselves when it takes longer than their deadline, whatever they have in hand."""
        with self._blow("swallow the database", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
            computer.machine.database.swallow()
            time.sleep(happening.seconds)
            computer.machine.database.pass_on()

    def _half_open(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("half-open the database", computer):
            computer.machine.database.half_open()

    def _pull(self, computer: Computer, happening: Happening, _: Random) -> None:
        with self._blow("pull the cable", computer, kills=True, more=f"for {happening.seconds:.1f} s"):
            computer.machine.pull_cable()
            time.sleep(happening.seconds)
            computer.machine.plug_in()

    def _cut_whatsapp(self, computer: Computer, _: Happening, __: Random) -> None:
        with self._blow("cut WhatsApp", computer):
            computer.machine.whatsapp.sever()

    def _end_connections(self, random: Random) -> None:
        emulator = self._scene.stage.emulator
        with self._blow("WhatsApp ends connections", None):
            self._scene.count("WhatsApp ends connections")
            for number in random.sample(self._scene.numbers, max(1, len(self._scene.numbers) // 4)):
                end = random.choice((emulator.drop, emulator.unavailable, emulator.close))
                with contextlib.suppress(EmulatorError, TimeoutError):
                    end(self._scene.stage.devices[number])

    def _replace(self, random: Random) -> None:
        number = random.choice(self._scene.numbers)
        with self._blow("replaced", None, more=number), contextlib.suppress(EmulatorError, TimeoutError):
            self._scene.replaced += 1
            self._scene.stage.emulator.replace(self._scene.stage.devices[number])
            self._scene.count("replaced")

    def _clean(self, random: Random) -> None:
        """Take a peer's session away; what it writes next does not decrypt until it is sent again."""
        number, peer = random.choice(self._scene.numbers), random.choice(self._scene.everyone)
        with self._blow("operator cleans", None, more=f"{number} of {peer.name}"):
            try:
                change = repairs.clean_sessions(peer=peer.phone.number)
                make(self._scene.stage.opened, change, Scope(PhoneRef(number)))
                self._scene.count("operator cleans")
            except (WaSessionsError, TimeoutError) as error:
                self._scene.story.tell(f"not cleaned: {error}")

    def _restart_postgres(self, kind: str, *, immediate: bool) -> None:
        """Of the primary. What it had not told its standby yet is seen after the restart, so no failover comes then."""
        stage = self._scene.stage
        with self._one_server:
            with self._blow(kind, None):
                self._scene.count(kind)
                two_servers.kill(stage.server) if immediate else stage.server.stop()
                two_servers.start(stage.server)
            if stage.servers:
                stage.servers.wait_until_followed()

    def _fail_over(self, happening: Happening, random: Random) -> None:
        """The primary is gone, and every other time nobody is told; the standby takes its place, and it follows then.

        A silence lasts until that machine is up again; connections of before stay as silent as they were.
        """
        servers, silent = self._scene.stage.servers, random.random() < 0.5
        assert servers
        how = f"{'silent, ' if silent else ''}promoted after {happening.seconds:.1f} s"
        with self._one_server, ExitStack() as after:
            servers.wait_until_followed()
            self._scene.stood.update(self._scene.accepted())
            self._scene.count("failover")
            with self._blow("failover", None, kills=silent, more=how):
                for way in [one.machine.database.cables[servers.place] for one in self._scene.computers if silent]:
                    way.swallow()
                    after.callback(way.pass_on)
                two_servers.kill(servers.primary)
                time.sleep(happening.seconds)
                self._scene.stage.promote()
            servers.follow()
        self._scene.story.tell("the primary of before follows")
