"""Numbers that are not there, and numbers that are written in two ways."""

import base64

import pytest
from support import corpus
from support.corpus import BUFFERS
from support.fleet import Fleet
from support.store import fill_device

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
