"""Numbers that are not there, and numbers that are written in two ways."""

import base64
import re
import time
from pathlib import Path

import pytest
from support import corpus, log_cases
from support.corpus import BUFFERS
from support.fleet import Fleet
from support.store import fill_device

from wa_sessions.keys.phone_ref import spellings

LONG, SHORT = "5511987654321", "551187654321"


@pytest.mark.parametrize("typed", ["77051234568", "770512345678", "7051234567", "7705123456", "77051243567"])
@pytest.mark.parametrize("command", ["stats", "keys", "force-close", "check"])
def test_the_nearest_number_is_offered_before_adding_one(fleet: Fleet, typed: str, command: str) -> None:
    refused = fleet(command, typed)
    assert refused.code == 3
    told = refused.out + refused.err
    assert BUFFERS in told
    assert told.index(BUFFERS) < told.index("add")
    assert told.index("wa-sessions sessions") < told.index("wa-sessions add")


def test_a_number_that_is_like_none_is_not_guessed(fleet: Fleet) -> None:
    refused = fleet("stats", "4915112345678")
    assert (refused.code, "did you mean" in refused.err) == (3, False)
    assert refused.err.index("wa-sessions sessions") < refused.err.index("wa-sessions add")


@pytest.mark.parametrize(
    ("row", "typed"),
    [(LONG, SHORT), (SHORT, LONG), ("5215512345678", "+52 55 1234 5678"), ("541123456789", "+54 9 11 2345-6789")],
)
def test_two_spellings_of_an_account_are_one_phone(fleet: Fleet, row: str, typed: str) -> None:
    fleet.json("add", row, "--org", "1")
    assert fleet.json("stats", typed)["phone"] == row
    refused = fleet("add", typed, "--org", "2")
    assert (refused.code, "is already phone #" in refused.err) == (2, True)
    assert row in refused.err


def test_a_peer_is_found_under_both_spellings(fleet: Fleet) -> None:
    fleet.sql(
        "INSERT INTO public.baileys_auth VALUES (1, %s, %s, 'e30=', 'base64_json'), (1, %s, %s, 'e30=', 'base64_json')",
        *(BUFFERS, f"session-{SHORT}.0", BUFFERS, f"session-{SHORT}9.0"),
    )
    for spelling in (LONG, SHORT, f"{LONG}@s.whatsapp.net"):
        found = fleet.json("clean-sessions", BUFFERS, "--peer", spelling, "--dry-run", "--process-stopped")
        assert found["by_type"] == {"session": 1}


def test_keys_of_a_device_that_is_written_the_short_way_are_the_phones(fleet: Fleet) -> None:
    fleet.json("add", LONG, "--org", "1")
    with fleet.database.transaction() as conn:
        rows = fill_device(conn, f"{SHORT}:3@s.whatsapp.net")
    assert fleet.json("keys", LONG)["total"] == rows
    [one] = [one for one in fleet.json("sessions")["sessions"] if one["phone"] == LONG]
    assert one["keys"] == rows


def test_a_phone_whose_keys_are_written_the_short_way_is_taken_over(fleet: Fleet) -> None:
    """Its row has the ninth digit, the account has none."""
    row = """UPDATE public."OrganizationPhone" SET "phoneJid" = %s, status = 'disconnected' WHERE id = 3"""
    fleet.sql(row, f"{LONG}@s.whatsapp.net")
    fleet.sql("""UPDATE public.baileys_auth SET "phoneJid" = %s WHERE "phoneJid" = %s""", LONG, corpus.PAIRED)
    creds = """SELECT "value" FROM public.baileys_auth WHERE "phoneJid" = %s AND "key" = 'creds'"""
    value = base64.b64decode(fleet.sql(creds, LONG)[0]["value"])
    value = value.replace(f"{corpus.PAIRED}:".encode(), f"{SHORT}:".encode())
    written = """UPDATE public.baileys_auth SET "value" = %s WHERE "phoneJid" = %s AND "key" = 'creds'"""
    fleet.sql(written, base64.b64encode(value).decode(), LONG)
    done = fleet.json("adopt", LONG, "--yes")
    assert [one["device"].partition(":")[0] for one in done["phones"]] == [SHORT]
    assert fleet.json("stats", LONG)["connection_type"] == "neonize"


@pytest.mark.parametrize("row", ["5511987654321", "5215512345678", "5491123456789"])
def test_logs_that_write_a_number_the_short_way_are_of_its_phone(fleet: Fleet, tmp_path: Path, row: str) -> None:
    """The account has the short number, the row the long one: what fails there is not health."""
    [short] = [one for one in spellings(row) if one != row]
    fleet.sql("""UPDATE public."OrganizationPhone" SET "phoneJid" = %s WHERE id = 1""", f"{row}@s.whatsapp.net")
    fleet.sql(f'UPDATE public."{fleet.auth}" SET "phoneJid" = %s WHERE "phoneJid" = %s', short, BUFFERS)
    moment, log = round(time.time() * 1000), tmp_path / "app.log"
    case = (log_cases.FOLDER / "reasons" / "bad_mac_pkmsg.log").read_text(encoding="utf-8")
    failed = re.sub(r'"time":\d+', f'"time":{moment}', case)
    log.write_text(f"{failed}⚠️ Bad MAC error #3 для {short}@s.whatsapp.net\n", encoding="utf-8")
    [told] = fleet.json("logs", str(log))["phones"]
    assert (told["phone"], told["library"]["bad_mac"], told["bad_mac"]["last_counter"]) == (row, 1, 3)
    fleet("logs", str(log), "--record")
    assert fleet.json("stats", row)["bad_mac_errors"] == 3
    assert fleet("check", row).code == 2
