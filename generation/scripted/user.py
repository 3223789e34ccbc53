"""The stand-in's user: follows its rules, makes requests, confirms, clarifies, corrects itself, and ends or gives up.

What is done, execution tells (`UserContext.achieved`); where it does not, the assistant's words do. A question about
what is not done yet is answered with everything that the goal says about it; where execution knows that it is not done,
every answer that neither fails nor claims anything is such a question, however it is worded.

Every request uses the words of its subgoal, which the stand-in's agent recognises. An adversarial user returns to what
it has withdrawn, so that in the end the goal's own requests are in force.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random

from core.messages import AssistantMessage, UserMessage
from generation.llm.contexts import UserContext
from generation.scripted import user_phrases as phrases
from generation.scripted.own_tools import Following, follow, report
from generation.scripted.user_words import capital, hinted, is_unclear, latest_news, named, run, wants
from generation.scripted.wishes import (
    ACCEPTING,
    CHANGED_MIND,
    TRY_AGAIN,
    WITHDRAWAL,
    WITHDRAWALS,
    first_goal,
    reduced,
    without_value,
)
from generation.utterances.answers import asks, asks_to_confirm, declines, failed, reports

_UNCLEAR = 4
"""Consecutive answers that no rule can classify, before they cost patience."""
_INSISTING = (*phrases.RETRY, *phrases.NOT_DONE, *phrases.UNTOLD)


def answer(context: UserContext, rng: Random) -> str:
    """One message as {"user_message", "is_task_complete"}, with "use_tool" if the user first has something to do."""
    user = _User(context, rng)
    following = user.following()
    if following and following.next:
        use = {"tool": following.next.tool, "arguments": following.next.arguments}
        return json.dumps({"user_message": "", "is_task_complete": False, "use_tool": use}, ensure_ascii=False)
    message, complete = (report(following), False) if following else user.speak()
    return json.dumps({"user_message": message, "is_task_complete": complete}, ensure_ascii=False)


class _User:
    """What the user can know about its current task: its own messages, the answers, and what execution tells it."""

    def __init__(self, context: UserContext, rng: Random) -> None:
        self.context = context
        self.task = context.task
        self.subgoals = context.task.subgoals
        self.rules = context.rules
        self.rng = rng
        current = context.transcript[context.task_start :]
        self.mine = [message.content for message in current if isinstance(message, UserMessage)]
        self.all_mine = [message.content for message in context.transcript if isinstance(message, UserMessage)]
        self.answers = [m.content for m in current if isinstance(m, AssistantMessage) and not m.tool_calls]
        self.latest = self.answers[-1] if self.answers else ""
        self.requested = [goal for goal in self.subgoals if wants(goal, self.mine)]
        self.missing = [goal for goal in self.subgoals if goal not in self.requested and hinted(goal, self.mine)]
        self.pending = [goal for goal in self.subgoals if goal not in (*self.requested, *self.missing)]
        self.achieved = dict(zip(self.subgoals, context.achieved, strict=True)) if context.achieved else None

    def following(self) -> Following | None:
        """Where the user stands with what the assistant's latest message tells them to do with their own tools."""
        tools = [tool.model_dump() for tool in self.context.tools]
        results = [action.result for action in self.context.actions]
        if not self.mine or not self.latest or not tools:
            return None
        return follow(self.latest, results, tools, self.task.goal)

    def speak(self) -> tuple[str, bool]:
        """(the next message, whether the task is over)."""
        return self._special() or self._usual()

    def _usual(self) -> tuple[str, bool]:
        undone, asked = self._undone(), asks(self.latest)
        if undone:
            asked |= self.achieved is not None and is_unclear(self.latest)
            if self._unhelpful(asked) >= self.rules.patience:
                return self.rng.choice(phrases.GIVE_UP), True
            return self._reply(undone) if asked else self._insist(undone), False
        if asked and (misheard := named(self.latest, self.pending)):
            return self._restate(misheard[:1]), False
        if not self.pending:
            return self.rng.choice(phrases.DECLINING if asked or "?" in self.latest else phrases.CLOSING), True
        return self._digress() or self._request(self.pending[: self._request_count()]), False

    def _special(self) -> tuple[str, bool] | None:
        """What its kind of request has the user say now; None for what it would say anyway. Special requests have one
        subgoal."""
        goal = self.subgoals[0]
        match self.task.kind:
            case "incomplete" | "ambiguous" | "withdrawn":
                return self._keep_back(goal)
            case "changed" if not self.mine:
                return self._request([first_goal(self.task)]), False
            case "changed" if goal not in self.requested:
                return f"{self.rng.choice(CHANGED_MIND)} I want to {goal}.", False
            case "late_tool" if self._lacks_the_tool(goal):
                again = [text.format(goal) for text in TRY_AGAIN if text.format(goal) not in self.mine]
                return (again[0], False) if again else None
            case "forbidden" | "not_found" | "no_tool" | "irrelevant" if self.answers:
                if asks(self.latest) and self._unhelpful(True) < self.rules.patience:
                    return self._restate([goal]), False
                return self.rng.choice(ACCEPTING if declines(self.latest) else phrases.CLOSING), True
        return None

    def _lacks_the_tool(self, goal: str) -> bool:
        """Whether the assistant says that it has no tool for what is not done yet. A question whether it may do it
        does not say so."""
        says_no = bool(self.answers) and declines(self.latest) and not asks_to_confirm(self.latest)
        return says_no and not self._is_achieved(goal) and len(self.mine) < 4

    def _keep_back(self, goal: str) -> tuple[str, bool] | None:
        """Requests without the withheld values, which the user gives, or takes the wish back, when it is asked."""
        wish = reduced(goal, self.task)
        withdrawn = any(WITHDRAWAL.format(wish) in text for text in self.mine)
        if not self.mine:
            return self._request([wish]), False
        if withdrawn:
            return self.rng.choice(phrases.CLOSING), True
        if goal in self.requested:
            return None
        if not asks(self.latest):
            if self._unhelpful(False) >= self.rules.patience:
                return self.rng.choice(phrases.GIVE_UP), True
            return self._unsaid([f"{text} I want to {wish}." for text in phrases.RETRY]), False
        if self.task.kind == "withdrawn":
            return self.rng.choice(WITHDRAWALS).format(wish), False
        return self._restate([goal]), False

    @property
    def _adversarial(self) -> bool:
        return self.rules.manner == "adversarial"

    # What the answers mean.

    def _undone(self) -> list[str]:
        """What the user has asked for and not got, in the goal's order; [] before the first answer."""
        if not self.answers:
            return []
        if self.achieved is None:
            requested = [] if self._seems_done() else self._latest_requests()
        else:
            requested = [goal for goal in self.requested if not self._is_achieved(goal)]
        return [goal for goal in self.subgoals if goal in requested or goal in self.missing]

    def _is_achieved(self, goal: str) -> bool:
        """Whether execution says so."""
        verdict = self.achieved[goal] if self.achieved else None
        return verdict is not None and verdict.in_state is not False and verdict.told

    def _seems_done(self) -> bool:
        """Whether the latest answer reads as if the latest requests were done, or is about something else."""
        if self.mine[-1] in phrases.DIGRESSIONS:
            return True
        if asks_to_confirm(self.latest):
            return False
        return not (failed(self.latest) or self._repeats()) if not asks(self.latest) else reports(self.latest)

    def _repeats(self) -> bool:
        return len(self.answers) > 1 and self.latest.endswith(self.answers[-2])

    def _latest_requests(self) -> list[str]:
        """The requests of the latest message that makes any."""
        for text in reversed(self.mine):
            if goals := [goal for goal in self.requested if wants(goal, [text])]:
                return goals
        return []

    def _unhelpful(self, asked: bool) -> int:
        """The number of latest answers in a row that brought nothing: each one after which the user insisted, and this
        one. A question brings something, unless it comes more often than there are requests to ask it about; what may
        be a question does so only a few times."""
        if not asked:
            return 1 + run(self.mine, lambda text: any(phrase in text for phrase in _INSISTING))
        since = self.answers[latest_news(self.mine, self.subgoals) :]
        repeated = run(since, lambda text: text == self.latest) - len(self.requested) - 1
        return max(0, repeated, run(since, is_unclear) - _UNCLEAR)

    # Answers to the assistant.

    def _reply(self, undone: list[str]) -> str:
        """The answer to a question: the details of what is asked about, or a yes, which an adversarial user may first
        refuse."""
        open_goals = [goal for goal in self.subgoals if not self._is_achieved(goal)]
        goals = named(self.latest, undone) or named(self.latest, open_goals)[:1] or undone
        if self._only_untold(goals[0]):
            return self._unsaid([f"{text} I asked you to {goals[0]}." for text in phrases.UNTOLD])
        if not asks_to_confirm(self.latest):
            return self._restate(goals)
        # What was asked for after it is left waiting: rows that are added in another order get other keys.
        may_retreat = self._adversarial and undone == goals[:1] and goals[0] in self.requested
        if may_retreat and self.rng.random() < 0.25:
            retreat = f"No, wait, {WITHDRAWAL.format(goals[0])}."
            if retreat not in self.mine:
                return retreat
        yes = self.rng.sample(phrases.CONFIRM, len(phrases.CONFIRM))
        if not all(wants(goal, [self.latest]) for goal in goals):
            return self._unsaid([f"{text} {self._restate(goals)}" for text in yes])
        if self._adversarial and self.rng.random() < 0.3:
            pressing = self.rng.choice(phrases.PRESSING)
            return self._unsaid([f"{text} {pressing}" for text in yes])
        return self._unsaid(yes)

    def _unsaid(self, texts: Sequence[str]) -> str:
        """The first of the texts that the user has not said in this task; if it has said all, one of them as a
        repetition."""
        variants = (f"{opener} {text}".strip() for opener in phrases.REPEATING for text in texts)
        return next((text for text in variants if text not in self.mine), texts[0])

    def _restate(self, goals: Sequence[str]) -> str:
        """All details of some requests, each time in other words."""
        wish = " and ".join(goals[: self.rules.max_subtasks_per_turn])
        return self._unsaid([text.format(wish, capital(wish)) for text in phrases.RESTATED])

    def _only_untold(self, goal: str) -> bool:
        """Whether it has been done and only its values are missing: asked for again, it might be done twice."""
        return self.achieved is not None and self.achieved[goal].in_state is True

    def _insist(self, undone: list[str]) -> str:
        """Asks again for the first thing that is not done."""
        goal = undone[0]
        if self._only_untold(goal):
            return self._unsaid([f"{text} I asked you to {goal}." for text in phrases.UNTOLD])
        if failed(self.latest) or self.achieved is None:
            choices = phrases.RETRY
        else:
            choices = phrases.NOT_DONE if self.achieved[goal].told else phrases.UNTOLD
        return self._unsaid([f"{text} I want to {goal}." for text in choices])

    # Requests.

    def _digress(self) -> str:
        """A digression, each one once per dialogue and never two in a row; '' most of the time."""
        fresh = [text for text in phrases.DIGRESSIONS if text not in self.all_mine]
        may = self._adversarial and self.requested and fresh and self.mine[-1] not in phrases.DIGRESSIONS
        return self.rng.choice(fresh) if may and self.rng.random() < 0.3 else ""

    def _request_count(self) -> int:
        """The number of subgoals in the next message."""
        most = min(len(self.pending), self.rules.max_subtasks_per_turn or len(self.pending))
        return most if self.rules.disclosure == "upfront" else self.rng.randint(1, most)

    def _request(self, goals: Sequence[str]) -> str:
        voice = self.context.persona.split()[0].strip(":,.").lower() if self.context.persona else ""
        openings, requests = (
            phrases.OPENINGS.get(voice, phrases.NEUTRAL[0]),
            phrases.REQUESTS.get(voice, phrases.NEUTRAL[1]),
        )
        request = self.rng.choice(requests).format(self._wording(goals))
        if self._adversarial and self.rng.random() < 0.25:
            request = f"{self.rng.choice(phrases.WAVERING)} {capital(request)}"
        if self._adversarial and self.rng.random() < 0.25:
            request = f"{request} {self.rng.choice(phrases.PRESSING)}"
        elif self.rules.confirmation and not goals[0].startswith(("find", "know", "see")) and self.rng.random() < 0.1:
            request = f"{request} {self.rng.choice(phrases.UNSURE)}"
        if self.mine:
            return self._continue(request)
        opening = self._opening(openings) if self.context.first_task else self.rng.choice(phrases.AGAIN)
        return f"{opening} {capital(request)}".strip()

    def _wording(self, goals: Sequence[str]) -> str:
        """The subgoals' own words; as the rules allow, without a new value or with a corrected slip."""
        if self.rules.disclosure == "on_request" and not self.task.first_wish:
            return " and ".join(without_value(goal) or goal for goal in goals)
        text = " and ".join(goals)
        if len(goals) > 1 or self.rules.disclosure == "upfront" or self.task.withheld or self.task.first_wish:
            return text
        if without_value(text) and self.rng.random() < 0.12:
            return without_value(text)
        if self.rules.clarification and self.rng.random() < 0.06:
            return f"{text.rsplit(' ', 1)[0]} — wait, let me put that right: I want to {text}"
        return text

    def _continue(self, request: str) -> str:
        uncapitalised = request if request[:2] == "I " else request[0].lower() + request[1:]
        feedback = f"{self.rng.choice(phrases.FEEDBACK)} " if self.rules.feedback else ""
        if asks(self.latest):  # about something that the user does not want
            feedback = "No, thank you. "
        return f"{feedback}{self.rng.choice(phrases.NEXT)}{uncapitalised}"

    def _opening(self, openings: Sequence[str]) -> str:
        expertise = self.context.persona.rpartition(" ")[2]
        return f"{self.rng.choice(openings)} {self.rng.choice(phrases.EXPERTISE.get(expertise, ['']))}".strip()
