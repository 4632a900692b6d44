"""Binary XML: what is written is read back, and nothing but binary XML is read."""

import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.emulator.codec import Codec, Tokens
from wa_sessions.emulator.errors import Malformed, UnsupportedPlatform
from wa_sessions.emulator.neonize_files import library_path
from wa_sessions.emulator.stanza import GROUP, JID, LID, SERVER, SERVER_JID, Node
from wa_sessions.emulator.tokens import load_tokens

CODEC = Codec(Tokens(("", "stream-start", "message"), (("one", "two"),)))

words = st.text(min_size=1, max_size=300)
addresses = st.builds(JID, st.text("0123456789", min_size=1, max_size=15), st.sampled_from([SERVER, LID, GROUP]))
devices = st.builds(JID, st.text("0123456789", min_size=1), st.sampled_from([SERVER, LID]), st.integers(0, 255))
attributes = st.dictionaries(words, words | addresses | devices | st.just(SERVER_JID), max_size=4)
leaves = st.builds(Node, words, attributes, st.none() | st.binary(max_size=600))
stanzas = st.recursive(
    leaves,
    lambda inner: st.builds(Node, words, attributes, st.lists(inner, min_size=1, max_size=5).map(tuple)),
    max_leaves=12,
)


@given(stanzas)
def test_a_stanza_is_read_as_it_was_written(node: Node) -> None:
    assert CODEC.decode(CODEC.encode(node)) == node


@given(stanzas)
def test_a_compressed_stanza_is_read_too(node: Node) -> None:
    assert CODEC.decode(b"\2" + zlib.compress(CODEC.encode(node)[1:])) == node


@given(st.binary(max_size=200))
def test_garbage_is_malformed_or_a_stanza(data: bytes) -> None:
    with suppress(Malformed):
        CODEC.decode(data)


@pytest.mark.parametrize("size", [255, 256, (1 << 20) - 1, 1 << 20])
def test_lengths_around_the_limits(size: int) -> None:
    node = Node("blob", {}, bytes(size))
    assert CODEC.decode(CODEC.encode(node)) == node


def test_a_long_list() -> None:
    node = Node("list", {}, tuple(Node("item") for _ in range(300)))
    assert CODEC.decode(CODEC.encode(node)) == node


def test_absent_attributes_are_not_sent_and_numbers_become_text() -> None:
    sent = Node("ack", {"type": None, "id": "", "count": 0, "t": 7})
    assert CODEC.decode(CODEC.encode(sent)) == Node("ack", {"count": "0", "t": "7"})


@pytest.mark.parametrize(
    ("packed", "text"),
    [(b"\xff\x02\x12\x3a", "123-"), (b"\xff\x82\x12\x3f", "123"), (b"\xfb\x01\xaf", "AF"), (b"\xff\x01\xb0", ".0")],
)
def test_packed_strings(packed: bytes, text: str) -> None:
    assert CODEC.decode(b"\0\xf8\x01" + packed) == Node(text)


def test_dictionary_words() -> None:
    assert CODEC.decode(b"\0\xf8\x02\x02\xf8\x01\xf8\x01\xec\x01") == Node("message", {}, (Node("two"),))


@pytest.mark.parametrize("data", [b"\0\xf8\0", b"\0\xf8\x01\xec\x09", b"\0" + b"\xf8\x02\xfc\x01a\xf8\x01" * 40])
def test_what_no_client_sends(data: bytes) -> None:
    with pytest.raises(Malformed):
        CODEC.decode(data)


def test_a_bomb_does_not_explode() -> None:
    with pytest.raises(Malformed, match="too large"):
        CODEC.decode(b"\2" + zlib.compress(bytes(1 << 26)))


def test_the_installed_library_holds_the_dictionaries() -> None:
    tokens = load_tokens(library_path())
    assert tokens.single[1:3] == ("xmlstreamstart", "xmlstreamend")
    assert len(tokens.single) == 236
    assert tokens.double[0][:2] == ("read-self", "active")
    assert [len(words) for words in tokens.double] == [256] * 4


@pytest.mark.parametrize("blob", [b"MZ not an ELF file", b"\x7fELF\x02\x01" + bytes(12) + b"\xf3\0" + bytes(100)])
def test_other_libraries_are_refused_in_words(tmp_path: Path, blob: bytes) -> None:
    library = tmp_path / "neonize-linux-riscv64.so"
    library.write_bytes(blob)
    with pytest.raises(UnsupportedPlatform, match=r"riscv64\.so: the emulator"):
        load_tokens(library)


def test_a_stanza_is_asked_for_what_it_holds() -> None:
    node = Node("iq", {"to": SERVER_JID, "id": "1", "count": 3}, [Node("a", {}, [Node("b", {}, b"data")])])
    assert node.child("a", "c", "d") is None
    assert (node.data("a", "b"), node.text("nothing"), node.number("count")) == (b"data", "", 3)
    assert str(node) == '<iq to="s.whatsapp.net" id="1" count="3"><a><b>[4 bytes]</b></a></iq>'
    for ask in (lambda: node.need("b"), lambda: node.data("a"), lambda: node.jid("id"), lambda: node.number("to")):
        with pytest.raises(Malformed):
            ask()
