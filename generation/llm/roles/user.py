"""The stand-in's user: asks for its subgoals one or two at a time, confirms, clarifies, corrects itself, follows up, ends."""

from __future__ import annotations

import json
import re
from random import Random

from core.messages import AssistantMessage, UserMessage
from generation.llm.base import UserContext

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
}
_NEUTRAL = (["Hi.", "Hello."], ["Can you help me to {0}?", "I want to {0}.", "Please help me {0}."])
_FEEDBACK = ["Thanks.", "Great, thank you.", "Perfect.", "That helps.", "Good to know."]
_NEXT = ["Next, ", "Also: ", "Then there is one more thing. ", "Now, ", "And "]
_AGAIN = ["Something else now. ", "One more matter. ", "While I have you: ", "There is something further. "]
_CONFIRM = ["Yes, please go ahead.", "Yes, I confirm.", "Yes, do it please.", "Yes."]
_CLOSING = [
    "Thanks, that is all.",
    "Perfect, that was everything. Thank you!",
    "All done then, thanks for your help.",
    "Thank you, goodbye.",
]
_FAILED = re.compile(r"\b(could not|couldn't|unable|failed|cannot|can't|sorry)\b", re.I)


def answer(context: UserContext, rng: Random) -> str:
    """One message as {"user_message", "is_task_complete"}."""
    message, complete = _speak(context, rng)
    return json.dumps({"user_message": message, "is_task_complete": complete}, ensure_ascii=False)


def _speak(context: UserContext, rng: Random) -> tuple[str, bool]:
    mine = [m.content for m in context.transcript[context.task_start :] if isinstance(m, UserMessage)]
    last = context.transcript[-1] if mine and context.transcript else None
    heard = last.content if isinstance(last, AssistantMessage) else ""
    if heard.rstrip().endswith("?") and "confirm" in heard.lower():
        return rng.choice(_CONFIRM), False
    vague = [
        goal for goal in context.subgoals if _withheld(goal) and not _said(goal, mine) and _said(_withheld(goal), mine)
    ]
    if vague:
        return f"{vague[0][0].upper()}{vague[0][1:]}.", False
    if heard and _FAILED.search(heard):
        asked = [goal for goal in context.subgoals if _said(goal, mine)]
        repeated = sum("try again" in text for text in mine)
        if asked and not repeated:
            return f"Could you try again? I want to {asked[-1]}.", False
    waiting = [goal for goal in context.subgoals if not _said(goal, mine)]
    if not waiting:
        return rng.choice(_CLOSING), True
    several = rng.randint(1, max(1, context.max_subtasks_per_turn))
    return _ask(context, waiting[:several], bool(mine), rng), False


def _ask(context: UserContext, goals: list[str], going_on: bool, rng: Random) -> str:
    voice = context.persona.split()[0].strip(":,.").lower() if context.persona else ""
    openings, requests = _OPENINGS.get(voice, _NEUTRAL[0]), _REQUESTS.get(voice, _NEUTRAL[1])
    asked = " and ".join(goals)
    if len(goals) == 1 and _withheld(asked) and rng.random() < 0.12:
        asked = _withheld(asked)
    elif len(goals) == 1 and rng.random() < 0.06:
        asked = f"{asked.rsplit(' ', 1)[0]} — wait, let me put that right: I want to {asked}"
    request = rng.choice(requests).format(asked)
    if going_on:
        return f"{rng.choice(_FEEDBACK)} {rng.choice(_NEXT)}{request[0].lower() + request[1:] if request[:2] != 'I ' else request}"
    opening = rng.choice(openings) if context.first_task else rng.choice(_AGAIN).strip()
    return f"{opening} {request[0].upper()}{request[1:]}".strip()


def _withheld(goal: str) -> str:
    """The subgoal without its new value ('change the city of customer 3'), or '' where nothing can be left out."""
    return goal.rsplit(" to ", 1)[0] if goal.startswith("change ") and " to " in goal else ""


def _said(goal: str, messages: list[str]) -> bool:
    return any(goal.casefold() in text.casefold() for text in messages)
