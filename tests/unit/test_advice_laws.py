"""Whatever is known of a phone: every state has its advice, no sentence contradicts another, and commands work."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from wa_sessions.actions.node_process import runs_in_node
from wa_sessions.actions.ownership import ANSWER_TIMEOUT, require_neonize, require_owner
from wa_sessions.actions.sessions.qr import no_use, qr_comes, why_none
from wa_sessions.actions.watch.advice import case_of, needs_operator, next_step
from wa_sessions.actions.watch.check import known_of
from wa_sessions.actions.watch.sessions import Session
from wa_sessions.actions.watch.stats import SessionErrorStats, Standing, Watch, judge
from wa_sessions.actions.watch.top import Row
from wa_sessions.cli.app import root
from wa_sessions.cli.watch.stats import card, fleet_row
from wa_sessions.db.health import ForcedClose, HealthRow
from wa_sessions.db.leases import WorkerInfo
from wa_sessions.db.log_reading import LogWatch
from wa_sessions.db.phones import Phone
from wa_sessions.errors import WaSessionsError
from wa_sessions.health import checking
from wa_sessions.health.advice import row_of
from wa_sessions.health.backend_words import ConnectionType, UnknownWord
from wa_sessions.health.checking import Thresholds, Verdict
from wa_sessions.health.limits import Limits
from wa_sessions.health.reconnect import State, Status
from wa_sessions.health.uncounted import NotCounted, Uncounted
from wa_sessions.health.unknown import FRESH, Because
from wa_sessions.wording.verdicts import phone_line
from wa_sessions.worker import session as session_of
from wa_sessions.worker.commands import due
from wa_sessions.worker.effects import NO_EFFECTS, AnswerCommand
from wa_sessions.worker.mapping import with_stored

NUMBER, OPERATION = "77051234567", "op-20260115-7f3k9q"
NOW = datetime.now(UTC)
TYPES = (*ConnectionType, UnknownWord("cloud"))
STATUSES = (*Status, UnknownWord("open"), UnknownWord(""))
STATES = (None, *State, UnknownWord("closing"))
COUNTERS = ((0, 0), (1, 0), (2, 0), (3, 0), (0, 4), (0, 5), (7, 0))
PHONE = Phone(
    1, 1, NUMBER, f"{NUMBER}@s.whatsapp.net", None, None, Status.CONNECTED, ConnectionType.NEONIZE, None, None, None
)
ROW = HealthRow(1, 1, 0, 0, (), None, None, 0, 0, State.CONNECTED, None, NOW, None, None)
OWNER = WorkerInfo(1, uuid4(), 1, NOW + timedelta(hours=1), "wa1", 4711, NOW)
OWNERS = (None, OWNER, replace(OWNER, silent_for=60.0))
LOGS = (
    None,
    LogWatch(None, NOW - timedelta(hours=2)),
    LogWatch(None, NOW),
    LogWatch(None, NOW, "412 lines have the library's words behind a prefix that is not known"),
)
FAILING = Uncounted(2, NotCounted.NO_SESSION, 2)
FORCED = ForcedClose(NOW - timedelta(minutes=1), "ops@msg1", "new server")
QRS = (None, "2@abcdefghijklmnop", "data:image/png;base64,iVBORw0KGgo")
ONLY_OURS = {"adopt", "assign", "restart", "relink", "send", "run"}
COMMAND = re.compile(r"wa-sessions ([^,;:)]+)")
MAY_NOT_STAND_TOGETHER = (
    (r"all is well", r"WARNING|CRITICAL|UNKNOWN|\bdown\b|warning|critical|unknown|logged out|pending|disconnected"),
    (r"one more such error|next error", r"3 of 3|5 of 5|7 of 3|logged out|no worker"),
    (r"\bscan\b", r"status connected|no QR"),
    (r"no worker runs it", r"wait:|its worker|connects again by itself"),
    (r"nobody reads its logs|nobody has read the logs", r"its worker|the counter resets|should have closed"),
    (r"connects again by itself", r"wa-sessions (restart|relink|run) "),
    (r"mends itself", r"closes it|not connected"),
    (
        r"WA-SESSIONS OK",
        r"not connected|down|logged out|pending|disconnected|\bscan\b|wa-sessions (run|relink|restart)",
    ),
    (r"the Node backend", r"no worker runs it|its worker"),
    (r"the official API", r"the Node backend|its worker|no worker"),
    (r"nothing to do", r"logged out|pending|disconnected|critical|warning"),
    (r"closed it on purpose", r"has not connected it|the backend closed it|should have closed|status connected"),
    (r"closed on purpose", r"logged out|link it again|all is well"),
    (r"its keys are in quarantine", r"WA-SESSIONS OK|all is well|status connected"),
)


def _all() -> Iterator[tuple[SessionErrorStats, Watch]]:
    """Every phone that there can be, as the database would tell it."""
    for kind, status, state, owner in itertools.product(TYPES, STATUSES, STATES, OWNERS):
        rows: list[HealthRow | None] = [replace(ROW, state=state)] if state else [None]
        if state in ("connected", None):
            rows += [replace(ROW, state=State.CONNECTED, bad_mac_errors=a, bad_decrypt_errors=b) for a, b in COUNTERS]
        if state in ("banned", "crashed"):
            rows += [replace(ROW, state=state, retry_at=NOW + timedelta(minutes=30))]
        logs_of = LOGS if kind == "baileys" and owner is None else LOGS[:1]
        codes = QRS if status in ("pending", "logged_out", "connected") else QRS[:1]
        closed_at = (None, NOW) if kind == "baileys" and owner is None else (None,)
        on_purpose = (None, FORCED) if state == "force_closed" else (None,)
        again = (None, FAILING) if len(logs_of) > 1 else (None,)
        known = itertools.product(rows, logs_of, codes, (None, OPERATION), closed_at, on_purpose, again)
        for row, logs, code, closed, at, forced, failing in known:
            phone = replace(PHONE, connection_type=kind, status=status, qr_code=code)
            watch = Watch(row, owner, 0, None, logs, closed_by=closed, closed_in_logs_at=at, forced=forced)
            watch = replace(watch, failing_again=failing)
            yield judge(phone, watch, Limits()), watch
    for kind, status, code in itertools.product(TYPES, STATUSES, QRS):
        for missing in (Because.NO_SCHEMA, Because.NO_PERMISSION):
            watch = Watch(missing=missing)
            yield judge(replace(PHONE, connection_type=kind, status=status, qr_code=code), watch, Limits()), watch


@pytest.fixture(scope="module")
def every() -> list[tuple[SessionErrorStats, Watch]]:
    seen: dict[tuple[object, bool], tuple[SessionErrorStats, Watch]] = {}
    for stats, watch in _all():
        seen.setdefault((case_of(stats), stats.observed), (stats, watch))
    assert len(seen) > 1000
    return list(seen.values())


def _verdict(stats: SessionErrorStats) -> tuple[Verdict, str]:
    thresholds = Thresholds(FRESH)
    judged = checking.phone_verdict(known_of(stats, None, None), thresholds)
    return judged.verdict, phone_line(judged).partition(" | ")[0]


def _told(stats: SessionErrorStats) -> str:
    """All that any command says of how the phone is."""
    row = Row(Session(stats, None, None))
    health = f"{stats.severity}: {stats.unknown_reason}" if stats.unknown_reason else stats.severity
    status = f"status {stats.status.replace('_', ' ')}"
    advice = next_step(stats) or "all is well"
    return "\n".join((health, status, row.standing, row.condition, _verdict(stats)[1], advice))


def test_how_a_phone_stands_is_one_word_in_every_command(every: list[tuple[SessionErrorStats, Watch]]) -> None:
    for stats, _ in every:
        _, health, *_ = card(stats, NOW)
        [listed] = [cell for cell in fleet_row(Session(stats, None, None), NOW) if cell in set(Standing)]
        assert {health.split()[1].rstrip(":"), listed} == {Row(Session(stats, None, None)).standing}


def test_no_sentence_contradicts_another(every: list[tuple[SessionErrorStats, Watch]]) -> None:
    wrong: dict[tuple[str, str], str] = {}
    for stats, _ in every:
        text = _told(stats)
        for one, other in MAY_NOT_STAND_TOGETHER:
            if re.search(one, text) and re.search(other, text):
                wrong.setdefault((one, other), text)
    assert not wrong


def test_every_phone_that_is_not_well_is_given_something_to_do(every: list[tuple[SessionErrorStats, Watch]]) -> None:
    for stats, _ in every:
        row_of(case_of(stats))
        advice = next_step(stats)
        if stats.severity in ("unknown", "critical") and stats.connection_type != "waba":
            assert advice
            assert COMMAND.search(advice), (advice, stats)
        elif stats.severity != "ok":
            assert advice, stats
        if stats.severity == "critical":
            assert needs_operator(stats)


def test_a_phone_that_node_runs_is_sent_to_nothing_that_our_worker_alone_does(
    every: list[tuple[SessionErrorStats, Watch]],
) -> None:
    for stats, _ in every:
        advice = next_step(stats) or ""
        named = {words.split()[0] for words in COMMAND.findall(advice)}
        if stats.connection_type != "neonize":
            assert not named & ONLY_OURS, (advice, stats)
        if stats.connection_type == "baileys" and stats.qr_waits and stats.status == "pending":
            assert f"wa-sessions qr {NUMBER}" in advice


def test_every_command_parses_and_would_not_be_refused(every: list[tuple[SessionErrorStats, Watch]]) -> None:
    parsed = set()
    refused: dict[tuple[str, str, str | None], SessionErrorStats] = {}
    for stats, watch in every:
        for words in COMMAND.findall(next_step(stats) or ""):
            if words not in parsed:
                _parse(words.split())
                parsed.add(words)
            if why := _refusal(words.split(), stats, watch):
                refused.setdefault((words, why, next_step(stats)), stats)
    assert not refused
    assert len(parsed) > 8


def _parse(words: list[str]) -> None:
    """Have click read the words as it does before a command begins; raises where it does not take them."""
    command = root()
    context = command.make_context("wa-sessions", list(words))
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, [*words])
        context = command.make_context(name, list(words), parent=context)


def _refusal(words: list[str], stats: SessionErrorStats, watch: Watch) -> str | None:
    """Why the command would refuse this phone, by the rules that it goes by itself; None where it takes it."""
    phone = replace(PHONE, connection_type=stats.connection_type, status=stats.status)
    phone = replace(phone, qr_code=QRS[1] if stats.qr_waits else None)
    try:
        match words[0]:
            case "restart" | "relink" as verb:
                _ask_worker(verb, phone, stats, watch)
            case "run":
                require_neonize(phone)
                if watch.owner is not None and stats.state != State.STOPPED:
                    return "another worker runs it"
            case "qr" if "--watch" in words:
                return no_use(phone, comes=qr_comes(stats))
            case "qr":
                return no_use(phone, comes=qr_comes(stats)) or (None if phone.qr_code else why_none(stats))
            case "restore" if phone.connection_type == "baileys" and runs_in_node(phone, None):
                return "its Node process runs"
            case "restore":
                return None if words[1] == stats.closed_by == OPERATION else "there is no such operation"
            case "db":
                return None if watch.missing is Because.NO_SCHEMA else "all is up to date"
            case verb:
                return _reading(verb, watch, record="--record" in words)
    except WaSessionsError as error:
        return str(error)
    return None


def _reading(verb: str, watch: Watch, *, record: bool) -> str | None:
    if verb in ("errors", "timeline", "inbox", "workers") or record:
        return watch.missing
    return None if verb in ("stats", "logs", "sessions") else f"nobody knows whether {verb} is refused"


def _ask_worker(verb: str, phone: Phone, stats: SessionErrorStats, watch: Watch) -> None:
    """As ``restart`` and ``relink`` do. Raises what they raise, or what the worker answers."""
    require_neonize(phone)
    if verb == "restart" and watch.owner is None and stats.state == State.FAULTED:
        return
    owner = require_owner(phone, watch.owner)
    if owner.silent_for and owner.silent_for > ANSWER_TIMEOUT:
        raise WaSessionsError("its worker does not answer")
    session = with_stored(session_of.Session(NUMBER, session_of.Settings(Limits())), watch.health, [])
    session = replace(session, current=session_of.Command(1, verb, "ops@msg1"))
    _, effects = due(session, NOW) or (session, NO_EFFECTS)
    for call in (*effects.records, *effects.calls):
        if isinstance(call, AnswerCommand) and isinstance(call.result, WaSessionsError):
            raise call.result


def test_check_says_what_stats_says(every: list[tuple[SessionErrorStats, Watch]]) -> None:
    for stats, watch in every:
        verdict, line = _verdict(stats)
        if stats.status == Status.LOGGED_OUT:
            assert verdict is Verdict.CRITICAL
            continue
        match stats.severity:
            case "ok" | "warning" | "critical":
                assert verdict.name == stats.severity.upper(), (line, stats)
                if stats.severity == "warning" and stats.uncounted_reason:
                    assert stats.uncounted_reason in line
            case _ if watch.owner is None and stats.unknown_because == "no_worker":
                assert verdict is Verdict.CRITICAL
            case _:
                assert verdict in (Verdict.UNKNOWN, Verdict.CRITICAL)
                assert str(stats.unknown_reason) in line


def test_what_is_not_known_to_be_up_is_never_ok(every: list[tuple[SessionErrorStats, Watch]]) -> None:
    for stats, _ in every:
        if stats.status not in (Status.CONNECTED, Status.LOADING, Status.RECONNECTING):
            assert stats.severity == "unknown", stats
        if stats.severity == "ok":
            assert not stats.messages_uncounted
            assert Row(Session(stats, "baileys", None)).standing is Standing.OK
        assert (stats.severity == "unknown") == (stats.unknown_reason is not None) == (stats.is_healthy is None)


def test_all_is_well_is_said_of_nothing_else(every: list[tuple[SessionErrorStats, Watch]]) -> None:
    for stats, _ in every:
        if next_step(stats) is None:
            assert (stats.severity, stats.status in ("connected", "loading", "reconnecting")) == ("ok", True)
            assert _verdict(stats)[0] is Verdict.OK
