"""The stand-in's user: follows its rules, makes requests, confirms, clarifies, corrects itself, and ends or gives up.

Every request uses the words of its subgoal, which the stand-in's agent recognises. An adversarial user returns to what
it has withdrawn, so that in the end the goal's own requests are in force.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random

from core.messages import AssistantMessage, UserMessage
from generation.llm.contexts import UserContext

# The first word of a persona picks the voice; an unknown persona speaks neutrally.
_OPENINGS = {
    "terse": ["", "Hi.", "Quick one."],
    "warm": ["Hello there! I hope you are well.", "Hi! Lovely to have some help with this.", "Good morning!"],
    "formal": ["Good day.", "Dear assistant,", "Good afternoon."],
    "hurried": ["Hi, I don't have much time.", "Hey, in a rush here.", "Hello, this is a bit urgent."],
    "unsure": [
        "Hi, I hope I'm in the right place.",
        "Hello, I am not quite sure how this works.",
        "Hi, maybe you can help me.",
    ],
    "demanding": ["Finally.", "I expect good service here.", "Listen."],
    "sceptical": ["Let us see whether this works.", "I doubt that you can help, but well.", "Hm, hello."],
    "chatty": ["Hi! What a day.", "Hello, hello!", "Oh, hi! I nearly forgot why I came."],
}
_REQUESTS = {
    "terse": ["{0}.", "Please {0}.", "Need to {0}."],
    "warm": ["Could you please help me to {0}?", "I would love to {0}.", "Would you be so kind as to help me {0}?"],
    "formal": [
        "I would like to {0}.",
        "I would appreciate it if you helped me to {0}.",
        "May I ask you to help me {0}?",
    ],
    "hurried": ["I need to {0}, quickly please.", "Can we {0} right now?", "I have to {0}."],
    "unsure": ["I think I need to {0}?", "I was hoping to {0}.", "Is it possible to {0}?"],
    "demanding": ["I want to {0}, and properly.", "I need to {0}. At once.", "I insist: {0}."],
    "sceptical": ["Are you really able to help me {0}?", "I want to {0}, if that is possible at all."],
    "chatty": ["So, I want to {0}.", "My sister said that you could help me to {0}?", "Well, I need to {0}."],
}
_NEUTRAL = (["Hi.", "Hello."], ["Can you help me to {0}?", "I want to {0}.", "Please help me {0}."])
_EXPERTISE = {
    "novice": ["", "I have never done this before.", "Please bear with me."],
    "expert": ["", "I know how this works.", "The usual procedure."],
}
_FEEDBACK = ["Thanks.", "Great, thank you.", "Perfect.", "That helps.", "Good to know."]
_NEXT = ["Next, ", "Also: ", "Then there is one more thing. ", "Now, ", "And "]
_AGAIN = ["Something else now.", "One more matter.", "While I have you:", "There is something further."]
_CONFIRM = ["Yes, please go ahead.", "Yes, I confirm.", "Yes, do it please.", "Yes."]
_UNSURE = [
    "Please make sure that it is the right one first.",
    "Is that safe to do?",
    "Tell me if anything speaks against it.",
]
_RETRY = ["Could you try again?", "Please have another look.", "That does not help me yet. Once more, please."]
_GIVE_UP = [
    "This leads nowhere, I give up.",
    "That is disappointing. I will try it elsewhere.",
    "You have not helped me at all. Goodbye.",
]
_CLOSING = [
    "Thanks, that is all.",
    "Perfect, that was everything. Thank you!",
    "All done then, thanks for your help.",
    "Thank you, goodbye.",
]
_WAVERING = [
    "I have something to ask. Or no, forget it. Well, yes, I do want it after all.",
    "Never mind, I will leave it as it is. No, on second thoughts I want it done.",
    "Actually, drop that. Hm, no, I have changed my mind back again.",
]
_PRESSING = ["And I do not want to wait for it.", "Surely you can make that quick.", "I expect no excuses this time."]
_DIGRESSIONS = [
    "Before we go on: is it always this slow here?",
    "By the way, your telephone line was busy all morning. No one picked up.",
    "The weather is dreadful today, and the traffic was no better. But you cannot help that.",
]
_WITHDRAWAL = "forget that I wanted to {0}"
_FAILED = re.compile(r"\b(could not|couldn't|unable|cannot|can't|sorry)\b", re.I)


def answer(context: UserContext, rng: Random) -> str:
    """One message as {"user_message", "is_task_complete"}."""
    message, complete = _User(context, rng).speak()
    return json.dumps({"user_message": message, "is_task_complete": complete}, ensure_ascii=False)


class _User:
    """What the user can know about its current task: its own messages and the answers."""

    def __init__(self, context: UserContext, rng: Random) -> None:
        self.context = context
        self.rules = context.rules
        self.rng = rng
        current = context.transcript[context.task_start :]
        self.mine = [message.content for message in current if isinstance(message, UserMessage)]
        self.all_mine = [message.content for message in context.transcript if isinstance(message, UserMessage)]
        self.answers = [m.content for m in current if isinstance(m, AssistantMessage) and not m.tool_calls]
        self.requested = [goal for goal in context.subgoals if _wants(goal, self.mine)]
        self.missing = [goal for goal in context.subgoals if goal not in self.requested and _hinted(goal, self.mine)]
        self.pending = [goal for goal in context.subgoals if goal not in (*self.requested, *self.missing)]

    def speak(self) -> tuple[str, bool]:
        """(the next message, whether the task is over)."""
        latest = self.answers[-1] if self.answers else ""
        if latest.rstrip().endswith("?") and "confirm" in latest.lower():
            return self._confirm(latest), False
        unhelpful = self._unhelpful()
        if unhelpful >= self.rules.patience:
            return self.rng.choice(_GIVE_UP), True
        if unhelpful:
            return self._insist(unhelpful), False
        if self.missing and (latest.rstrip().endswith("?") or not self.pending):
            return f"{_capital(self.missing[0])}.", False
        if not self.pending:
            return self.rng.choice(_CLOSING), True
        return self._digress() or self._request(self.pending[: self._request_count()]), False

    @property
    def _adversarial(self) -> bool:
        return self.rules.manner == "adversarial"

    def _digress(self) -> str:
        """A digression, each one once per dialogue and never two in a row; '' most of the time."""
        fresh = [text for text in _DIGRESSIONS if text not in self.all_mine]
        may = self._adversarial and self.requested and fresh and self.mine[-1] not in _DIGRESSIONS
        return self.rng.choice(fresh) if may and self.rng.random() < 0.3 else ""

    def _unhelpful(self) -> int:
        """The number of latest answers in a row that failed or repeated the one before."""
        count = 0
        for position in reversed(range(len(self.answers))):
            repeats = position > 0 and self.answers[position].endswith(self.answers[position - 1])
            if not repeats and not _FAILED.search(self.answers[position]):
                break
            count += 1
        return count

    def _insist(self, unhelpful: int) -> str:
        goals = [*self.requested, *(_without_value(goal) for goal in self.missing)]
        again = _RETRY[(unhelpful - 1) % len(_RETRY)]
        return f"{again} I want to {goals[-1]}." if goals else again

    def _request_count(self) -> int:
        """The number of subgoals in the next message."""
        most = min(len(self.pending), self.rules.max_subtasks_per_turn or len(self.pending))
        return most if self.rules.disclosure == "upfront" else self.rng.randint(1, most)

    def _confirm(self, question: str) -> str:
        text = self.rng.choice(_CONFIRM)
        goals = [goal for goal in self.requested if _wants(goal, [question])]
        if self._adversarial and len(goals) == 1 and self.rng.random() < 0.25:
            retreat = f"No, wait, {_WITHDRAWAL.format(goals[0])}."
            return text if retreat in self.mine else retreat
        return f"{text} {self.rng.choice(_PRESSING)}" if self._adversarial and self.rng.random() < 0.3 else text

    def _request(self, goals: Sequence[str]) -> str:
        voice = self.context.persona.split()[0].strip(":,.").lower() if self.context.persona else ""
        openings, requests = _OPENINGS.get(voice, _NEUTRAL[0]), _REQUESTS.get(voice, _NEUTRAL[1])
        request = self.rng.choice(requests).format(self._wording(goals))
        if self._adversarial and self.rng.random() < 0.25:
            request = f"{self.rng.choice(_WAVERING)} {_capital(request)}"
        if self._adversarial and self.rng.random() < 0.25:
            request = f"{request} {self.rng.choice(_PRESSING)}"
        elif self.rules.confirmation and not goals[0].startswith(("find", "know", "see")) and self.rng.random() < 0.1:
            request = f"{request} {self.rng.choice(_UNSURE)}"
        if self.mine:
            return self._continue(request)
        opening = self._opening(openings) if self.context.first_task else self.rng.choice(_AGAIN)
        return f"{opening} {_capital(request)}".strip()

    def _wording(self, goals: Sequence[str]) -> str:
        """The subgoals' own words; as the rules allow, without a new value or with a corrected slip."""
        if self.rules.disclosure == "on_request":
            return " and ".join(_without_value(goal) or goal for goal in goals)
        text = " and ".join(goals)
        if len(goals) > 1 or self.rules.disclosure == "upfront":
            return text
        if _without_value(text) and self.rng.random() < 0.12:
            return _without_value(text)
        if self.rules.clarification and self.rng.random() < 0.06:
            return f"{text.rsplit(' ', 1)[0]} — wait, let me put that right: I want to {text}"
        return text

    def _continue(self, request: str) -> str:
        uncapitalised = request if request[:2] == "I " else request[0].lower() + request[1:]
        feedback = f"{self.rng.choice(_FEEDBACK)} " if self.rules.feedback else ""
        return f"{feedback}{self.rng.choice(_NEXT)}{uncapitalised}"

    def _opening(self, openings: Sequence[str]) -> str:
        expertise = self.context.persona.rpartition(" ")[2]
        return f"{self.rng.choice(openings)} {self.rng.choice(_EXPERTISE.get(expertise, ['']))}".strip()


def _without_value(goal: str) -> str:
    """The subgoal without its new value ('change the city of customer 3'), or '' if it has none."""
    return goal.rsplit(" to ", 1)[0] if goal.startswith("change ") and " to " in goal else ""


def _wants(goal: str, messages: Sequence[str]) -> bool:
    """Whether the last message with exactly these words requests them: "delete locker 13" does not request "delete
    locker 1"."""
    exact = re.compile(rf"(?<!\w){re.escape(goal)}(?!\w)", re.IGNORECASE)
    latest = [text for text in messages if exact.search(text)][-1:]
    return bool(latest) and _WITHDRAWAL.format(goal) not in latest[0]


def _hinted(goal: str, messages: Sequence[str]) -> bool:
    """Whether the subgoal was requested without its new value, or seems so to the stand-in's agent, which matches parts
    of words and will ask."""
    hint = _without_value(goal).casefold()
    return bool(hint) and any(hint in text.casefold() for text in messages)


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
