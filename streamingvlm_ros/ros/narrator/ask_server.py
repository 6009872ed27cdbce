"""The service and the action `~/ask`, and the topic `~/answer`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode

from streamingvlm_ros.action import Ask as AskAction
from streamingvlm_ros.msg import Answer
from streamingvlm_ros.srv import Ask

from ...errors import QuestionError, StreamingVLMError
from ...history.store import History
from ...history.types import Entry
from ...time_format import cite_times
from ...types import AnswerMode, HistoryMoment, Question
from .. import qos
from ..messages import drop_on_timeout
from .ask_messages import answer_message, checked_mode, fill_result
from .history_server import NO_HISTORY
from .pipeline import INACTIVE, NarrationPipeline
from .question_queue import CANCELLED, Outcome, PendingQuestion

Goal: TypeAlias = ServerGoalHandle[AskAction.Goal, AskAction.Result, AskAction.Feedback]

_RESULT_TIMEOUT_S = 30
"""A goal's result can be fetched for this long after its end."""


class AskServer:
    """Passes questions on to the running pipeline; those that can't be answered get the reason.

    Each question waits in a thread of its own, up to max_questions, so that it delays nothing else.
    """

    def __init__(
        self,
        node: LifecycleNode,
        pipeline: Callable[[], NarrationPipeline | None],
        *,
        history: History | None,
        max_moments: int,
    ) -> None:
        """Answer questions in mode 'history' from up to `max_moments` moments of `history`."""
        self._node, self._pipeline = node, pipeline
        self._history, self._max_moments = history, max_moments
        self._goals: dict[bytes, PendingQuestion] = {}
        self._publisher = node.create_lifecycle_publisher(Answer, "~/answer", qos.PUBLISHED)
        self.service = node.create_service(
            Ask,
            "~/ask",
            self._on_request,
            qos_profile=qos.REQUESTS,
            callback_group=ReentrantCallbackGroup(),
        )
        self.action = ActionServer(
            node,
            AskAction,
            "~/ask",
            self._execute,
            # Mutually exclusive: a goal must not be cancelled while it is being accepted. Executing
            # a goal is outside the group.
            callback_group=MutuallyExclusiveCallbackGroup(),
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            goal_service_qos_profile=qos.REQUESTS,
            result_service_qos_profile=qos.REQUESTS,
            cancel_service_qos_profile=qos.REQUESTS,
            feedback_pub_qos_profile=qos.FEEDBACK,
            result_timeout=_RESULT_TIMEOUT_S,
        )

    def close(self) -> None:
        """Accept no more questions. Closing the pipeline ends those in progress."""
        self.action.destroy()
        self._node.destroy_service(self.service)
        self._node.destroy_lifecycle_publisher(self._publisher)

    def _on_request(self, request: Ask.Request, response: Ask.Response) -> Ask.Response:
        pending = PendingQuestion(request.timeout)
        return fill_result(response, self._answer(request, pending, on_text=lambda text: None))

    def _on_accepted(self, goal: Goal) -> None:
        self._goals[bytes(goal.goal_id.uuid)] = PendingQuestion(goal.request.timeout)
        executed = False
        with drop_on_timeout():  # publishing the goal's new status may time out
            goal.execute()
            executed = True
        if not executed:
            self.action.notify_execute(goal, None)

    def _on_cancel(self, goal: Goal) -> CancelResponse:
        if pending := self._goals.get(bytes(goal.goal_id.uuid)):
            pending.cancel(CANCELLED)
        return CancelResponse.ACCEPT

    def _execute(self, goal: Goal) -> AskAction.Result:
        offset = 0

        def send_feedback(text: str) -> None:
            nonlocal offset
            with drop_on_timeout():
                goal.publish_feedback(AskAction.Feedback(text=text, offset=offset))
            offset += len(text)

        pending = self._goals[bytes(goal.goal_id.uuid)]
        try:
            outcome = self._answer(goal.request, pending, on_text=send_feedback)
        finally:
            del self._goals[bytes(goal.goal_id.uuid)]
        with drop_on_timeout():
            if pending.cancelled:
                _set_cancelled(goal)
            elif outcome.answer:
                goal.succeed()
            else:
                goal.abort()
        return fill_result(AskAction.Result(), outcome)

    def _answer(
        self, request: Any, pending: PendingQuestion, *, on_text: Callable[[str], None]
    ) -> Outcome:
        """Answer a request of the service or the action; the outcome says why if that fails."""
        pipeline = self._pipeline()  # once: a transition in another thread may take it away
        if not pipeline:
            return Outcome(None, INACTIVE)
        try:
            mode = checked_mode(request)
            with pipeline.question_queue.slot(pending):
                question = self._question(request, mode, pipeline=pipeline)
                pipeline.question_queue.ask(question, pending, on_text=on_text)
                outcome = _with_times(question, pending.outcome(), on_text=on_text)
                outcome = _with_remembered(question, outcome)
                self._publish(question, outcome, mode=mode)
                return outcome
        except StreamingVLMError as error:
            return Outcome(None, str(error))

    def _question(self, request: Any, mode: AnswerMode, *, pipeline: NarrationPipeline) -> Question:
        """Return the question, with the frames or moments that its mode is answered from."""
        question = Question(request.question, request.max_tokens or None, request.remember)
        if mode is AnswerMode.RECENT:
            if not (frames := pipeline.recent_frames()):
                raise QuestionError("nothing has been seen yet: ask again when frames arrive")
            return replace(question, frames=frames)
        if mode is AnswerMode.HISTORY:
            return replace(question, moments=self._moments(request.question))
        return question

    def _moments(self, text: str) -> tuple[HistoryMoment, ...]:
        if not self._history:
            raise QuestionError(NO_HISTORY)
        moments = tuple(self._history.moments(text, self._max_moments))
        if not moments:
            raise QuestionError("nothing is in the history yet: ask again later")
        return moments

    def _publish(self, question: Question, outcome: Outcome, *, mode: AnswerMode) -> None:
        """Publish an answer, and add it to the history."""
        if not (answer := outcome.answer):
            return
        now_ns = int(self._node.get_clock().now().nanoseconds)
        with drop_on_timeout():
            self._publisher.publish(answer_message(question, outcome, mode=mode, now_ns=now_ns))
        if self._history and answer.text:
            self._history.add(
                Entry(answer.text, answer.seen_from_ns, answer.seen_until_ns, question.text)
            )


def _with_times(question: Question, outcome: Outcome, *, on_text: Callable[[str], None]) -> Outcome:
    """Append to an answer from the history when its moments were seen."""
    if not question.moments or not outcome.answer:
        return outcome
    stamps_ns = tuple(moment.frame.stamp_ns for moment in question.moments)
    times = cite_times(stamps_ns) if outcome.answer.text else cite_times(stamps_ns).lstrip()
    on_text(times)
    answer = replace(outcome.answer, text=outcome.answer.text + times)
    return replace(outcome, answer=answer, moments_ns=stamps_ns)


def _with_remembered(question: Question, outcome: Outcome) -> Outcome:
    """Set `remembered`, or say why not: the stream remembers complete answers only."""
    if not question.remember or not outcome.answer:
        return outcome
    if outcome.answer.complete:
        return replace(outcome, remembered=True)
    return replace(outcome, message=f"{outcome.message}; not remembered")


def _set_cancelled(goal: Goal) -> None:
    """Set the goal's state, which is possible only when its server knows of the cancel request."""
    while goal.is_active and not goal.is_cancel_requested:
        time.sleep(0.001)  # Wait until _on_cancel, which woke this thread, has returned.
    goal.canceled()
