"""The error a command ends with when the reason is known."""


class CommandError(Exception):
    """The command cannot do what was asked; the text is one sentence for the user (exit code 1)."""
