"""A WhatsApp server on loopback, for drills and tests: real clients, real crypto, faults made on the wire."""

from wa_sessions.emulator.accounts import Device, Phone
from wa_sessions.emulator.app_state import AppStateDamage
from wa_sessions.emulator.control import Emulator
from wa_sessions.emulator.errors import (
    EmulatorError,
    Malformed,
    NotConnected,
    NotWaiting,
    PairingRefused,
    UnsupportedPlatform,
)
from wa_sessions.emulator.faults import Delay, Fault, LoginFailure, Silence
from wa_sessions.emulator.logins import Login, overlapping
from wa_sessions.emulator.network import Course, Stanza
from wa_sessions.emulator.stanza import JID, Node

__all__ = [
    "JID",
    "AppStateDamage",
    "Course",
    "Delay",
    "Device",
    "Emulator",
    "EmulatorError",
    "Fault",
    "Login",
    "LoginFailure",
    "Malformed",
    "Node",
    "NotConnected",
    "NotWaiting",
    "PairingRefused",
    "Phone",
    "Silence",
    "Stanza",
    "UnsupportedPlatform",
    "overlapping",
]
