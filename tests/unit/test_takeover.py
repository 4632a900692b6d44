"""A phone goes over to whatsmeow and back, and each trap on the way has a rule."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import corpus
from support.records import FRESH, NOW, back, changed, key, phone, session, state, there, with_records

from wa_sessions.keys.baileys.app_state import AppStateVersion, Fingerprint
from wa_sessions.keys.baileys.peers import DeviceList, IdentityKey, LidMapping, PreKey, SenderKeyMemory, Token
from wa_sessions.keys.baileys.rows import JSON, BaileysPhone, OtherKey, Row
from wa_sessions.keys.baileys.sender_key import MessageSeed, SenderKey, SenderKeyState
from wa_sessions.keys.baileys.session import RECEIVING, SENDING, Chain, PendingPreKey, Session
from wa_sessions.keys.conversion import app_state
from wa_sessions.keys.conversion.refusals import refusals, refusals_to_return
from wa_sessions.keys.device_address import Address
from wa_sessions.keys.fields import BadKey
from wa_sessions.keys.key_types import key_type
from wa_sessions.keys.phone_ref import number_of
from wa_sessions.keys.whatsmeow.plain import AppStateKey, LidPair
from wa_sessions.keys.whatsmeow.rows import WhatsmeowPhone

PAIRED = [number for (_, number) in corpus.rows() if number != corpus.PENDING]
LID, NUMBER = "200000003000009", "77051110000"
GROUP = "120363041000000000@g.us"


@pytest.mark.parametrize("number", PAIRED)
def test_a_phone_of_the_corpus_comes_back_as_it_was(number: str) -> None:
    before = phone(number)
    over = there(before)
    assert {(one.key, one.count) for one in over.left_out} == _not_needed(before)
    returned = back(over.phone, major=before.major, before=before)
    assert returned.left_out == ()
    assert returned.notices == ()
    assert returned.phone.creds == before.creds
    assert returned.phone.buffers == before.buffers
    old, new = _values(before), _values(returned.phone)
    not_needed = {one.key for one in before.records if isinstance(one, SenderKeyMemory | DeviceList)}
    assert {name: value for name, value in old.items() if name not in not_needed} == {
        name: value for name, value in new.items() if name in old
    }
    assert new.keys() - old.keys() == _learned(before)


@pytest.mark.parametrize("number", PAIRED)
def test_without_the_keys_from_before_only_what_whatsmeow_does_not_know_is_lost(number: str) -> None:
    before = phone(number)
    returned = back(there(before).phone, major=before.major)
    passed_over = {
        one.key: count
        for one in before.records
        if isinstance(one, Session)
        and (count := sum(len(chain.message_keys) for state in one.states for chain in state.chains.values()))
    }
    assert {one.key: one.count for one in returned.left_out} == passed_over
    old, new = _forgetful(before), _forgetful(returned.phone)
    me = before.creds.me
    assert me
    if before.major == 7:  # which looks for our own sender key under our LID, where the group has LIDs
        own, lid = f"::{number}::", f"::{number_of(me.lid or '')}_1::"
        old = {name.replace(own, lid): value for name, value in old.items()}
    assert {name: new.get(name) for name in old} == old
    creds = returned.phone.creds
    assert replace(creds, rest={}) == replace(before.creds, rest={})
    assert creds.rest.keys() == before.creds.rest.keys() - {
        "lastPropHash",
        "routingInfo",
        "lastAccountSyncTimestamp",
    } | {"processedHistoryMessages"}


def test_go_counts_the_next_message_and_node_the_last() -> None:
    chains = {key(2): Chain(RECEIVING, 4, b"r" * 32, {}), key(1): Chain(SENDING, -1, b"s" * 32, {})}
    made = _carried(state(1, chains=chains)).current
    assert made.sender is not None
    assert [chain.index for chain in (*made.receivers, made.sender)] == [5, 0]
    assert _returned(state(1, chains=chains)).states[0].chains == chains


def test_the_seed_of_a_message_passed_over_becomes_its_keys() -> None:
    seed = b"\x07" * 32
    chain = Chain(RECEIVING, 9, b"r" * 32, {8: seed, 3: seed})
    receivers = _carried(state(1, chains={**state(1).chains, key(2): chain})).current.receivers
    derived = _hkdf(seed, b"WhisperMessageKeys", 80)
    assert [(one.index, one.cipher_key + one.mac_key + one.iv) for one in receivers[0].message_keys] == [
        (3, derived),
        (8, derived),
    ]


def test_the_open_session_is_the_current_one_and_the_others_follow_latest_used_first() -> None:
    states = [state(n, closed=-1 if n == 20 else NOW, used=used) for n, used in ((10, 5), (20, 1), (30, 9), (40, 7))]
    made = _carried(*states)
    assert [one.base_key for one in made.states] == [key(22), key(32), key(42), key(12)]


def test_where_none_is_open_the_latest_used_is_opened_and_that_is_said() -> None:
    source = with_records(
        phone(corpus.BUFFERS), session("7.0", state(10, closed=NOW, used=5), state(20, closed=NOW, used=6))
    )
    over = there(source)
    assert over.phone.sessions[0].current.base_key == key(22)
    assert [one.key for one in over.notices if "none of its sessions is open" in one.what] == ["session-7.0"]
    returned = back(over.phone, before=source).phone
    assert [one.is_open for one in _of(returned, Session)[0].states] == [True, False]


def test_a_chain_that_is_over_has_no_key_there_either() -> None:
    closed = Chain(RECEIVING, 3, None, {})
    made = state(1, chains={key(7): closed, **state(1).chains})
    assert [chain.key for chain in _carried(made).current.receivers] == [None, b"r" * 32]
    assert _returned(made).states[0].chains[key(7)] == closed


def test_only_the_newest_chains_of_the_peer_and_those_with_keys_to_come_are_carried() -> None:
    old = {key(50 + n): Chain(RECEIVING, n, None, {0: b"k" * 32} if n == 1 else {}) for n in range(8)}
    chains = {**old, key(1): Chain(SENDING, 0, b"s" * 32, {})}
    receivers = _carried(state(1, chains=chains)).current.receivers
    assert [chain.public for chain in receivers] == [key(50 + n) for n in (1, 3, 4, 5, 6, 7)]


def test_the_previous_counter_is_unsigned_in_go() -> None:
    assert _carried(state(1, previous_counter=-1)).current.previous_counter == 0xFFFF_FFFF
    assert _returned(state(1, previous_counter=-1)).states[0].previous_counter == -1


@pytest.mark.parametrize(("pre_key", "carried"), [(5, 5), (0, None), (None, None)])
def test_a_session_that_nobody_answered_repeats_whose_pre_keys_it_was_built_with(
    pre_key: int | None, carried: int | None
) -> None:
    source = state(1, pending=PendingPreKey(3, key(9), pre_key))
    made = _carried(source).current
    assert made.pending
    assert (made.pending.pre_key_id, made.pending.signed_pre_key_id, made.pending.base_key) == (carried, 3, key(9))
    assert made.pending.value()["PreKeyID"] == {"Value": carried or 0, "IsEmpty": carried is None}
    assert _returned(source).states[0].pending == PendingPreKey(3, key(9), carried)
    assert _returned(source).states[0].base_key_type == 1


def test_node_keeps_no_chain_of_the_peers_signed_pre_key() -> None:
    over = there(with_records(phone(corpus.BUFFERS), session("7.0", state(1)))).phone
    current = over.sessions[0].current
    unread = replace(current.receivers[0], index=0)
    made = replace(over.sessions[0], current=replace(current, receivers=(unread,)))
    found = _of(back(replace(over, sessions=(made,))).phone, Session)[0].states[0]
    assert list(found.chains) == [key(1)]
    assert found.last_remote_key == unread.public


@pytest.mark.parametrize("sending", [None, Chain(SENDING, 0, None, {})], ids=["absent", "closed"])
def test_a_session_that_cannot_send_is_left_out(sending: Chain | None) -> None:
    chains = {key(1): sending} if sending else {}
    over = there(with_records(phone(corpus.BUFFERS), session("7.0", state(1, chains=chains))))
    assert over.phone.sessions == ()
    assert "session-7.0" in {one.key for one in over.left_out}


def test_no_more_earlier_sessions_than_go_keeps() -> None:
    over = there(with_records(phone(corpus.BUFFERS), session("7.0", *(state(n, used=n) for n in range(3, 48)))))
    assert len(over.phone.sessions[0].previous) == 40
    assert [one.count for one in over.left_out if one.key == "session-7.0"] == [4]


@pytest.mark.parametrize("given", [True, False], ids=["map", "identity key"])
def test_the_rows_of_a_number_and_its_lid_become_one(given: bool) -> None:
    by_number = state(10, used=1, remote_identity=key(200))
    by_lid = state(20, used=2, remote_identity=key(201 if given else 200))
    rows = session(f"{NUMBER}.2", by_number), session(f"{LID}.2", by_lid)
    source = with_records(phone(corpus.BUFFERS), *rows)
    over = there(source, lid_map=[(LID, NUMBER)] if given else [])
    assert [one.address.whatsmeow for one in over.phone.sessions] == [f"{LID}_1:2"]
    assert [one.base_key for one in over.phone.sessions[0].states] == [key(22), key(12)]
    assert LidPair(LID, NUMBER) in over.phone.lid_map
    assert any("put together" in one.what for one in over.notices)
    returned = back(over.phone, before=source).phone
    assert _values(returned, Session) == _values(source, Session)


def test_the_same_session_in_two_rows_is_as_it_is_where_it_is_open() -> None:
    copy, used = state(10, used=9, closed=NOW), state(10, used=5, previous_counter=3)
    rows = session(f"{NUMBER}.2", copy), session(f"{LID}.2", used)
    over = there(with_records(phone(corpus.BUFFERS), *rows)).phone
    assert [one.previous_counter for one in over.sessions[0].states] == [3]


@pytest.mark.parametrize("other", ["another device", "another identity", "two numbers"])
def test_rows_of_different_users_stay_apart(other: str) -> None:
    rows = [session(f"{NUMBER}.2", state(10)), session(f"{LID}.2", state(20))]
    if other == "another device":
        rows[1] = session(f"{LID}.3", state(20))
    elif other == "another identity":
        rows[1] = session(f"{LID}.2", state(20, remote_identity=key(99)))
    else:
        rows.append(session("77052220000.2", state(30)))
    over = there(with_records(phone(corpus.BUFFERS), *rows))
    assert len(over.phone.sessions) == len(rows)
    assert over.phone.lid_map == ()
    assert any("which are one user is not known" in one.what for one in over.notices) == (other == "two numbers")


def test_a_given_map_comes_before_what_the_keys_tell() -> None:
    other = "200000003000999"
    rows = LidMapping(NUMBER, other, is_reverse=False), session(f"{NUMBER}.0", state(10))
    over = there(with_records(phone(corpus.BUFFERS), *rows), lid_map=[(LID, NUMBER)])
    assert [one.address.whatsmeow for one in over.phone.sessions] == [f"{LID}_1:0"]
    assert [one.key for one in over.notices if other in one.what] == [f"lid-mapping-{NUMBER}"]
    assert over.phone.lid_map == (LidPair(LID, NUMBER),)
    odd = there(with_records(phone(corpus.BUFFERS)), lid_map=[("lid", "number"), ("", NUMBER)])
    assert [one.key for one in odd.notices if "no LID or no phone number" in one.what] == ["the map of LIDs"] * 2
    assert odd.phone.lid_map == ()


@pytest.mark.parametrize("hosted", [("_128", "_129"), ("", "_1")])
def test_a_device_of_a_known_number_goes_to_the_lid_of_the_same_kind(hosted: tuple[str, str]) -> None:
    source = with_records(phone(corpus.BUFFERS), session(f"{NUMBER}{hosted[0]}.4", state(10)))
    over = there(source, lid_map=[(LID, NUMBER)])
    assert [one.address.whatsmeow for one in over.phone.sessions] == [f"{LID}{hosted[1]}:4"]


def test_the_identity_of_the_session_counts_and_our_own_phone_is_known() -> None:
    source = phone(corpus.BUFFERS)
    address = Address.of_baileys("7.0", "")
    over = there(with_records(source, session("7.0", state(1)), IdentityKey(address, key(9))))
    identities = {one.address.whatsmeow: one.identity for one in over.phone.identity_keys}
    assert source.creds.account
    assert identities == {"7:0": key(200)[1:], f"{corpus.BUFFERS}:0": source.creds.account.signature_key}


def test_our_own_sender_key_is_filed_under_our_lid_and_comes_back_under_our_number() -> None:
    source = phone(corpus.BUFFERS)
    assert source.creds.me
    me = replace(source.creds.me, lid="100000007919131@lid")
    source = replace(source, creds=replace(source.creds, me=me))
    over = there(source).phone
    assert over.device.lid == "100000007919131:12@lid"
    own = [one for one in over.sender_keys if one.address == Address("100000007919131", 1, 12)]
    assert len(own) == 4
    names = {one.key for one in _of(back(over).phone, SenderKey) if any(two.private for two in one.states)}
    assert names == {f"sender-key-{one.group}::{corpus.BUFFERS}::12" for one in own}


def test_a_peers_sender_key_comes_back_under_both_of_its_names() -> None:
    source = with_records(phone(corpus.BUFFERS), _sender_key(NUMBER, _sender_state(1)), without=(SenderKey,))
    over = there(source, lid_map=[(LID, NUMBER)]).phone
    assert [one.address.whatsmeow for one in over.sender_keys] == [f"{LID}_1:0"]
    assert {one.address.baileys for one in _of(back(over).phone, SenderKey)} == {f"{NUMBER}.0", f"{LID}.0"}
    assert {one.address.baileys for one in _of(back(over, major=7).phone, SenderKey)} == {f"{NUMBER}.0", f"{LID}_1.0"}
    assert {one.address.baileys for one in _of(back(over, before=source).phone, SenderKey)} == {f"{NUMBER}.0"}


def test_a_private_half_of_zeros_is_none() -> None:
    """Go writes one for the key of a peer."""
    made = _sender_key(NUMBER, _sender_state(1, private=bytes(32)))
    over = there(with_records(phone(corpus.BUFFERS), made, without=(SenderKey,))).phone
    assert [one.states[0].private for one in _of(back(over).phone, SenderKey)] == [None]
    assert [one.states[0].private for one in _of(back(over, major=7).phone, SenderKey)] == [b""]


def test_the_newest_sender_key_comes_first_in_go_and_last_in_node() -> None:
    made = _sender_key(NUMBER, _sender_state(1), _sender_state(2), _sender_state(3))
    over = there(with_records(phone(corpus.BUFFERS), made, without=(SenderKey,))).phone
    assert [one.key_id for one in over.sender_keys[0].states] == [3, 2, 1]
    assert _of(back(over).phone, SenderKey) == [made]


def test_of_two_states_with_one_id_the_one_that_node_uses_is_carried() -> None:
    read, again = _sender_state(1, iteration=9), _sender_state(1, iteration=2)
    sent = _sender_state(2, iteration=3, private=b"p" * 32), _sender_state(2, iteration=8, private=b"p" * 32)
    made = _sender_key(NUMBER, read, again, *sent)
    over = there(with_records(phone(corpus.BUFFERS), made, without=(SenderKey,))).phone
    assert [(one.key_id, one.iteration) for one in over.sender_keys[0].states] == [(2, 8), (1, 9)]


def test_the_same_sender_key_in_two_rows_has_gone_as_far_as_the_further() -> None:
    rows = _sender_key(NUMBER, _sender_state(1, iteration=9)), _sender_key(LID, _sender_state(1, iteration=2))
    over = there(with_records(phone(corpus.BUFFERS), *rows, without=(SenderKey,)), lid_map=[(LID, NUMBER)]).phone
    assert [one.iteration for one in over.sender_keys[0].states] == [9]


def test_the_seed_of_a_group_message_passed_over_becomes_its_keys() -> None:
    made = _sender_key(NUMBER, replace(_sender_state(1), message_seeds=(MessageSeed(4, b"\x09" * 32),)))
    over = there(with_records(phone(corpus.BUFFERS), made, without=(SenderKey,))).phone
    found = over.sender_keys[0].states[0].message_keys[0]
    assert (found.iteration, found.seed) == (4, b"\x09" * 32)
    assert found.iv + found.cipher_key == _hkdf(b"\x09" * 32, b"WhisperGroup", 48)
    assert _of(back(over).phone, SenderKey) == [made]


def test_uploaded_are_the_pre_keys_below_the_first_that_is_not() -> None:
    source = phone(corpus.BUFFERS)
    first = sorted(one.id for one in _of(source, PreKey))[5]
    creds = replace(source.creds, first_unuploaded_pre_key_id=first)
    for one in there(replace(source, creds=creds)).phone.pre_keys:
        assert one.uploaded == (one.key_id < first)


@pytest.mark.parametrize(("ids", "fresh"), [([3, 119], True), ([3, 120], False), ([], True)])
def test_no_number_of_a_pre_key_is_given_out_again(ids: list[int], fresh: bool) -> None:
    source = phone(corpus.BUFFERS)
    pair = _of(source, PreKey)[0].pair
    over = there(with_records(source, *(PreKey(n, pair) for n in ids), without=(PreKey,))).phone
    made = [one for one in over.pre_keys if one.key == FRESH]
    assert [(one.key_id, one.uploaded) for one in made] == ([(121, False)] if fresh else [])
    returned = back(over)
    assert [one.count for one in returned.left_out if one.key == "pre-key"] == ([1] if fresh else [])
    assert {one.id for one in _of(returned.phone, PreKey)} == set(ids)
    creds = returned.phone.creds
    assert creds.next_pre_key_id == creds.first_unuploaded_pre_key_id == (122 if fresh else 121)


def test_a_collection_whose_hash_has_drifted_is_left_out_alone() -> None:
    source = phone(corpus.BUFFERS)
    first, *others = _of(source, AppStateVersion)
    drifted = replace(first, hash=bytes([first.hash[0] ^ 1]) + first.hash[1:])
    over = there(with_records(source, drifted, *others, without=(AppStateVersion,)))
    assert {one.name for one in over.phone.app_state_versions} == {one.name for one in others}
    assert {one.name for one in over.phone.mutation_macs} <= {one.name for one in others}
    assert [one.what for one in over.left_out if one.key == first.key] == [
        "its hash does not fit its values: whatsmeow syncs it from the start"
    ]


def test_a_collection_that_was_never_synced_is_left_out() -> None:
    empty = AppStateVersion("regular", 0, bytes(128), {})
    over = there(with_records(phone(corpus.BUFFERS), empty, without=(AppStateVersion,)))
    assert over.phone.app_state_versions == ()
    assert empty.key in {one.key for one in over.left_out}


def test_the_value_of_an_index_is_the_one_that_was_set_last() -> None:
    over = there(phone(corpus.BUFFERS)).phone
    newer = replace(over.mutation_macs[0], version=99, value_mac=b"n" * 32)
    returned = back(replace(over, mutation_macs=(newer, *over.mutation_macs))).phone
    found = next(one for one in _of(returned, AppStateVersion) if one.name == newer.name)
    assert found.value_macs[newer.index_mac] == newer.value_mac


def test_keys_of_messages_passed_over_come_back_from_the_rows_before_and_are_named_without() -> None:
    chain = Chain(RECEIVING, 9, b"r" * 32, {3: b"a" * 32, 8: b"b" * 32})
    source = with_records(phone(corpus.BUFFERS), session("7.0", state(1, chains={**state(1).chains, key(2): chain})))
    over = there(source).phone
    current = over.sessions[0].current
    used = replace(current.receivers[0], index=12, message_keys=current.receivers[0].message_keys[1:])
    later = replace(used.message_keys[0], index=11)
    used = replace(used, message_keys=(*used.message_keys, later))
    over = replace(over, sessions=(replace(over.sessions[0], current=replace(current, receivers=(used,))),))
    for before, kept, lost in ((source, {8: b"b" * 32}, 1), (None, {}, 2)):
        returned = back(over, before=before)
        assert _of(returned.phone, Session)[0].states[0].chains[key(2)] == Chain(RECEIVING, 11, b"r" * 32, kept)
        assert [(one.key, one.count) for one in returned.left_out] == [("session-7.0", lost)]


def test_a_session_built_after_the_takeover_closes_the_one_before() -> None:
    source = with_records(phone(corpus.BUFFERS), session("7.0", state(1)))
    over = there(source).phone
    new = there(with_records(source, session("7.0", state(40)))).phone.sessions[0].current
    over = replace(over, sessions=(replace(over.sessions[0], current=new, previous=(over.sessions[0].current,)),))
    states = _of(back(over, before=source).phone, Session)[0].states
    assert [(one.base_key, one.closed) for one in states] == [(key(42), -1), (key(3), NOW)]
    assert states[0].used > states[1].used


def test_a_session_built_after_the_takeover_goes_where_baileys_looked_for_the_peer() -> None:
    source = with_records(phone(corpus.BUFFERS), session(f"{NUMBER}.0", state(1)))
    over = there(source, lid_map=[(LID, NUMBER)]).phone
    new = replace(over.sessions[0].current, base_key=key(90))
    over = replace(over, sessions=(replace(over.sessions[0], current=new),))
    assert [one.key for one in _of(back(over, before=source).phone, Session)] == [f"session-{NUMBER}.0"]
    assert [one.key for one in _of(back(over).phone, Session)] == [f"session-{LID}.0"]


def test_nothing_is_taken_from_the_keys_of_another_pairing() -> None:
    over, other = there(phone(corpus.BUFFERS)).phone, phone(corpus.PAIRED)
    returned = back(over, before=other)
    assert "lastPropHash" not in returned.phone.creds.rest
    assert [one.key for one in returned.notices] == ["creds"]
    assert returned.phone.creds.rest == back(over).phone.creds.rest


def test_what_whatsmeow_has_no_place_for_stays_with_the_phone() -> None:
    kept = OtherKey("anything", [1]), LidMapping("77050000001", "200000000000001", is_reverse=False)
    source = with_records(phone(corpus.BUFFERS), *kept)
    over = there(source)
    assert ("other", 1) in {(one.key, one.count) for one in over.left_out}
    assert kept[0] in back(over.phone, before=source).phone.records
    assert kept[1] in back(replace(over.phone, lid_map=()), before=source).phone.records


def test_baileys_6_has_no_place_for_tokens_and_an_empty_one_is_none() -> None:
    over = there(phone(corpus.SEVENTH)).phone
    assert [one.count for one in back(over).left_out if one.key == "tctoken"] == [len(over.privacy_tokens)]
    empty = Token("1@lid", b"", 5, 5)
    made = there(with_records(phone(corpus.SEVENTH), empty, without=(Token,)))
    assert made.phone.privacy_tokens == ()
    assert empty.key in {one.key for one in made.left_out}


def test_damaged_rows_are_named_on_both_ways() -> None:
    source = replace(phone(corpus.BUFFERS), damaged=(BadKey("session-1.0", "is odd"),))
    over = there(source)
    assert ("session-1.0", "damaged: is odd") in {(one.key, one.what) for one in over.left_out}
    returned = back(replace(over.phone, damaged=source.damaged))
    assert ("session-1.0", "damaged: is odd") in {(one.key, one.what) for one in returned.left_out}


def test_a_name_that_postgres_would_not_take_is_made_so_that_it_does() -> None:
    source = phone(corpus.BUFFERS)
    assert source.creds.me
    me = replace(source.creds.me, name="a\0b\ud83d")
    assert there(replace(source, creds=replace(source.creds, me=me))).phone.device.push_name == "ab?"


def test_a_phone_that_was_never_paired_cannot_be_converted() -> None:
    with pytest.raises(BadKey, match="never paired"):
        there(phone(corpus.PENDING))


@given(st.data())
def test_no_phone_that_can_be_read_raises_on_the_way_there_and_back(data: st.DataObject) -> None:
    rows = {key_type(row.key): row for row in phone(data.draw(st.sampled_from(PAIRED))).rows() if row.type == JSON}
    for kind in data.draw(st.sets(st.sampled_from(sorted(rows)), min_size=1, max_size=3)):
        value = changed(json.loads(base64.b64decode(rows[kind].value)), data)
        rows[kind] = Row(rows[kind].key, base64.b64encode(json.dumps(value).encode()), JSON)
    try:
        source = BaileysPhone.of_rows(rows.values())
        over = there(source).phone
    except BadKey:  # of creds
        return
    refused = refusals(source)
    refusals_to_return(over)
    assert refused or WhatsmeowPhone.of_rows(over.rows()) == over
    for major in (6, 7):
        returned = back(over, major=major, before=source).phone
        assert not BaileysPhone.of_rows(returned.rows()).damaged


@given(
    st.builds(
        Fingerprint,
        st.none() | st.integers(0, 2**32 - 1),
        st.none() | st.integers(0, 2**32 - 1),
        st.lists(st.integers(0, 2**32 - 1)).map(tuple),
    )
)
def test_a_fingerprint_goes_through_protobuf(fingerprint: Fingerprint) -> None:
    assert app_state.of_protobuf(app_state.to_protobuf(fingerprint)) == fingerprint


@given(st.binary())
def test_no_bytes_of_a_fingerprint_raise(data: bytes) -> None:
    app_state.of_protobuf(data)


def test_a_fingerprint_that_cannot_be_read_is_left_out_and_the_key_is_not() -> None:
    over = there(phone(corpus.BUFFERS)).phone
    broken = AppStateKey(b"\1\2", b"k" * 32, 5, b"\xff")
    returned = back(replace(over, app_state_keys=(broken,)))
    assert [one.key for one in returned.left_out if "fingerprint" in one.what] == ["app-state-sync-key-AQI="]
    assert returned.phone.creds.app_state_key_id == "AQI="


def _carried(*states: Any) -> Any:
    return there(with_records(phone(corpus.BUFFERS), session("7.0", *states))).phone.sessions[0]


def _returned(*states: Any) -> Any:
    over = there(with_records(phone(corpus.BUFFERS), session("7.0", *states))).phone
    return _of(back(over).phone, Session)[0]


def _of(source: BaileysPhone, kind: Any) -> list[Any]:
    return [record for record in source.records if isinstance(record, kind)]


def _values(source: BaileysPhone, kind: Any = object) -> dict[str, Any]:
    """What rows say, the order of the sessions in one left out: Baileys keeps them by when they were used."""
    return {record.key: record.value() for record in source.records if isinstance(record, kind)}


def _not_needed(source: BaileysPhone) -> set[tuple[str, int]]:
    kinds = {"sender-key-memory": SenderKeyMemory, "device-list": DeviceList}
    return {(name, count) for name, kind in kinds.items() if (count := len(_of(source, kind)))}


def _learned(source: BaileysPhone) -> set[str]:
    """What only whatsmeow knows of a phone of Baileys 7: our own LID, and the identity behind each session."""
    assert source.creds.me
    if source.major == 6:
        return set()
    number, lid = number_of(source.creds.me.jid), number_of(source.creds.me.lid or "")
    known = {one.address.baileys for one in _of(source, IdentityKey)}
    new = {one.address.baileys for one in _of(source, Session)} | {f"{lid}_1.0"}
    return {f"identity-key-{one}" for one in new - known} | {f"lid-mapping-{number}", f"lid-mapping-{lid}_reverse"}


def _forgetful(source: BaileysPhone) -> dict[str, Any]:
    """What rows say but for what whatsmeow does not keep."""
    values = _values(source)
    for record in source.records:
        if isinstance(record, SenderKeyMemory | DeviceList):
            del values[record.key]
        for entry in values[record.key]["_sessions"].values() if isinstance(record, Session) else ():
            index = entry["indexInfo"]
            index["closed"] = index["closed"] == -1
            del index["baseKeyType"], index["used"], index["created"]
            if "pendingPreKey" in entry:
                del entry["currentRatchet"]["lastRemoteEphemeralKey"]
            for chain in entry["_chains"].values():
                chain["messageKeys"] = {}
    return values


def _sender_key(user: str, *states: SenderKeyState) -> SenderKey:
    return SenderKey(GROUP, Address.of_baileys(f"{user}.0", ""), states)


def _sender_state(key_id: int, iteration: int = 0, private: bytes | None = None) -> SenderKeyState:
    return SenderKeyState(key_id, iteration, bytes([key_id]) * 32, key(key_id), private, ())


def _hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with a salt of zeros, written out."""
    pseudorandom = hmac.digest(bytes(32), secret, hashlib.sha256)
    out = block = b""
    for n in range(1, length // 32 + 2):
        block = hmac.digest(pseudorandom, block + info + bytes([n]), hashlib.sha256)
        out += block
    return out[:length]
