"""How a setting is shown that may hold a secret. What a mask leaves as it is holds none."""

import re

MASK = "***"
_LOGIN = r"(?s)(://[^\s:/@]*):.*@"
_WORD = r"(?is)((?:ssl)?password\s*=\s*)(?:'(?:\\.|[^'\\])*'|'.*|(?:\\.|[^\s'\\])+)"
_PLACE = r"(?s)(\w+://)(?:[^/?#\s]*@)?([^/?#\s]*)[/?#]?(.*)"


def whole(text: str) -> str:
    """Nothing of it.

    >>> whole("123456:ABC")
    '***'
    """
    return MASK if text else text


def login(text: str) -> str:
    """An address without its password.

    >>> login("postgresql://ops:geheim@db/shop"), login("host=db password='a b' user=ops")
    ('postgresql://ops:***@db/shop', 'host=db password=*** user=ops')
    """
    return re.sub(_LOGIN, rf"\1:{MASK}@", re.sub(_WORD, rf"\1{MASK}", text))


def receiver(text: str) -> str:
    """The address of a receiver of ours, whose query may be a key.

    >>> receiver("https://ops:geheim@msg.example/in?key=1")
    'https://ops:***@msg.example/in?***'
    """
    address, mark, query = text.partition("?")
    if "@" in query:  # which may be the end of a password
        return f"{address.partition('://')[0]}://{MASK}"
    return login(address) + (f"?{MASK}" if mark else "")


def hook(text: str) -> str:
    """The host alone: whoever knows the path of a webhook can write to it.

    >>> hook("https://hooks.example/T0/B0/geheim")
    'https://hooks.example/***'
    """
    place = re.fullmatch(_PLACE, text)
    if place is None:
        return whole(text)
    return f"{place[1]}{place[2]}/{MASK}" if place[3] or "@" in text else text
