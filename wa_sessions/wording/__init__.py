"""Words for people, pure: what the policy has decided, said in sentences. Another language is one more table each."""


def counted(number: int, one: str) -> str:
    """A number of things.

    >>> counted(1, "key"), counted(12, "key")
    ('1 key', '12 keys')
    """
    return f"{number} {one}" if number == 1 else f"{number} {one}s"
