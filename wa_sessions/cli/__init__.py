"""The command line: parse, call an action, render."""


def main() -> None:
    """Run the command ``wa-sessions``."""
