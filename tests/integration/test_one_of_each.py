"""One of a thing is not several: what commands say where there is one phone, with one key, in one operation."""

import re
from pathlib import Path

import pytest
from support.corpus import PENDING
from support.fleet import Fleet

SEVERAL = re.compile(
    r"\b1 (?:phones|keys|app-state keys|operations|rows|messages|requests|entries|lines|devices|workers|times)\b"
    r"|\b1 (?:phone|key|line|message|device) (?:are|were|stay|become)\b|\b1 of 1 phones"
)
ALL_OF_ONE = ("all", "--org", "33")


@pytest.fixture
def fleet(fleet: Fleet) -> Fleet:
    """The corpus, the phone with one key in an organization of its own."""
    fleet.sql("""UPDATE public."OrganizationPhone" SET "organizationId" = 33 WHERE id = 13""")
    fleet.sql("""UPDATE public.baileys_auth SET "organizationId" = 33 WHERE "phoneJid" = %s""", PENDING)
    return fleet


def _said(fleet: Fleet, *arguments: str) -> str:
    shown = fleet(*arguments)
    text = " ".join(f"{shown.out} {shown.err}".split())
    assert not SEVERAL.search(text), (arguments, text)
    return text


def test_one_phone_with_one_key_is_not_several(fleet: Fleet, tmp_path: Path) -> None:
    _said(fleet, "sessions", "--org", "33")
    _said(fleet, "keys", PENDING)
    for arguments in (
        ("force-close", *ALL_OF_ONE),
        ("force-close", *ALL_OF_ONE, "--logout"),
        ("clean-sessions", *ALL_OF_ONE),
        ("reset-status", *ALL_OF_ONE[:1], "disconnected", *ALL_OF_ONE[1:]),
        ("remove", *ALL_OF_ONE),
        ("adopt", *ALL_OF_ONE, "--yes"),
        ("backup", "all", str(tmp_path / "b"), "--org", "33", "--no-encryption"),
    ):
        _said(fleet, *arguments)
    operation = fleet.json("force-close", *ALL_OF_ONE, "--logout", "--yes")["operation"]
    _said(fleet, "operations")
    assert "brought 1 key of" in _said(fleet, "restore", operation)
    fleet.json("force-close", *ALL_OF_ONE, "--logout", "--yes")
    fleet.sql("UPDATE wa_sessions.operation SET at = now() - interval '2 days'")
    for arguments in (
        ("quarantine", "purge", "--older-than", "1d"),
        ("quarantine", "purge", "--older-than", "1d", "--yes"),
    ):
        _said(fleet, *arguments)
    fleet.sql(
        "DELETE FROM wa_sessions.event; INSERT INTO wa_sessions.event (at, phone_id, organization_id, kind, detail)"
        " VALUES (now() - interval '99 days', 1, 1, 'connected', '{}')"
    )
    _said(fleet, "db", "prune", "--older-than", "90d")
    _said(fleet, "db", "prune", "--older-than", "90d", "--yes")


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (("force-close", "all", "--org", "2"), "Close 2 phones of organization 2 and keep their keys?"),
        (("force-close", *ALL_OF_ONE), "Close 1 phone of organization 33 and keep its keys?"),
        (("clean-sessions", "all", "--org", "2"), "of 2 phones of organization 2 into quarantine?"),
    ],
)
def test_an_operator_is_asked_about_the_phones_that_were_named(
    fleet: Fleet, command: tuple[str, ...], asked: str
) -> None:
    fleet.sql("""UPDATE public."OrganizationPhone" SET status = 'disconnected'""")
    refused = fleet(*command)
    assert (refused.code, asked in refused.err) == (6, True), refused.err
