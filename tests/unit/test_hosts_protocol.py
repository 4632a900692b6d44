"""What hosts and the worker say to each other: every frame there and back, and anything else."""

import dataclasses
import json
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.worker.hosts import protocol
from wa_sessions.worker.hosts.protocol import Frame, ProtocolError, decode, encode
from wa_sessions.worker.message import IncomingMessage

FRAMES = get_args(Frame)
_PLAIN = st.text(st.characters(exclude_categories=["Cs"]))
_OF = {
    str: _PLAIN,
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(),
    type(None): st.none(),
    list[str]: st.lists(_PLAIN),
}


def _values(kind: Any) -> st.SearchStrategy[Any]:
    if kind in _OF:
        return _OF[kind]
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return _instances(kind)
    if isinstance(kind, type):  # an enumeration
        return st.sampled_from(list(kind))  # type: ignore[call-overload]  # which has members
    return st.one_of(*(_values(part) for part in get_args(kind)))


def _instances(kind: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **{name: _values(hint) for name, hint in get_type_hints(kind).items()})


@pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_frame_comes_out_as_it_went_in(kind: type[Any], data: st.DataObject) -> None:
    frame = data.draw(_instances(kind))
    line = encode(frame)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert decode(line) == frame


@given(st.one_of(st.binary(), _PLAIN.map(str.encode)))
def test_no_line_is_too_strange(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)


def test_no_line_is_too_deep() -> None:
    with pytest.raises(ProtocolError):
        decode(b"[" * 100_000)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(FRAMES), st.data())
def test_other_fields_are_refused_or_of_the_right_kind(kind: type[Any], data: st.DataObject) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    values = data.draw(st.dictionaries(st.sampled_from([*names, "other", "frame"]), _json))
    line = json.dumps(values | {"frame": kind.__name__}).encode()
    try:
        frame = decode(line)
    except ProtocolError:
        return
    assert decode(encode(frame)) == frame


def test_an_unknown_frame_is_named_and_nothing_else_of_it() -> None:
    with pytest.raises(ProtocolError, match="unknown frame 'Later'"):
        decode(b'{"frame": "Later", "text": "secret"}')


def test_a_message_keeps_its_bytes() -> None:
    message = IncomingMessage(
        "A", "c", "s", None, False, False, 1, "conversation", "hi \u0000 \U0001f600", bytes(range(256))
    )
    frame = protocol.MessageArrived(3, message)
    assert decode(encode(frame)) == frame
