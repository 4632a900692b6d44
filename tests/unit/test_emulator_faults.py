"""Faults, counted and aimed; mailboxes; app state's hash; protobuf fields."""

import random
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.emulator import AppStateDamage, Device, Emulator, EmulatorError, LoginFailure
from wa_sessions.emulator.accounts import Phone
from wa_sessions.emulator.app_state import HASH_SIZE, AppState, lthash
from wa_sessions.emulator.errors import Malformed
from wa_sessions.emulator.faults import AppStateFault, Delay, Faults, MessageFault, Refusal, damaged, mac_place
from wa_sessions.emulator.mailbox import Mailbox
from wa_sessions.emulator.media import SHELF_SIZE, MediaShelf
from wa_sessions.emulator.neonize_files import action, sync
from wa_sessions.emulator.proxy import _wanted
from wa_sessions.emulator.stanza import Node
from wa_sessions.emulator.wire import field, spans

if TYPE_CHECKING:
    from collections.abc import Callable

ALICE, BOB, CAROL = (Phone(f"7705000000{i}", f"20000000000000{i}", name) for i, name in enumerate("abc"))
PAYLOAD = b"\x33" + bytes(40)


def message(*kinds: str, count: int | None = None) -> Node:
    return Node("message", {"id": "m"}, [Node("enc", {"type": kind, "count": count}, PAYLOAD) for kind in kinds])


def struck(before: Node, after: Node) -> list[bool]:
    return [a.content != b.content for a, b in zip(before.children, after.children, strict=True)]


def fault(**options: Any) -> MessageFault:
    defaults: dict[str, Any] = {
        "to": ALICE,
        "sender": None,
        "kinds": ("msg", "pkmsg", "skmsg"),
        "count": None,
        "first_copies": False,
    }
    return MessageFault(**defaults | options)


def test_every_payload_counts_until_the_count_is_used_up() -> None:
    two, sent = fault(count=2), message("msg", "skmsg", "msg")
    assert struck(sent, two.apply(ALICE, BOB, sent)) == [True, True, False]
    assert (two.hits, two.healed()) == (2, True)


def test_without_a_count_it_strikes_until_healed() -> None:
    endless, sent = fault(), message("msg")
    assert all(struck(sent, endless.apply(ALICE, BOB, sent)) == [True] for _ in range(50))
    assert not endless.healed()
    endless.heal()
    assert endless.apply(ALICE, BOB, sent) is sent or struck(sent, endless.apply(ALICE, BOB, sent)) == [False]


def test_it_is_aimed() -> None:
    sent = message("msg", "skmsg")
    assert struck(sent, fault(kinds=["skmsg"]).apply(ALICE, BOB, sent)) == [False, True]
    assert struck(sent, fault(sender=CAROL).apply(ALICE, BOB, sent)) == [False, False]
    assert struck(sent, fault().apply(BOB, ALICE, sent)) == [False, False]
    assert struck(sent, fault().apply(ALICE, ALICE, sent)) == [False, False]
    assert struck(sent, fault(sender=ALICE).apply(ALICE, ALICE, sent)) == [True, True]


def test_first_copies_are_damaged_and_later_ones_pass() -> None:
    first, fresh, again = fault(first_copies=True, count=1), message("pkmsg", "skmsg"), message("pkmsg", count=1)
    assert struck(again, first.apply(ALICE, BOB, again)) == [False]
    assert struck(fresh, first.apply(ALICE, BOB, fresh)) == [True, True]
    assert (first.hits, first.healed()) == (1, True)
    assert struck(fresh, first.apply(ALICE, BOB, fresh)) == [False, False]


@pytest.mark.parametrize("options", [{"kinds": ["mgs"]}, {"count": 0}])
def test_a_fault_that_could_never_strike_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no such kind|at least once"):
        fault(**options)


def test_damage_hits_the_mac() -> None:
    inner = b"\x33" + field(1, bytes(33)) + field(4, bytes(64)) + b"MMMMMMMM"
    payload = b"\x33" + field(1, 7) + field(2, bytes(33)) + field(3, bytes(33)) + field(4, inner) + field(5, 2**31)
    assert payload[mac_place("pkmsg", payload)] == ord("M")
    assert payload[mac_place("pkmsg", payload) + 1] != ord("M")
    assert mac_place("msg", inner) == len(inner) - 1
    changed = damaged(Node("enc", {"type": "pkmsg"}, payload)).data()
    assert sum(a != b for a, b in zip(payload, changed, strict=True)) == 1


