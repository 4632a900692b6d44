"""Whatever is typed and whatever stands in the rows: no traceback, no error of SQL, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import corpus
from support.corpus import BUFFERS
from support.examples import examples
from support.fleet import Fleet

COMPLAINTS = ("Traceback", "internal error", "syntax error", "psycopg")
NUMBER = "77059990000"
held = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
"""Every character that Postgres can hold."""
words = st.text(max_size=40) | st.text(held, max_size=30) | st.from_regex(r"[+#]?[0-9 ().:-]{1,25}(@[a-z.]{0,20})?")
names = st.text(held, min_size=1, max_size=40) | st.sampled_from(
    ["O'Brien", 'Shop "24/7"', "Склад №2", "☎️ 'n' \\ %s %(x)s"]
)
numerous = examples(20)
few = examples(8)

TYPED = (
    ("stats", "{}"),
    ("keys", "{}"),
    ("keys", BUFFERS, "--list", "--type", "{}"),
    ("keys", BUFFERS, "--list", "--after", "{}"),
    ("sessions", "--status", "{}"),
    ("qr", "{}"),
    ("clean-app-state", "{}", "--dry-run"),
    ("clean-sessions", BUFFERS, "--peer", "{}", "--dry-run", "--process-stopped"),
    ("force-close", "{}", "--dry-run"),
    ("reset-status", "{}", "loading", "--dry-run"),
    ("reset-status", BUFFERS, "{}", "--force", "--dry-run"),
    ("rename", "{}", "{}"),
    ("remove", "{}", "--dry-run"),
    ("restore", "{}", "--dry-run"),
    ("operations", "{}"),
    ("operations", "--since", "{}"),
    ("unlink", "{}", "--dry-run"),
    ("quarantine", "purge", "--older-than", "{}", "--dry-run"),
    ("drain", "{}"),
    ("drain", "{}", "--undo"),
    ("move", "{}", "--to", "{}"),
    ("move", BUFFERS, "--to", "{}"),
)


@pytest.mark.parametrize("command", TYPED, ids=" ".join)
@numerous
@given(word=words)
def test_whatever_is_typed(fleet: Fleet, command: tuple[str, ...], word: str) -> None:
    done = fleet(*(part.replace("{}", word) for part in command))
    assert 0 <= done.code <= 6
    assert not [complaint for complaint in COMPLAINTS if complaint in done.out + done.err]
    assert done.code == 0 or done.err


@few
@given(name=names, status=names)
def test_names_and_statuses_of_any_characters(fleet: Fleet, name: str, status: str) -> None:
    fleet("rename", BUFFERS, name)
    fleet("reset-status", BUFFERS, status, "--force", "--yes")
    fleet.sql(
        'UPDATE public."OrganizationPhone" SET "displayName" = %s, "status" = %s, "qrCode" = %s', name, status, name
    )
    for output in ("table", "json", "tsv"):
        for command in (["stats", BUFFERS], ["sessions"], ["keys", BUFFERS], ["qr", BUFFERS], ["operations"]):
            done = fleet(*command, "-o", output)
            assert done.code in (0, 1)
            assert not [complaint for complaint in COMPLAINTS if complaint in done.out + done.err]
    fleet.sql("""UPDATE public."OrganizationPhone" SET "status" = 'connected'""")


@pytest.mark.parametrize("shape", ["baileys_auth", "BaileysAuth-old"])
@few
@given(
    rows=st.dictionaries(
        st.text(held, min_size=1, max_size=30)
        | st.builds(
            lambda kind, id_: f"{kind}-{id_}", st.sampled_from(["session", "sender-key", "lid-mapping"]), st.text(held)
        ),
        st.tuples(st.binary(max_size=60), st.text(held, max_size=60)),
        min_size=1,
        max_size=8,
    )
)
def test_keys_and_values_of_any_bytes_come_back(fleet: Fleet, shape: str, rows: "dict[str, tuple[bytes, str]]") -> None:
    old = shape == "BaileysAuth-old"
    if fleet.auth != shape.removesuffix("-old"):
        with fleet.database.transaction() as conn:
            conn.execute('DELETE FROM public."OrganizationPhone"')
            corpus.load(conn, shape)
    fleet.sql('DELETE FROM public."OrganizationPhone" WHERE id = 999')
    fleet.sql(f'DELETE FROM public."{fleet.auth}" WHERE "phoneJid" = %s', NUMBER)
    fleet.sql(
        """INSERT INTO public."OrganizationPhone" (id, "organizationId", "phoneJid", "status", "updatedAt")
           VALUES (999, 1, %s, 'disconnected', now())""",
        f"{NUMBER}:3@s.whatsapp.net",
    )
    for number, (key, (binary, text)) in enumerate(rows.items()):
        values = ([f"id{number}"] if old else []) + [1, NUMBER, key, binary if old else text, "buffer"]
        places = ", ".join(["%s"] * len(values))
        columns = ('"id", ' if old else "") + '"organizationId", "phoneJid", "key", "value", "type"'
        fleet.sql(f'INSERT INTO public."{fleet.auth}" ({columns}) VALUES ({places})', *values)
    before = fleet.keys()
    counted = fleet.json("keys", NUMBER)
    assert counted["total"] == len(rows) == sum(counted["by_type"].values())
    assert len(fleet.json("keys", NUMBER, "--list")["names"]) == len(rows)
    for arguments in (("clean-sessions", NUMBER), ("clean-sessions", NUMBER, "--peer", "77051112233")):
        done = fleet.json(*arguments, "--yes")
        if done["operation"]:
            fleet.json("restore", done["operation"])
    closed = fleet.json("force-close", NUMBER, "--logout", "--yes")
    assert closed["quarantined"] == len(rows)
    fleet.json("restore", closed["operation"])
    assert fleet.keys() == before
