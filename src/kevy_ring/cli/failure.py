"""The error of a command that ran."""


class Failure(Exception):
    """The command ran and something is wrong: one line for the user, and exit code 1."""
