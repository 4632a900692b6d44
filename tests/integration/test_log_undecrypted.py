"""``logs --record``: a message that fails again, uncounted, leaves no phone healthy."""

import json
import time
from pathlib import Path

import pytest
from support import corpus
from support.fleet import Fleet
from support.recent_logs import recent

PEER = "77019990053"
GROUP = "120363041000000000@g.us"
NO_SESSION = "No session record"


@pytest.fixture
def watched(fleet: Fleet) -> Fleet:
    """The first phone holds the session of the sender, and the key of the sender in a group."""
    for key in (f"session-{PEER}.0", f"sender-key-{GROUP}::{PEER}::0"):
        fleet.sql(
            'INSERT INTO public.baileys_auth ("organizationId", "phoneJid", "key", "value", "type")'
            " VALUES (1, %s, %s, '{}', 'base64_json')",
            *(corpus.BUFFERS, key),
        )
    fleet.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '2 days'""")
    return fleet


def failed(ago: float, why: str, message: str = "A", *, group: bool = False) -> str:
    """What Baileys writes of a copy that failed so many seconds ago."""
    key = {"remoteJid": f"{PEER}@s.whatsapp.net", "fromMe": False, "id": message}
    if group:
        key |= {"remoteJid": GROUP, "participant": f"{PEER}@s.whatsapp.net"}
    who = f"{GROUP}::{PEER}::0" if why.startswith("No SenderKeyRecord") else f"{PEER}.0"
    stack = f"Error: {why}\n    at async {who} [as awaitable] (/srv/x.js:1:1)"
    entry = {
        "level": 50,
        "time": round((time.time() - ago) * 1000),
        "key": key,
        "err": {"type": "Error", "message": why, "stack": stack},
        "msg": "failed to decrypt message",
    }
    return json.dumps(entry) + "\n"


def health(fleet: Fleet) -> tuple[str, int]:
    """Its severity, and the exit code of ``check``."""
    return fleet.json("stats", corpus.BUFFERS)["severity"], fleet("check", corpus.BUFFERS).code


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("why", "words"),
    [
        (NO_SESSION, "1 message failed again: there is no session with its sender"),
        ("Invalid PreKey ID", "1 message failed again: it was meant for a pre-key that is not there any more"),
        ("Over 2000 messages into the future!", "1 message failed again for a reason that no counter knows"),
    ],
)
def test_a_retried_copy_that_fails_too_is_a_warning(
    watched: Fleet, tmp_path: Path, why: str, words: str, *, at_once: bool
) -> None:
    log = tmp_path / "app.log"
    log.write_text(failed(90, why))
    if not at_once:
        watched("logs", str(log), "--record")
        assert health(watched) == ("ok", 0), "its sender has been asked for another copy"
    with log.open("a") as file:
        file.write(failed(70, why))
    watched("logs", str(log), "--record")
    stats = watched.json("stats", corpus.BUFFERS)
    assert (stats["severity"], stats["is_healthy"], stats["bad_mac_errors"]) == ("warning", True, 0)
    assert (stats["messages_uncounted"], stats["uncounted_reason"]) == (1, words)
    checked = watched("check", corpus.BUFFERS)
    assert (checked.code, words in checked.out) == (1, True)
    shown = " ".join(watched("stats", corpus.BUFFERS).out.split())
    assert f"health warning: {words}" in shown
    assert f"wa-sessions logs --pm2 NAME {corpus.BUFFERS}" in shown
    [listed] = [one for one in watched.json("sessions")["sessions"] if one["phone"] == corpus.BUFFERS]
    assert (listed["severity"], listed["uncounted_reason"]) == ("warning", words)
    watched("logs", str(log), "--record")
    assert health(watched) == ("warning", 1), "the next run of cron forgets nothing"


@pytest.mark.parametrize("cases", [["over2000-out", "over2000-err"], ["skrec-out", "skrec-err"], ["skrec-out"]])
def test_so_do_logs_of_the_night(watched: Fleet, tmp_path: Path, cases: list[str]) -> None:
    watched("logs", *recent(tmp_path, *cases), "--record")
    assert health(watched) == ("warning", 1)


def test_whoever_records_is_told_of_which_phones(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(failed(90, NO_SESSION) + failed(70, NO_SESSION))
    told = {"reason": "1 message failed again: there is no session with its sender", "phones": [corpus.BUFFERS]}
    assert watched.json("logs", str(log), "--record")["recorded"]["failing"] == [told]
    again = watched("logs", str(log), "--record")
    assert f"of 1 phone: {told['reason']}" in " ".join(again.out.split())
    watched.sql("UPDATE wa_sessions.log_uncounted SET failed_at = failed_at - interval '15 min'")
    assert watched.json("logs", str(log), "--record")["recorded"]["failing"] == []


def test_it_stands_for_a_quarter_of_an_hour(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(failed(17 * 60, NO_SESSION) + failed(14 * 60, NO_SESSION))
    watched("logs", str(log), "--record")
    assert health(watched) == ("warning", 1)
    watched.sql("UPDATE wa_sessions.log_uncounted SET failed_at = failed_at - interval '2 min'")
    assert health(watched) == ("ok", 0)


def test_copies_that_failed_for_different_reasons_are_of_one_message(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    for first, second in ((NO_SESSION, "Bad MAC"), ("Bad MAC", NO_SESSION)):
        with log.open("a") as file:
            file.write(failed(90, first, second))
        watched("logs", str(log), "--record")
        with log.open("a") as file:
            file.write(failed(70, second, second))
        watched("logs", str(log), "--record")
    stats = watched.json("stats", corpus.BUFFERS)
    assert (stats["bad_mac_errors"], stats["messages_uncounted"]) == (0, 2)


def test_several_reasons_are_told_by_the_one_of_most_messages(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    lines = [(message, why) for message, why in (("A", NO_SESSION), ("B", "Invalid PreKey ID"), ("C", NO_SESSION))]
    log.write_text("".join(failed(ago, why, message) for ago in (90, 70) for message, why in lines))
    watched("logs", str(log), "--record")
    stats = watched.json("stats", corpus.BUFFERS)
    assert stats["messages_uncounted"] == 3
    assert stats["uncounted_reason"] == (
        "2 messages failed again: there is no session with their senders; 1 more for another reason"
    )


def test_what_came_twice_has_decrypted(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(failed(90, NO_SESSION) + failed(70, "Key used already or never filled"))
    watched("logs", str(log), "--record")
    assert health(watched) == ("ok", 0)


def test_both_parts_of_one_copy_in_a_group_fail_once(watched: Fleet, tmp_path: Path) -> None:
    """The sender's key comes in the same stanza as what it is for."""
    log = tmp_path / "app.log"
    missing = "No SenderKeyRecord found for decryption"
    log.write_text(failed(90, "Invalid PreKey ID", group=True) + failed(89.999, missing, group=True))
    watched("logs", str(log), "--record")
    assert health(watched) == ("ok", 0)
    with log.open("a") as file:
        file.write(failed(70, missing, group=True))
    watched("logs", str(log), "--record")
    assert health(watched) == ("warning", 1)


def test_it_is_no_all_clear(watched: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text(failed(95, "Bad MAC", "M") + failed(90, "Bad MAC", "M") + failed(85, "Bad MAC", "N"))
    with log.open("a") as file:
        file.write(failed(80, "Bad MAC", "N") + failed(20, NO_SESSION) + failed(15, NO_SESSION))
    watched("logs", str(log), "--record")
    assert health(watched) == ("critical", 2)
    watched.sql("""UPDATE public."OrganizationPhone" SET "lastConnectedAt" = now() - interval '1 second'""")
    watched("logs", str(log), "--record")
    assert health(watched) == ("warning", 1)
    types = [one["type"] for one in watched.json("alerts", "list")["alerts"]]
    assert types == ["health_critical"]
