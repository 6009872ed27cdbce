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
from ...time_format import cite_times
from ...types import Question
from .. import qos
from ..publishing import drop_on_timeout
from .active import INACTIVE, Active
from .history_server import HistoryServer
from .messages import answer_message, reply
from .pending_question import CANCELLED, Outcome, PendingQuestion
from .questions import mode_of

Goal: TypeAlias = ServerGoalHandle[AskAction.Goal, AskAction.Result, AskAction.Feedback]

_RESULT_KEPT_S = 30
"""How long after its end a goal's result can be fetched; then it is forgotten."""


class AskServer:
    """Takes questions for whatever is active; one that nobody can answer is told why.

    Each question waits in a thread of its own, up to max_questions: nothing else is kept waiting.
    """

    def __init__(
        self,
        node: LifecycleNode,
        active: Callable[[], Active | None],
        history_server: HistoryServer,
        moments: int,
    ) -> None:
        """`moments` are what a question in mode 'history' is answered from."""
        self._node, self._active, self._history_server, self._moments = (
            node,
            active,
            history_server,
            moments,
        )
        self._goals: dict[bytes, PendingQuestion] = {}
        self._answers = node.create_lifecycle_publisher(Answer, "~/answer", qos.PUBLISHED)
        self.service = node.create_service(
            Ask,
            "~/ask",
            self._on_ask,
            qos_profile=qos.REQUESTS,
            callback_group=ReentrantCallbackGroup(),
        )
        self.action = ActionServer(
            node,
            AskAction,
            "~/ask",
            self._on_goal,
            # One after another: a goal can't be cancelled while it is being accepted. Its
            # execution is not in the group.
            callback_group=MutuallyExclusiveCallbackGroup(),
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            goal_service_qos_profile=qos.REQUESTS,
            result_service_qos_profile=qos.REQUESTS,
            cancel_service_qos_profile=qos.REQUESTS,
            feedback_pub_qos_profile=qos.FEEDBACK,
            result_timeout=_RESULT_KEPT_S,
        )

    def close(self) -> None:
        """Take no more questions. Those under way have ended when nothing is active any more."""
        self.action.destroy()
        self._node.destroy_service(self.service)
        self._node.destroy_lifecycle_publisher(self._answers)

    def _on_ask(self, request: Ask.Request, response: Ask.Response) -> Ask.Response:
        return reply(
            response, self._ask(request, PendingQuestion(request.timeout), lambda piece: None)
        )

    def _on_accepted(self, goal: Goal) -> None:
        self._goals[bytes(goal.goal_id.uuid)] = PendingQuestion(goal.request.timeout)
        executed = False
        with drop_on_timeout():  # the goal's status, in which it is told to have begun
            goal.execute()
            executed = True
        if not executed:
            self.action.notify_execute(goal, None)

    def _on_cancel(self, goal: Goal) -> CancelResponse:
        if pending := self._goals.get(bytes(goal.goal_id.uuid)):
            pending.end(CANCELLED)
        return CancelResponse.ACCEPT

    def _on_goal(self, goal: Goal) -> AskAction.Result:
        offset = 0

        def hear(piece: str) -> None:
            nonlocal offset
            with drop_on_timeout():
                goal.publish_feedback(AskAction.Feedback(text=piece, offset=offset))
            offset += len(piece)

        pending = self._goals[bytes(goal.goal_id.uuid)]
        try:
            outcome = self._ask(goal.request, pending, hear)
        finally:
            del self._goals[bytes(goal.goal_id.uuid)]
        with drop_on_timeout():
            if pending.cancelled:
                _finish_cancelling(goal)
            elif outcome.answer:
                goal.succeed()
            else:
                goal.abort()
        return reply(AskAction.Result(), outcome)

    def _ask(self, request: Any, pending: PendingQuestion, hear: Callable[[str], None]) -> Outcome:
        """`request` is the service's or the action's; its answer, or why there is none."""
        active = self._active()  # a transition in another thread may take it away meanwhile
        if not active:
            return Outcome(None, INACTIVE)
        try:
            mode = mode_of(request)
            with active.question_queue.place(pending):
                question = self._question(request, mode, active)
                active.question_queue.ask(question, pending, hear)
                outcome = _with_times(question, pending.outcome(), hear)
                outcome = _with_memory(question, outcome)
                self._keep(question, mode, outcome)
                return outcome
        except StreamingVLMError as error:
            return Outcome(None, str(error))

    def _question(self, request: Any, mode: str, active: Active) -> Question:
        """With the newest frames, or with moments long past, where the mode wants them."""
        question = Question(request.question, request.max_tokens or None, request.remember)
        if mode == "recent":
            if not (frames := active.recent()):
                raise QuestionError("nothing has been seen yet: ask again when frames arrive")
            return replace(question, frames=frames)
        if mode == "history":
            moments = self._history_server.moments(request.question, self._moments)
            return replace(question, moments=moments)
        return question

    def _keep(self, question: Question, mode: str, outcome: Outcome) -> None:
        if outcome.answer:
            now_ns = int(self._node.get_clock().now().nanoseconds)
            with drop_on_timeout():
                self._answers.publish(answer_message(question, mode, outcome, now_ns))
            self._history_server.add_answer(question.text, outcome.answer)


def _with_times(question: Question, outcome: Outcome, hear: Callable[[str], None]) -> Outcome:
    """An answer from moments long past says when they were, as its last piece."""
    if not question.moments or not outcome.answer:
        return outcome
    stamps_ns = tuple(moment.frame.stamp_ns for moment in question.moments)
    last = cite_times(stamps_ns) if outcome.answer.text else cite_times(stamps_ns).lstrip()
    hear(last)
    answer = replace(outcome.answer, text=outcome.answer.text + last)
    return replace(outcome, answer=answer, moments_ns=stamps_ns)


def _with_memory(question: Question, outcome: Outcome) -> Outcome:
    """The stream remembers whole answers only: whoever wanted that is told."""
    if not question.remember or not outcome.answer:
        return outcome
    if outcome.answer.complete:
        return replace(outcome, remembered=True)
    return replace(outcome, message=f"{outcome.message}; it is not remembered")


def _finish_cancelling(goal: Goal) -> None:
    """A goal may end as cancelled once its server has noted that it is being cancelled."""
    while goal.is_active and not goal.is_cancel_requested:
        time.sleep(0.001)  # until _on_cancel, which told us, has returned
    goal.canceled()
