"""subetha-ipc with records of any length."""

from bench.rivals.subetha import SubethaFrames

TRANSPORT = SubethaFrames
