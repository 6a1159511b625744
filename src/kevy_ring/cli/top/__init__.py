"""The command ``top``: all rings live on a terminal."""
