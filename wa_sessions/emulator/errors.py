"""What can go wrong inside the emulator, and what is asked of it in vain."""


class EmulatorError(Exception):
    """The emulator cannot do what it was asked to."""


class NotWaiting(EmulatorError):
    """No client waits for that: the QR code was taken, has expired, or was never shown."""


class NotConnected(EmulatorError):
    """The device has no connection that the emulator could act upon."""


class PairingRefused(EmulatorError):
    """Client and phone do not agree on the code that was typed."""


class UnsupportedPlatform(EmulatorError):
    """The installed neonize library is of a kind the emulator cannot read."""


class Malformed(EmulatorError, ValueError):
    """Bytes or a stanza that no WhatsApp client sends."""
