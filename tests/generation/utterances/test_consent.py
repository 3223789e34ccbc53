"""What counts as a user's agreement: words of people, decided by code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from generation.utterances.consent import agreed, agrees

CALL = {"loan_id": 17, "due_on": "2025-07-01", "plan": "Family Plus", "quantity": 3}

AGREEING = [
    "Yes. I expect no excuses this time.",
    "Yes, do it, would you?",
    "Good, go ahead.",
    "Yes. And I do not want to wait for it.",
    "Yes",
    "yes, please.",
    "Yes please go ahead",
    "Yep, that's right.",
    "yeah do it",
    "Sure thing!",
    "Sure, no problem.",
    "No problem, go ahead.",
    "No worries, you can proceed.",
    "OK",
    "Okay, thanks!",
    "ok do that please",
    "Go ahead and cancel it.",
    "Please do.",
    "Please go ahead, and thanks for checking.",
    "That's correct.",
    "Correct, that is the one I mean.",
    "Exactly, thank you!",
    "Absolutely.",
    "Of course, delete it.",
    "I confirm.",
    "Confirmed",
    "I agree to the fee.",
    "Sounds good to me.",
    "Looks good, please proceed.",
    "That works for me.",
    "Perfect, thanks",
    "Alright, let's do it.",
    "Why not, go ahead!",
    "Yes, I don't want it anymore.",
    "Oh yes, please delete that one.",
    "Actually, yes, do it.",
    "Yes, the blue one and not the red one.",
    "yes 👍",
    "👍",
    "Please set it to 2025-07-01.",
    "The Family Plus plan, please.",
    "Yes, could you do that now please?",
    "Don't worry, I checked it. Please proceed.",
    "Yes, and nothing else.",
    "Ja, bitte.",
    "Ja, mach das bitte.",
    "Genau, danke!",
    "Oui, allez-y.",
    "D’accord, merci.",
    "Sí, por favor.",
    "Claro, adelante.",
    "Sì, confermo.",
    "Sim, pode cancelar.",
    "Tak, proszę.",
    "Да, пожалуйста.",
    "好的,请取消",
    "はい、お願いします",
    "네, 진행해 주세요",
    "evet, lütfen",
]

NOT_AGREEING = [
    "No",
    "no, thanks.",
    "Nope.",
    "No, that's the wrong one.",
    "Not yet.",
    "Wait!",
    "Wait, is there a fee?",
    "Yes... wait, which loan is that?",
    "Hold on, let me check with my wife.",
    "Hang on a second.",
    "Stop, I changed my mind.",
    "Never mind.",
    "Nevermind, leave it as it is.",
    "Forget it.",
    "Don't do that.",
    "Please don't delete it.",
    "Please do not cancel order 17.",
    "Yes, but first tell me what it costs.",
    "Yes, but make it the second one.",
    "Yes, but only if it's free.",
    "I'd rather keep it.",
    "Can you use the other card instead?",
    "What would that cost?",
    "Which one do you mean?",
    "Is that refundable?",
    "I'm not sure.",
    "Hmm, maybe.",
    "Let me think about it.",
    "Could you tell me the due date again, please?",
    "My email is ann@example.com.",
    "It's the order with the lamp.",
    "I don't know.",
    "I don't think so.",
    "That isn't what I asked for.",
    "That's incorrect.",
    "Cancel that request.",
    "Before you do that, what else is on my account?",
    "Thanks for the information.",
    "What about 2025-07-08?",
    "Hello?",
    "Nein, danke.",
    "Nein, warten Sie.",
    "Ja, aber warten Sie noch.",
    "Non, merci.",
    "Oui, mais attendez un moment.",
    "No, gracias.",
    "Espera, por favor.",
    "No, grazie.",
    "Não, obrigado.",
    "Нет, спасибо.",
    "不,等一下",
    "いいえ、結構です",
    "아니요",
    "Yes, if it is free.",
    "I'm fine, thanks.",
    "Ok, what would it cost?",
    "Yes I heard you. Don't.",
    "Okay, I decline.",
    "Ok. Cancel that.",
    "Fine print first, please.",
    "Claro que no",
    "Vale, pero no lo hagas",
    "Yes, after you check with Ann.",
    "Yes and no",
    "yes?",
    "Please tell me what 2025-07-01 means",
    "Please keep 2025-07-01 out of it",
]


@pytest.mark.parametrize("text", AGREEING)
def test_people_who_agree(text: str) -> None:
    assert agrees(text, CALL)


@pytest.mark.parametrize("text", NOT_AGREEING)
def test_people_who_do_not_agree(text: str) -> None:
    assert not agrees(text, CALL)


def test_please_agrees_only_with_a_value_of_the_call() -> None:
    assert agrees("Please change it to 2025-07-01.", CALL)
    assert not agrees("Please change it to 2025-07-08.", CALL)
    assert not agrees("Please help me with loan 175.", CALL)  # 17 is not a word of it


def _looked_up(number: int) -> list[Message]:
    call = ToolCall.make(f"call_{number}", "get_loan", {"loan_id": 17})
    return [AssistantMessage(tool_calls=(call,)), ToolMessage(tool_call_id=call.id, content="[]")]


ASKED: list[Message] = [
    SystemMessage(content="You are the assistant."),
    UserMessage(content="Please delete loan 17."),
    AssistantMessage(content="Shall I delete loan 17 for good?"),
    UserMessage(content="Yes, please."),
]


@given(rounds=st.integers(0, 4))
def test_agreement_lasts_for_the_run_of_tool_use_that_follows_it(rounds: int) -> None:
    run = [message for number in range(rounds) for message in _looked_up(number)]
    assert agreed([*ASKED, *run], "delete_loan", CALL)
    assert not agreed(
        [*ASKED, *run, AssistantMessage(content="Deleted."), UserMessage(content="And loan 18.")], "delete_loan", CALL
    )


@pytest.mark.parametrize(
    ("question", "is_agreement"),
    [
        ("Shall I go ahead", True),
        ("Would you like me to delete loan 17.", True),
        ("Please confirm", True),
        ("I will delete loan 17 if you agree.", True),
        ("Let me know when you arrive.", False),
        ("Loan 17 is overdue.", False),
        ("Is there anything else I can do for you?", False),
        ("Should this record be removed, number 17?", True),
        ("Are you sure about the deletion?", True),
        ("Soll ich die Ausleihe 17 wirklich löschen?", True),
        ("Do you have a parking permit?", False),
        ("May I tell you about our summer reading club?", False),
        ("Would you like a receipt by e-mail?", False),
        ("Loan 17 is due on 2025-07-01. Would you like a receipt by e-mail?", False),
        ("I can delete loan 17 for good. Shall I?", True),
        ("I can delete loan 17 for good. Would you like me to do that?", True),
        ("I will delete loan 17. Is that correct?", True),
        ("I will delete loan 17, all right?", True),
        ("Do you really want this?", True),
        ("May I ask how you liked our service?", False),
    ],
)
def test_a_yes_agrees_only_to_a_question_about_the_request(question: str, is_agreement: bool) -> None:
    asked = [*ASKED[:2], AssistantMessage(content=question), UserMessage(content="Yes, please.")]
    assert agreed(asked, "delete_loan", CALL) == is_agreement


def test_a_wish_does_not_answer_a_question() -> None:
    assert not agreed(ASKED[:2], "delete_loan", CALL)
    assert not agreed([UserMessage(content="Yes, please delete loan 17.")], "delete_loan", CALL)
    told = [ASKED[0], ASKED[1], AssistantMessage(content="There is loan 17."), ASKED[3]]
    assert not agreed(told, "delete_loan", CALL)
    assert not agreed([], "delete_loan", CALL)


@given(st.text(max_size=60))
def test_any_text_is_decided_and_a_refusal_after_it_counts(text: str) -> None:
    assert agrees(text, CALL) in (True, False)
    assert not agrees(f"{text} Wait, never mind.", CALL)