def test_the_newest_fault_of_a_collection_counts_and_all_can_be_healed() -> None:
    faults = Faults()
    old, new = (AppStateFault(ALICE, "regular", damage, None) for damage in list(AppStateDamage)[:2])
    for each in (old, new):
        faults.add_app_state(each)
    assert faults.app_state(ALICE, "regular") is new
    assert faults.app_state(BOB, "regular") is None
    faults.refusals[ALICE] = Refusal(LoginFailure.OUTDATED)
    faults.heal()
    assert (faults.app_state(ALICE, "regular"), faults.refusals, new.healed()) == (None, {}, True)


def test_a_ban_says_when_it_ends() -> None:
    ban = Refusal(LoginFailure.TEMPORARY_BAN, 60).stanza()
    assert (ban.text("reason"), ban.text("expire"), ban.text("code")) == ("402", "60", "101")
    assert Refusal(LoginFailure.LOCKED).stanza().text("expire") == ""


def box(*ids: str) -> Mailbox:
    mailbox = Mailbox(lambda node: node.text("held") == "yes")
    for message_id in ids:
        mailbox.put(Node("message", {"id": message_id}))
    return mailbox


def taken(mailbox: Mailbox) -> list[str]:
    return [node.text("id") for node in iter(mailbox.take, None)]


def test_mail_is_kept_until_it_is_acknowledged_and_stays_in_order() -> None:
    mailbox = box("a", "b", "c")
    assert taken(mailbox) == ["a", "b", "c"]
    mailbox.put(Node("message", {"id": "d"}))
    mailbox.acknowledge(Node("receipt", {"id": "b"}))
    mailbox.give_back()
    assert taken(mailbox) == ["a", "c", "d"]
    mailbox.acknowledge(Node("receipt", {"id": "a"}, [Node("list", {}, [Node("item", {"id": "c"})])]))
    mailbox.acknowledge(Node("ack", {"class": "message", "id": "d"}))
    assert mailbox.idle


def test_what_is_held_back_lets_the_rest_pass() -> None:
    mailbox = box("a")
    mailbox.put(Node("receipt", {"id": "r", "held": "yes"}))
    mailbox.put(Node("message", {"id": "b"}))
    assert taken(mailbox) == ["a", "b"]
    assert (mailbox.waiting("receipt"), mailbox.waiting("message")) == (1, 0)


@pytest.mark.parametrize("retry_first", [True, False])
def test_the_ack_of_a_damaged_copy_is_not_the_next_copys(retry_first: bool) -> None:
    mailbox, retry, ack = (
        box("a"),
        Node("receipt", {"id": "a", "type": "retry"}),
        Node("ack", {"class": "message", "id": "a"}),
    )
    taken(mailbox)
    if retry_first:
        mailbox.acknowledge(retry)
        mailbox.put(Node("message", {"id": "a"}))
        taken(mailbox)
        mailbox.acknowledge(ack)
    else:
        mailbox.acknowledge(ack)
        mailbox.acknowledge(retry)
        mailbox.put(Node("message", {"id": "a"}))
        taken(mailbox)
    mailbox.give_back()
    assert taken(mailbox) == ["a"]


def test_receipts_of_one_message_are_told_apart_by_their_type() -> None:
    mailbox = Mailbox(lambda node: False)
    for kind in ("retry", "read"):
        mailbox.put(Node("receipt", {"id": "a", "type": kind}))
    taken(mailbox)
    mailbox.acknowledge(Node("ack", {"class": "receipt", "id": "a", "type": "read"}))
    mailbox.give_back()
    node = mailbox.take()
    assert node is not None
    assert node.text("type") == "retry"


members = st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=5)


@given(members, st.randoms(use_true_random=False))
def test_the_hash_knows_no_order_and_forgets_what_is_taken_out(items: list[bytes], chance: random.Random) -> None:
    shuffled = chance.sample(items, len(items))
    whole = lthash(bytes(HASH_SIZE), [], items)
    assert whole == lthash(bytes(HASH_SIZE), [], shuffled)
    assert lthash(whole, shuffled, []) == bytes(HASH_SIZE)
    assert lthash(whole, items, items) == whole


def test_app_state_counts_versions_and_replaces_values() -> None:
    state = AppState()
    for _ in range(3):
        state.append("regular", ["mute", "x"], action.SyncActionValue())
    assert state.version("regular") == 3
    assert len(state.patches_since("regular", 1)) == 2
    assert len(sync.SyncdSnapshot.FromString(state.snapshot("regular")).records) == 1


def test_a_clients_patch_is_kept_if_it_builds_upon_the_newest_version() -> None:
    phone = AppState()
    phone.append("regular", ["mute", "x"], action.SyncActionValue())
    client = deepcopy(phone)
    client.append("regular", ["mute", "x"], action.SyncActionValue())
    client.append("regular", ["mute", "y"], action.SyncActionValue())
    first, second = client.patches_since("regular", 1)
    assert not phone.accept("regular", 0, first)
    assert [phone.accept("regular", version, patch) for version, patch in ((1, first), (2, second))] == [True, True]
    assert phone.version("regular") == 3
    assert phone.append("regular", ["mute", "z"], action.SyncActionValue()) == 4
    assert sorted(phone.patches_since("regular", 0)[:3]) == sorted(client.patches_since("regular", 0))


