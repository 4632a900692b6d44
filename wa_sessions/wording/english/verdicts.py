"""What a verdict of ``check`` rests on, in English."""

from wa_sessions.wording.phrases import Template

_COUNTERS = "{bad_mac}, {bad_decrypt}"

VERDICTS: dict[str, Template] = {
    "logged_out": "logged out",
    "unobserved": "{why}",
    "nobody_observes": "nobody observes it",
    "few_keys": ("{n} key, fewer than {few}", "{n} keys, fewer than {few}"),
    "stale": "last observed {age} s ago, more than {freshness} s",
    "message_waits": "a message has waited {minutes} min for its handler",
    "messages_set_aside": (
        "{n} message is set aside (wa-sessions inbox {phone} --dead)",
        "{n} messages are set aside (wa-sessions inbox {phone} --dead)",
    ),
    "closed_in_logs": f"{_COUNTERS}: the backend closed it, as its log says",
    "next_error_closes": f"{_COUNTERS}: the next error closes it",
    "is_being_closed": f"{_COUNTERS}: it is being closed",
    "backend_should_close": f"{_COUNTERS}: the backend should have closed it",
    "errors_counted": _COUNTERS,
    "messages_fail": "{uncounted}",
    "well": "{state}, " + _COUNTERS,
    "no_phone": "no phone to judge",
    "and_more": "and {n} more",
}
