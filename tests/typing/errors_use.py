"""The events and the errors, which need no compiled core. Checked, never run."""

from __future__ import annotations

from typing import assert_type

import kevy_ring
from kevy_ring import KevyRingError, OffsetGap, RoleTaken, SegmentError, __version__


def version() -> str:
    return __version__


def told_by_their_fields() -> None:
    try:
        kevy_ring.Ring.create(4096)
    except RoleTaken as error:
        assert_type(error.pid, int)
    except SegmentError as error:
        assert_type(error.reason, str)
        assert_type(error.errno, int)
    except OffsetGap as error:
        assert_type(error.got, int)
    except KevyRingError as error:
        assert_type(error, KevyRingError)
