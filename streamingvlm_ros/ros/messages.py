"""What the narrator says, as messages."""

from __future__ import annotations

from streamingvlm_ros.msg import Narration
from streamingvlm_ros.srv import Ask

from .. import types
from ..errors import StreamingVLMError
from ..types import NS_PER_S, Answer
from .conversions import to_time


def narration_message(narration: types.Narration, now_ns: int) -> Narration:
    """A narration as it is at `now_ns` on the node's clock, which its latency is taken from."""
    message = Narration(
        start=to_time(narration.start_ns),
        end=to_time(narration.end_ns),
        text=narration.text,
        silent=narration.silent,
        sequence=narration.sequence,
        frames=narration.frames,
        dropped=narration.dropped,
        latency=(now_ns - narration.newest_ns) / NS_PER_S,
    )
    message.header.stamp = to_time(narration.newest_ns)
    message.header.frame_id = narration.frame_id
    return message


def answer_response(outcome: Answer | StreamingVLMError) -> Ask.Response:
    """The service's response: an answer, or why there is none."""
    if isinstance(outcome, StreamingVLMError):
        return Ask.Response(success=False, message=str(outcome))
    return Ask.Response(
        success=True,
        answer=outcome.text,
        seen_from=to_time(outcome.seen_from_ns),
        seen_until=to_time(outcome.seen_until_ns),
        tokens=outcome.tokens,
    )
