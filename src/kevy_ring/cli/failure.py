"""What went wrong in a run of the command, in one line for its user."""


class Failure(Exception):
    """The command ran and something is wrong: exit code 1."""
