import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wa_sessions.errors import UsageError
from wa_sessions.keys.phone_ref import LONGEST, SHORTEST, PhoneRef, device_of, number_of, parse_phone

numbers = st.from_regex(r"[1-79][0-9]{6,14}", fullmatch=True)
separators = st.sampled_from(["", " ", "-", ".", "\u00a0", "\u2011", "\u2013", "(", ")", " - "])


@pytest.mark.parametrize(
    "text",
    [
        "77051234567",
        "+77051234567",
        "+7 705 123-45-67",
        "+7 (705) 123 45 67",
        " +7.705.123.45.67\n",
        "0077051234567",
        "+7\u00a0705\u00a0123\u201145\u201167",
        "\uff0b\uff17705 123 45 67",
        "+\u0667\u0667\u0660\u0665\u0661\u0662\u0663\u0664\u0665\u0666\u0667",
        "\u202a+7 705 123 45 67\u202c",
        "77051234567@s.whatsapp.net",
        "77051234567:27@s.whatsapp.net",
        "77051234567.0:27@s.whatsapp.net",
        "77051234567@c.us",
    ],
)
def test_a_number_in_the_spellings_people_use(text: str) -> None:
    assert parse_phone(text) == PhoneRef(digits="77051234567")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no phone"),
        ("   ", "no phone"),
        ("alice", "no phone"),
        ("8 705 123-45-67", "national spelling"),
        ("8 (916) 123-45-67", "national spelling"),
        ("0171 1234567", "national spelling"),
        ("+0171 1234567", "no phone"),
        ("123456", "6 digits"),
        ("7" * 16, "16 digits"),
        ("++77051234567", "no phone"),
        ("77051234567 89x", "no phone"),
        ("99887766:1@lid", "no phone's JID"),
        ("120363000000000001@g.us", "no phone's JID"),
        ("77051234567:x@s.whatsapp.net", "no phone's JID"),
        ("@s.whatsapp.net", "no phone's JID"),
        ("#", "no phone id"),
        ("#-1", "no phone id"),
        ("#x", "no phone id"),
        ("#" + "9" * 30, "no phone id"),
    ],
)
def test_what_is_no_phone_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        parse_phone(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["84901234567", "81312345678", "8613800138000", "880171234567"])
def test_other_countries_with_an_eight_are_no_national_spelling(text: str) -> None:
    assert parse_phone(text).digits == text


def test_a_row_is_named_by_its_id() -> None:
    assert parse_phone("#12") == PhoneRef(phone_id=12)
    assert parse_phone(" # 12 ") == PhoneRef(phone_id=12)
    assert str(parse_phone("#12")) == "#12"


@given(numbers, st.lists(separators, min_size=15, max_size=15), st.sampled_from(["+", "00"]))
def test_separators_mean_nothing(digits: str, between: list[str], plus: str) -> None:
    spelled = plus + "".join(digit + separator for digit, separator in zip(digits, between, strict=False))
    assert parse_phone(spelled).digits == digits


@given(numbers, st.integers(0, 99))
def test_a_jid_gives_number_and_device(digits: str, device: int) -> None:
    jid = f"{digits}:{device}@s.whatsapp.net"
    assert parse_phone(jid).digits == number_of(jid) == number_of(f"{digits}@s.whatsapp.net") == digits
    assert device_of(jid) == device
    assert device_of(f"{digits}@s.whatsapp.net") is None


@given(st.text(max_size=40) | st.text(string.digits + "+-# ()@:.", max_size=25))
def test_any_text_is_a_phone_or_a_usage_error(text: str) -> None:
    ref = _parsed(text)
    if isinstance(ref, UsageError):
        assert str(ref)
    else:
        assert (ref.digits is None) != (ref.phone_id is None)
        assert ref.digits is None or SHORTEST <= len(ref.digits) <= LONGEST
        assert parse_phone(str(ref)) == ref


def _parsed(text: str) -> PhoneRef | UsageError:
    try:
        return parse_phone(text)
    except UsageError as error:
        return error
