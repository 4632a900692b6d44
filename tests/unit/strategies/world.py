"""A phone's task told a second time, in memory: with hosts, a store and an operator that do what they may do."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

from wa_sessions.health.model import Health, Limits
from wa_sessions.health.reconnect import State, Status
from wa_sessions.keys.selection import EVERYTHING
from wa_sessions.worker import effects as does
from wa_sessions.worker.commands import answered_meanwhile
from wa_sessions.worker.connection import LONGEST_BAN
from wa_sessions.worker.effects import Call, Effects, Record
from wa_sessions.worker.faults import after_fault, lost_by_fault
from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.machine import next_look, step
from wa_sessions.worker.outage import comes_back, was_written
from wa_sessions.worker.ports import ClientLost, RequestAnswered
from wa_sessions.worker.session import (
    ClientOpened,
    Command,
    CommandGiven,
    CommandSettled,
    DeviceFound,
    Event,
    LeaseLost,
    MessageUndecrypted,
    Released,
    RestoreAllowed,
    Resumed,
    Session,
    Settings,
    Started,
    StoreBack,
    StoreLost,
    TimeOver,
    VersionsSeen,
)

START = datetime(2026, 9, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NUMBER = "77051234567"
DEVICE = f"{NUMBER}:1@s.whatsapp.net"
NEW_DEVICE = f"{NUMBER}:2@s.whatsapp.net"
WRONG_DEVICE = "77059999999:3@s.whatsapp.net"
HOST_ENDS_WITHIN = 7 * SECOND
ARGUMENTS = {
    "reason": "maintenance",
    "logout": False,
    "to": "77050000001",
    "text": "hello",
    "action": "clean",
    "operation": "an-operation",
    "selection": EVERYTHING.as_dict(),
}


class Fate(Enum):
    """What becomes of a commit."""

    STANDS = auto()
    FAILS = auto()  # the store is away, nothing is written
    SEEMS_TO_FAIL = auto()  # the store is away before it could say that all is written
    DEADLOCKS = auto()  # nothing is written, and it is tried again
    FAULTS = auto()  # nothing is written, and trying again would not help


class StoreAway(Exception):
    """Nothing can be written or read now."""


class Fault(Exception):
    """Something that nobody has thought of."""


@dataclass
class Login:
    """A client in a host."""

    client: int
    device: str | None
    ending: bool = False
    ended: bool = False
    requests: list[int] = field(default_factory=list)


@dataclass
class Store:
    """The database: what a session writes into it, and what whatsmeow does."""

    stored: tuple[Any, ...] = (Health(), State.IDLE, None, None)
    device: str | None = DEVICE
    wrong_devices: set[str] = field(default_factory=set)
    refuses_restores: bool = False
    status: Status | None = None
    qr_code: str | None = None
    version: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    writes: list[Event] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)

    def write(self, event: Event, after: Session, records: Iterable[Record]) -> list[Event]:
        """One transaction; what came of it."""
        self.stored = after.stored
        self.version += 1
        self.writes.append(event)
        outcomes: list[Event] = []
        for record in records:
            self.log.append(record)
            outcomes += self._written(record)
        return outcomes

    def _written(self, record: Record) -> list[Event]:
        match record:
            case does.SetStatus(status, qr_code):
                self.status = status
                self.qr_code = self.qr_code if qr_code is does.Keep.KEEP else qr_code
            case does.CloseAtLimit():
                self.device, self.status, self.qr_code = None, Status.LOGGED_OUT, None
            case does.ForgetDevice(device):
                self.wrong_devices.discard(device)
            case does.ForceClose(command):
                self.answers[command.id] += 1
                self.status, self.qr_code = Status.DISCONNECTED, None
                if command.arguments["logout"]:
                    self.device, self.status = None, Status.LOGGED_OUT
            case does.CleanKeys(command):
                self.answers[command.id] += 1
            case does.AnswerCommand(command_id):
                self.answers[command_id] += 1
            case does.CheckRestore(command) | does.RestoreKeys(command):
                return self._restored(command, dry_run=isinstance(record, does.CheckRestore))
            case _:
                pass
        return []

    def _restored(self, command: Command, *, dry_run: bool) -> list[Event]:
        if dry_run and not self.refuses_restores:
            return [RestoreAllowed(command.id)]
        self.answers[command.id] += 1
        if not self.refuses_restores:
            self.device = DEVICE
        return [CommandSettled(command.id, done=not self.refuses_restores)]


@dataclass(frozen=True)
class Moment:
    """One step: what it met, what came of it, how the world stood; ``stands``: it was committed, and took effect."""

    event: Event
    before: Session
    after: Session
    effects: Effects
    at: datetime
    stands: bool
    kept: bool
    open_before: tuple[int, ...]
    barred: str | None

    def asked(self, kind: Any) -> list[Any]:
        """The calls of a kind, or of a union of kinds."""
        return [call for call in self.effects.calls if isinstance(call, kind)]

    def recorded(self, kind: Any) -> list[Any]:
        """The records of a kind, or of a union of kinds."""
        return [record for record in self.effects.records if isinstance(record, kind)]


class World:
    """Drives a session as its task does, and plays everybody else."""

    def __init__(self, limits: Limits | None = None, device: str | None = DEVICE) -> None:
        self.now = START
        self.settings = Settings(limits or Limits(), origin="w")
        self.store = Store(device=device)
        self.session = Session(NUMBER, self.settings)
        self.logins: list[Login] = []
        self.moments: list[Moment] = []
        self.fates: deque[Fate] = deque()
        self.store_down = False
        self.lease_gone = False
        self.commands: list[int] = []
        self.forgotten: set[int] = set()
        self.barred: str | None = None
        self.barred_until: datetime | None = None
        self._kept: deque[Event] = deque()
        self._uncertain: Event | None = None
        self._suspected = False
        self._version = 0

    # ------------------------------------------------------------------------------------------- the task

    def start(self) -> "World":
        """A worker begins with the phone."""
        self.session = self._reloaded(Session(NUMBER, self.settings, begins=True))
        self.barred = None if self.barred_until is None else self.barred
        self.take(Started())
        return self

    def take(self, event: Event) -> None:
        """One event, and all that follows from it at once."""
        if self.session.finished:
            return
        if not isinstance(event, TimeOver | Started):
            self.time_over()
        event = self._with_facts(event)
        try:
            self._take(event)
            self._take_kept()
        except Fault:
            self.barred = self.barred_until = None
            self._resume(event)
        if self.session.finished:
            self._end()

    def time_over(self) -> None:
        """Time goes before everything else, however much happens."""
        look = next_look(self.session)
        if look is not None and look <= self.now and not self.session.finished:
            told, lived = TimeOver(), len(self.moments)
            self.take(told)
            look = next_look(self.session)
            stood = any(moment.stands for moment in self.moments[lived:] if moment.event is told)
            assert not stood or self.session.finished or look is None or look > self.now, "time is over again at once"
        if self._suspected:
            self._suspected = False
            if not self.store_down:
                self.take(StoreBack())

    def _take_kept(self) -> None:
        while self._kept and not self.session.store_away and not self.session.finished:
            self._take(self._kept.popleft())

    def _take(self, event: Event) -> None:
        try:
            self._handle(event)
        except StoreAway:
            self._uncertain = event
            self._handle(StoreLost("refused"))
            if not isinstance(event, StoreBack):
                self._handle(event)

    def _handle(self, event: Event) -> None:
        if isinstance(event, StoreBack) and comes_back(self.session):
            self._come_back()
        before = self.session
        after, effects = step(before, event, self.now)
        needs_commit = bool(effects.records) or after.stored != before.stored
        kept = needs_commit and before.store_away and not isinstance(event, StoreBack)
        self._watch(Moment(event, before, after, effects, self.now, False, kept, self.open, self._bar()))
        if kept:
            self._kept.append(event)
            return
        outcomes = self._commit(event, after, effects) if needs_commit else []
        self.moments[-1] = replace(self.moments[-1], stands=True, barred=self._bar())
        self.session = after
        for call in effects.calls:
            self._make(call)
        for outcome in outcomes:
            self._take(outcome)

    def _watch(self, moment: Moment) -> None:
        self.moments.append(moment)

    def _come_back(self) -> None:
        if self.store_down:
            raise StoreAway
        went_through = self.store.version == self._version + 1
        self.session = self._reloaded(self.session)
        if went_through and self._uncertain is not None:
            self.session = was_written(self.session, self._uncertain, self.now)
        self._uncertain = None

    def _reloaded(self, session: Session) -> Session:
        """As it is stored, without what was answered; an event that was written after all is not taken again."""
        if self.store.version == self._version + 1 and self._uncertain is not None:
            self._kept = deque(event for event in self._kept if event is not self._uncertain)
        self._version = self.store.version
        health, state, detail, retry_at = self.store.stored
        session = replace(session, health=health, state=state, detail=detail, retry_at=retry_at)
        return answered_meanwhile(session, set(self.store.answers))

    def _commit(self, event: Event, after: Session, effects: Effects) -> list[Event]:
        fate = Fate.FAILS if self.store_down else self.fates.popleft() if self.fates else Fate.STANDS
        while fate is Fate.DEADLOCKS:
            fate = self.fates.popleft() if self.fates else Fate.STANDS
        if fate is Fate.FAULTS:
            raise Fault
        if fate is Fate.FAILS:
            raise StoreAway
        outcomes = self.store.write(event, after, effects.records)
        self._lift(effects.records)
        self._bar_if_closed(self.session, after)
        if fate is Fate.SEEMS_TO_FAIL:
            raise StoreAway
        self._version = self.store.version
        return outcomes

    def _resume(self, event: Event) -> None:
        """After a fault: what is stored, and what the worker knows of its own doings."""
        while True:
            for command in lost_by_fault(self.session, event):
                if command.id not in self.store.answers:
                    self.store.answers[command.id] += 1
            known = after_fault(self.session, event)
            if known.client is not None:
                self._login(known.client).ending = True
            self.session = self._reloaded(known)
            event = Resumed()
            try:
                self._take(event)
                self._take_kept()
            except Fault:
                continue
            return

    def _end(self) -> None:
        for command in self.session.unanswered:
            self._answer(command.id)
        for event in self._kept:
            if isinstance(event, CommandGiven):
                self._answer(event.command.id)
        self._kept.clear()
        for login in self.logins:
            login.ended = login.ended or login.ending

    def _answer(self, command_id: int) -> None:
        if command_id not in self.store.answers:
            self.store.answers[command_id] += 1

    def _with_facts(self, event: Event) -> Event:
        if isinstance(event, protocol.Undecrypted):
            return MessageUndecrypted(event, self.session.connection_of(event.client), "mark")
        return event

    def _make(self, call: Call) -> None:
        match call:
            case does.FindDevice() | does.LookAtVersions() if self.store_down:
                self._take(StoreLost("refused"))
            case does.SuspectStore():
                self._suspected = True
            case does.FindDevice():
                self._take(DeviceFound(self.store.device))
            case does.LookAtVersions():
                self._take(VersionsSeen({"regular": 2}))
            case does.OpenClient(device):
                self.logins.append(Login(len(self.logins) + 1, device))
                self._take(ClientOpened(len(self.logins)))
            case does.CloseClient(client) | does.DropClient(client):
                self._login(client).ending = True
            case does.SendText(client, request) | does.UnlinkDevice(client, request):
                self._login(client).requests.append(request)
            case does.ReleaseLease(command):
                self._answer(command.id)
                self._take(Released())
            case _:
                pass

    # ----------------------------------------------------------------------------------------- everybody else

    @property
    def open(self) -> tuple[int, ...]:
        """The logins that may have a WebSocket."""
        return tuple(login.client for login in self.logins if not login.ended)

    @property
    def login(self) -> Login | None:
        """The latest login; it may have ended."""
        return self.logins[-1] if self.logins else None

    def _login(self, client: int) -> Login:
        return self.logins[client - 1]

    def hosts_end_clients(self) -> None:
        """Clients that were to end have."""
        for login in self.logins:
            if login.ending and not login.ended:
                self.whatsapp_answers(login, error="the client ends")
                login.ended = True
                self.take(protocol.Stopped(login.client))

    def host_loses_client(self, **how: bool) -> None:
        """The host is gone, and with it what it was asked."""
        login = self.login
        if login is not None and not login.ended:
            login.ended = True
            self.take(ClientLost(login.client, "killed by signal 9", **how))

    def whatsapp_answers(self, login: Login | None = None, error: str | None = None) -> None:
        """All that was asked of WhatsApp is answered."""
        login = login or self.login
        while login is not None and not login.ended and login.requests:
            request = login.requests.pop(0)
            if request == 0 and error is None:
                self.store.wrong_devices.discard(login.device or "")
            self.take(RequestAnswered(login.client, request, None if error else "3EB0", error))

    def client_says(self, said: Callable[[int], Event]) -> None:
        """The latest client says something that it can say."""
        login = self.login
        if login is None or login.ended:
            return
        event = said(login.client)
        match event:
            case protocol.QrCode() | protocol.PairingFailed() | protocol.Paired() if login.device is not None:
                return
            case protocol.Connected() | protocol.Disconnected() if login.device is None:
                return
            case protocol.LoggedOut() if login.device is None:
                return
            case protocol.Paired(jid=jid):
                login.device = jid
                self._paired(jid)
            case protocol.LoggedOut():
                self._logged_out(login)
            case _:
                pass
        if login.client == self.session.client:
            self._told(event)
        self.take(event)

    def late_words(self, said: Callable[[int], Event]) -> None:
        """What an earlier client had said."""
        for login in self.logins[-2:-1]:
            self.take(said(login.client))

    def command(self, verb: str, **arguments: object) -> int:
        """An operator asks for something, and waits for the answer."""
        self.commands.append(len(self.commands) + 1)
        if self.session.finished:
            self.forgotten.add(self.commands[-1])
        self.take(CommandGiven(Command(self.commands[-1], verb, "op@host", ARGUMENTS | arguments)))
        return self.commands[-1]

    def lose_store(self) -> None:
        """The database goes away, and the worker notices."""
        self.store_down = True
        self.take(StoreLost())

    def find_store(self) -> None:
        """The database is there, and the worker notices."""
        self.store_down = False
        if self.session.store_away:
            self.take(StoreBack())

    def wait(self, time: timedelta) -> None:
        """Time passes; hosts end what they were to end in theirs."""
        end = self.now + time
        while self.now < end and not self.session.finished:
            ending = any(login.ending and not login.ended for login in self.logins)
            times = [end, self.now + HOST_ENDS_WITHIN if ending else end, next_look(self.session) or end]
            self.now = max(min(times), self.now)
            self.time_over()
            if ending and self.now >= times[1]:
                self.hosts_end_clients()

    def wait_for_next_look(self) -> None:
        """Until something is due by time."""
        look = next_look(self.session)
        if look is not None:
            self.wait(look - self.now)
            self.time_over()

    def kill_worker(self) -> None:
        """The worker is gone at once; another one begins."""
        self.forgotten |= {number for number in self.commands if number not in self.store.answers}
        for login in self.logins:
            login.ended = True
        if self.lease_gone:
            return
        self._kept.clear()
        self._uncertain = None
        self.store_down = False
        self.store.wrong_devices.clear()  # nobody knows of them any more
        self._version = self.store.version
        _, state, _, until = self.store.stored
        if state is State.BANNED and until is not None:  # what was never written nobody knows of
            self.barred, self.barred_until = "Banned", until
        else:
            self.barred = self.barred_until = None
        self.start()

    def lose_lease(self) -> None:
        self.lease_gone = True
        self.take(LeaseLost("taken by another worker"))

    def _paired(self, jid: str) -> None:
        if self.store_down:
            return
        if jid == WRONG_DEVICE:
            self.store.wrong_devices.add(jid)
        else:
            self.store.device = jid

    def _logged_out(self, login: Login) -> None:
        if self.store_down:
            return
        if login.device == WRONG_DEVICE:
            self.store.wrong_devices.discard(WRONG_DEVICE)
        else:
            self.store.device = None

    # ------------------------------------------------------------------------------------- what nobody may do

    def _told(self, event: Event) -> None:
        """Remember what forbids to connect again, whatever the machine makes of it."""
        if self.session.wrong_device is not None or not self.session.online or self.session.finished:
            return
        match event:
            case protocol.Replaced() | protocol.LoggedOut() | protocol.Outdated() | protocol.LoginRefused():
                self.barred, self.barred_until = type(event).__name__, None
            case protocol.Banned(seconds=seconds):
                self.barred = "Banned"
                self.barred_until = self.now + timedelta(seconds=min(seconds, LONGEST_BAN)) if seconds else None
            case _:
                pass

    def _bar(self) -> str | None:
        if self.barred_until is not None and self.now >= self.barred_until:
            self.barred = self.barred_until = None
        return self.barred

    def _lift(self, records: Iterable[Record]) -> None:
        """An operator asked to connect."""
        for record in records:
            match record:
                case does.AnswerCommand(result=result) if isinstance(result, Mapping) and "pairing" in result:
                    self.barred = self.barred_until = None
                case does.RestoreKeys() if self.barred_until is None:
                    self.barred = None
                case _:
                    pass

    def _bar_if_closed(self, before: Session, after: Session) -> None:
        if after.state is State.FORCE_CLOSED and before.state is not State.FORCE_CLOSED:
            self.barred, self.barred_until = "force-closed", None

    # ------------------------------------------------------------------------------------------- a good world

    @property
    def rests(self) -> bool:
        """Whether nothing is on its way, and nobody waits."""
        session = self.session
        if session.finished:
            return True
        waits = session.unanswered or session.asked or session.ending or session.store_away or self._kept
        if waits or session.health.closing or session.stopping or session.wrong_device:
            return False
        if session.state is State.CONNECTED:
            return session.client is not None
        if session.state is State.PAIRING:
            return session.client is not None and session.retry_at is not None
        return session.client is None and (session.state in DOWN or self._paused)

    @property
    def _paused(self) -> bool:
        return self.session.state is State.BANNED

    def behave(self, rounds: int = 60) -> None:
        """Everybody does what is theirs: until the session rests, at most so many rounds."""
        self.fates.clear()
        for _ in range(rounds):
            self.find_store()
            self.whatsapp_answers()
            self.hosts_end_clients()
            if self.rests:
                return
            login = self.login
            if login is not None and not login.ended and login.device is not None and not login.ending:
                self.take(protocol.Connected(login.client))
            if not self.rests:
                self.wait_for_next_look()
        raise AssertionError(f"no rest: {self.session}")


DOWN = {
    State.REPLACED,
    State.LOGGED_OUT,
    State.OUTDATED,
    State.LOGIN_REFUSED,
    State.FORCE_CLOSED,
    State.PAIRING_EXPIRED,
}
