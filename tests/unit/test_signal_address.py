import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.keys.signal_address import signal_address, twin, user_of

users = st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True)


@pytest.mark.parametrize(
    ("jid", "address"),
    [
        ("77051234567@s.whatsapp.net", "77051234567:0"),
        ("77051234567:2@s.whatsapp.net", "77051234567:2"),
        ("910010005551@lid", "910010005551_1:0"),
        ("910010005551:1@lid", "910010005551_1:1"),
        ("910010005551.1:1@lid", "910010005551_1:1"),
        ("77051234567:99@hosted", "77051234567_128:99"),
        ("910010005551:99@hosted.lid", "910010005551_129:99"),
    ],
)
def test_the_address_under_which_the_store_files_a_sender(jid: str, address: str) -> None:
    assert signal_address(jid) == address


@pytest.mark.parametrize("jid", ["", "@lid", "a:b:c@lid", "1:x@lid"])
def test_what_names_no_user_is_refused(jid: str) -> None:
    with pytest.raises(ValueError, match="no user"):
        signal_address(jid)


@given(users, users, st.integers(0, 99))
def test_the_twin_of_a_twin_is_the_same_device(number: str, lid: str, device: int) -> None:
    jid = f"{number}:{device}@s.whatsapp.net"
    assert twin(jid, lid) == f"{lid}:{device}@lid"
    assert twin(twin(jid, lid), number) == jid
    assert user_of(twin(jid, lid)) == lid
