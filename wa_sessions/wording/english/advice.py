"""What to do about a phone, in English."""

from wa_sessions.wording.phrases import Template

ADVICE: dict[str, Template] = {
    "node_qr_waits": "a QR waits: scan it with the phone, under WhatsApp, Linked devices: wa-sessions qr {phone}",
    "still_owned": "a worker of ours still has it; which, and how that is: wa-sessions workers",
    "node_keys_in_quarantine": (
        "its keys are in quarantine; back without a QR: wa-sessions restore {operation}, then start the Node "
        "backend again; with a new QR: start it, and scan what comes: wa-sessions qr {phone} --watch"
    ),
    "node_logged_out": (
        "it needs a new QR: start the Node backend again, which makes one, and scan it: wa-sessions qr {phone} --watch"
    ),
    "node_pending": (
        "it needs a QR, which the Node backend makes when it starts; to see it come: wa-sessions qr {phone} --watch"
    ),
    "node_force_closed": (
        "{closer} closed it on purpose; to connect it, start the Node backend again; what was done: "
        "wa-sessions timeline {phone}"
    ),
    "somebody": "somebody",
    "node_disconnected": "the Node backend has not connected it; its log may say why: wa-sessions logs --pm2 NAME",
    "strange_status": (
        "the backend gave it a status that is not known here; its log may say more: wa-sessions logs --pm2 NAME"
    ),
    "node_closed_at_limit": (
        "{counter}: the backend closed it, as its log says, and a new QR is needed: wa-sessions qr {phone} --watch"
    ),
    "node_closed": (
        "the backend closed it, as its log says, and has not connected it since; a new QR is needed: wa-sessions "
        "qr {phone} --watch"
    ),
    "node_at_limit": "{counter}: the backend should have closed it; look whether it did: wa-sessions logs --pm2 NAME",
    "node_critical": (
        "at one more such error the Node backend closes it and asks for a new QR: keep the phone at hand; what "
        "fails: wa-sessions errors {phone}"
    ),
    "no_schema": "nothing is recorded in this database yet: wa-sessions db upgrade",
    "no_permission": (
        "GRANT this database role USAGE on the schema wa_sessions and SELECT on its tables; then look again: "
        "wa-sessions stats {phone}"
    ),
    "logs_not_read": "the Node backend runs it and nobody reads its logs here: wa-sessions logs --pm2 NAME --record",
    "logs_in_doubt": "{reason}; look at them: wa-sessions logs --pm2 NAME",
    "node_connects": (
        "wait: the Node backend connects it; if that goes on, its log may say why: wa-sessions logs --pm2 NAME"
    ),
    "node_messages_fail": (
        "what failed is lost unless it is written again, as no counter closes the session for it; if it goes on, "
        "start the Node backend again; how much fails: wa-sessions logs --pm2 NAME {phone}"
    ),
    "node_warning": "wait: the session goes on, and the counter resets when the backend says so or connects it again",
    "waba_connected": "nothing to do here: the official API runs it, without keys that could break",
    "waba_down": "the official API runs it: look where that is set up, as nothing here can connect it",
    "foreign_type": (
        "phones of the type {kind} are not known here: look at what runs them; all phones: wa-sessions sessions"
    ),
    "hangs": (
        "its session hangs in its worker: see the worker's log, then stop it and start it again; which that is: "
        "wa-sessions workers"
    ),
    "faulted_away": (
        "our own program failed with it five times: report the worker's log to its developers; to try again: "
        "wa-sessions run {phone}"
    ),
    "keys_in_quarantine_away": (
        "its keys are in quarantine; back without a QR: wa-sessions restore {operation}; with a new QR: "
        "wa-sessions run {phone}"
    ),
    "linked_by_run": "link it again by QR: wa-sessions run {phone}",
    "closed_away": "it was closed on purpose; to connect: wa-sessions run {phone}",
    "replaced_away": "another program uses these keys: stop it, then wa-sessions run {phone}",
    "banned_for_a_while_away": "WhatsApp has banned it for a time; after that: wa-sessions run {phone}",
    "account_away": "look into the account on the phone, then wa-sessions run {phone}",
    "outdated_away": "WhatsApp refuses this version: upgrade neonize, then wa-sessions run {phone}",
    "no_worker": "no worker runs it: wa-sessions run {phone}",
    "qr_waits": "scan the QR on the phone, under WhatsApp, Linked devices: wa-sessions qr {phone}",
    "qr_comes": "a QR comes in a moment: wa-sessions qr {phone} --watch",
    "pairing_expired": "nobody scanned the QR; show a new one: wa-sessions relink {phone}",
    "linked_by_relink": "link it again by QR: wa-sessions relink {phone}",
    "keys_in_quarantine": (
        "its keys are in quarantine; back without a QR: wa-sessions restore {operation}; with a new QR: "
        "wa-sessions relink {phone}"
    ),
    "closed": "it was closed on purpose; to connect: wa-sessions restart {phone}",
    "replaced": "another program uses these keys: stop it, then wa-sessions restart {phone}",
    "login_refused": "look into the account on the phone, then wa-sessions restart {phone}",
    "outdated": (
        "WhatsApp refuses this version: upgrade neonize, then stop its worker and start it again; which that is: "
        "wa-sessions workers"
    ),
    "banned_for_a_while": (
        "WhatsApp has banned it for a time; it connects again by itself when that is over; until when: wa-sessions"
        " stats {phone}"
    ),
    "banned": (
        "WhatsApp has banned it and told no end: look at the account on the phone, then wa-sessions restart {phone}"
    ),
    "faulted": "our own program failed with it; to try again: wa-sessions restart {phone}",
    "waiting_for_store": (
        "the worker cannot reach its database; it comes back by itself once that answers; what happened: "
        "wa-sessions timeline {phone}"
    ),
    "stopped": "its worker is ending; start another: wa-sessions run {phone}",
    "keeps_crashing": (
        "its process ends again and again: look in the worker's log for why; to try before its next attempt: "
        "wa-sessions restart {phone}"
    ),
    "crashed": (
        "wait: it connects again by itself in a new process; if that goes on, the worker's log says why; how "
        "often: wa-sessions timeline {phone}"
    ),
    "unreachable": (
        "wait: it connects again by itself; if that goes on, look at the network and the worker's log; how often: "
        "wa-sessions timeline {phone}"
    ),
    "status_overwritten": (
        "its status was written by somebody else than its worker; to have it written anew: wa-sessions restart {phone}"
    ),
    "begins": "wait: its worker begins with it; if that goes on: wa-sessions timeline {phone}",
    "at_limit": "{counter}: its worker closes it now, and a new QR is needed: wa-sessions qr {phone} --watch",
    "critical": (
        "one more such error closes it and asks for a new QR: keep the phone at hand; what fails: wa-sessions "
        "errors {phone}"
    ),
    "reconnects": "wait: it connects again by itself; if that goes on, look at the network and the worker's log",
    "warning": "wait: the damage mends itself, and the counter resets when something decrypts again",
    "messages_set_aside": (
        "{n} message is set aside: wa-sessions inbox {phone} --dead",
        "{n} messages are set aside: wa-sessions inbox {phone} --dead",
    ),
    "message_waits": "a message has waited {minutes} min for its handler: wa-sessions inbox {phone}",
}
