"""The cases. A module has ``WHAT``, ``METRICS``, ``GOALS`` and ``contenders(quick) -> list[Contender]``."""
