"""What several events in a row that are alike say together, in English."""

from wa_sessions.wording.phrases import Template

TIMELINE: dict[str, Template] = {
    "many": "{n} times, at last: {last}",
    "message_pending": ("{n} message did not decrypt at first", "{n} messages did not decrypt at first"),
    "message_recovered": ("{n} message recovered", "{n} messages recovered"),
    "message_lost": ("{n} message lost", "{n} messages lost"),
    "message_recovered.too": "{n} recovered",
    "message_lost.too": "{n} lost",
    "unsteady": "the connection is unsteady: {what}",
    "disconnected": ("connection lost {n} time", "connection lost {n} times"),
    "stream_error": ("ended by WhatsApp {n} time", "ended by WhatsApp {n} times"),
    "connected": ("connected again {n} time", "connected again {n} times"),
    "no_answer": ("no answer to pings {n} time", "no answer to pings {n} times"),
    "answers_again": ("answers again {n} time", "answers again {n} times"),
}
"""``.too``: behind others."""