def test_a_clients_patch_may_take_values_out() -> None:
    phone = AppState()
    phone.append("regular", ["mute", "x"], action.SyncActionValue())
    removal = sync.SyncdPatch.FromString(phone.patches_since("regular", 0)[0])
    removal.mutations[0].operation = sync.SyncdMutation.REMOVE
    removal.version.version = 2
    phone._sign(removal, "regular", bytes(HASH_SIZE))
    assert phone.accept("regular", 1, removal.SerializeToString())
    assert sync.SyncdSnapshot.FromString(phone.snapshot("regular")).records == []


def test_a_clients_patch_of_another_key_is_malformed() -> None:
    phone, stranger = AppState(), AppState()
    stranger.append("regular", ["mute", "x"], action.SyncActionValue())
    for patch in (*stranger.patches_since("regular", 0), b"\xff"):
        with pytest.raises(Malformed):
            phone.accept("regular", 0, patch)
    assert phone.version("regular") == 0


def test_a_delay_keeps_the_next_messages_of_a_sender() -> None:
    faults, delay = Faults(), Delay(ALICE, BOB, count=2)
    faults.add_delay(delay)
    assert faults.delay(ALICE, CAROL) is faults.delay(BOB, BOB) is None
    for _ in range(2):
        assert faults.delay(ALICE, BOB) is delay
        delay.keep(cast("Device", None), message("msg"))
    assert faults.delay(ALICE, BOB) is None
    assert len(delay.kept) == 2


@pytest.mark.parametrize("damage", list(AppStateDamage))
def test_every_damage_changes_what_is_sent_and_nothing_that_is_kept(damage: AppStateDamage) -> None:
    state = AppState()
    state.append("regular", ["mute", "x"], action.SyncActionValue())
    whole = state.patches_since("regular", 0), state.snapshot("regular")
    broken = state.patches_since("regular", 0, damage), state.snapshot("regular", damage)
    on_the_shelf = damage in (AppStateDamage.SNAPSHOT_MEDIA, AppStateDamage.SNAPSHOT_MISSING)
    assert (whole != broken) is not on_the_shelf
    assert whole == (state.patches_since("regular", 0), state.snapshot("regular"))


def test_the_shelf_makes_room() -> None:
    shelf = MediaShelf()
    files = [shelf.put(b"data", b"info") for _ in range(SHELF_SIZE + 1)]
    assert shelf.get(files[0].path) is None
    assert shelf.get(files[-1].path) is not None
    assert shelf.get(shelf.put(b"data", b"info", lose=True).path) is None


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 2**63) | st.binary(max_size=200)), max_size=8))
def test_protobuf_fields_are_found_again(fields: list[tuple[int, int | bytes]]) -> None:
    data = b"".join(field(number, value) for number, value in fields)
    assert [number for number, _, _ in spans(data)] == [number for number, _ in fields]
    for (_, start, end), (_, value) in zip(spans(data), fields, strict=True):
        assert isinstance(value, int) or data[start:end] == value


@given(st.binary(max_size=40))
def test_other_bytes_are_malformed_or_fields(data: bytes) -> None:
    with suppress(Malformed):
        list(spans(data))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "8.8.8.8", "localhost", ""])
def test_the_emulator_binds_loopback_only(host: str) -> None:
    with pytest.raises(ValueError, match=host or None):
        Emulator(host=host)


def test_an_emulator_that_is_not_started_says_so() -> None:
    asked: tuple[Callable[[Emulator], object], ...] = (
        lambda e: e.client_env(),
        lambda e: e.add_phone("77050000000", "x"),
        lambda e: e.heal(),
    )
    for ask in asked:
        with pytest.raises(EmulatorError, match="not started"):
            ask(Emulator())


@pytest.mark.parametrize(
    ("request_line", "wanted"),
    [
        (b"CONNECT web.whatsapp.com:443 HTTP/1.1", True),
        (b"CONNECT mmg.whatsapp.net:443 HTTP/1.1", True),
        (b"CONNECT example.com:443 HTTP/1.1", False),
        (b"CONNECT notwhatsapp.com:443 HTTP/1.1", False),
        (b"GET http://web.whatsapp.com/ HTTP/1.1", False),
        (b"\xff\0", False),
    ],
)
def test_only_whatsapp_is_behind_the_proxy(request_line: bytes, wanted: bool) -> None:
    assert _wanted(request_line + b"\r\n\r\n") is wanted
