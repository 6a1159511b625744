"""A link to a kevy primary as a table: its states, and the tokens that are allowed in each."""

from __future__ import annotations

from enum import Enum

from kevy_ring.replica.protocols.conversation import Transitions


class KevyState(Enum):
    """The states of a link to a kevy primary."""

    HANDSHAKE = "REPLICATE sent"
    ACCEPTED = "acknowledged; frames or a snapshot may come"
    SNAPSHOT = "in a snapshot"
    LIVE = "in the stream of frames"
    ENDED = "ended between two units"
    FAILED = "broken"


class KevyToken(Enum):
    """The units that a kevy primary may send, and the end of the stream."""

    ACK = "+ACK"
    SNAPSHOT = "+SNAPSHOT"
    CHUNK = "a chunk"
    SNAPSHOT_END = "+SNAPSHOT_END"
    PING = "+PING"
    FRAME = "a frame"
    REFUSAL = "an error line"
    END = "the end of the stream"


_S, _T = KevyState, KevyToken
TRANSITIONS: Transitions[KevyState, KevyToken] = {
    _S.HANDSHAKE: {_T.ACK: _S.ACCEPTED, _T.REFUSAL: _S.FAILED},
    _S.ACCEPTED: {_T.SNAPSHOT: _S.SNAPSHOT, _T.FRAME: _S.LIVE, _T.PING: _S.ACCEPTED, _T.END: _S.ENDED},
    _S.SNAPSHOT: {_T.CHUNK: _S.SNAPSHOT, _T.PING: _S.SNAPSHOT, _T.SNAPSHOT_END: _S.LIVE},
    _S.LIVE: {_T.FRAME: _S.LIVE, _T.PING: _S.LIVE, _T.SNAPSHOT: _S.SNAPSHOT, _T.END: _S.ENDED},
    _S.ENDED: {},
    _S.FAILED: {},
}
