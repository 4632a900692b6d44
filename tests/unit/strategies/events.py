"""Events of every kind, and JSON of any."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from wa_sessions.health.events.every import BY_KIND, Detail

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


def well_formed(hint: Any) -> st.SearchStrategy[Any]:
    """Values as the program itself writes them."""
    (wanted,) = (part for part in get_args(hint) if part is not type(None))
    of = {
        str: st.text(min_size=1, max_size=6),
        int: st.integers(0, 10**9),
        float: st.integers(0, 10**6).map(lambda number: number / 8),
        bool: st.booleans(),
        Mapping[str, Any]: st.dictionaries(st.text(max_size=3), JSON, max_size=2),
        tuple[str, ...]: st.lists(st.text(max_size=4), max_size=3).map(tuple),
    }
    return of[wanted] if wanted in of else st.sampled_from(list(wanted))


@st.composite
def details(draw: st.DrawFn) -> Detail:
    """An event of any kind, with every value or without some of those that may be missing."""
    kind = draw(st.sampled_from(list(BY_KIND.values())))
    hints = get_type_hints(kind)
    return kind(**{field.name: draw(st.none() | well_formed(hints[field.name])) for field in fields(kind)})
