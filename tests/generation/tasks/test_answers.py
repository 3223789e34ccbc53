"""What the stand-in's user takes for a question, a request to confirm, a failure or a report, in many wordings."""

from __future__ import annotations

import pytest

from generation.tasks.answers import asks, asks_to_confirm, failed, reports

CONFIRMATIONS = (
    "Do you confirm?",
    "Shall I go ahead",
    "Please confirm that you want me to delete it.",
    "Is that okay with you",
    "Just to be sure: you would like to delete loan 3, correct?",
    "I need your approval before I do this.",
    "Reply YES to proceed.",
    "Do you really want to delete it? (yes/no)",
    "Mind if I push this through?",
    "Ready to delete. Continue?",
    "Would it be alright to delete it now",
    "Do I have this right: you’re changing the date to 5 May",
    "I can only proceed after a clear yes.",
    "I will delete it as soon as you give me the go-ahead.",
)
QUESTIONS = (
    "Which one do you mean",
    "Could you tell me the number",
    "I need the customer's name.",
    "What should the new value be?",
    "To which amount?",
    "Please specify which record this is about.",
    "Kindly indicate the customer's number.",
    "There is more than one Ann Lee here.",
    "Hold on, did you mean loan 12 or loan 21",
    "I'm missing some information.",
    "Let me know which entry it is.",
    "Is there a particular invoice you have in mind",
    "The new value is missing.",
    "Sorry, **which** of them is it? 1) the first 2) the second",
)
SUCCESSES = (
    "Sorry for the wait! The booking was added.",
    "Apologies for the delay; your loan has been registered.",
    "Sorry about that - it is updated now.",
    "All good, no errors this time: the row was created.",
    "I apologise for any inconvenience. The price has been changed.",
    "Sorry it took a while. Here are the two films: A and B.",
    "I'm sorry to have kept you waiting, but the total was found: 12.",
    "Done. Please note that this cannot be reversed.",
    "Done: change the status of invoice number 3 to failed.",
    "I can confirm that the booking was added.",
)
FAILURES = (
    "Error: timeout",
    '{"error": "no such tool"}',
    "Something went wrong.",
    "An unexpected error occurred while processing.",
    "Oops, that did not work.",
    "I'm unable to do this.",
    "Unfortunately the update could not be saved.",
    "I can’t find any such booking.",
    "The request failed with code 500.",
    "Sorry, nothing was found.",
    "I was not able to find that customer.",
    "I am sorry for the trouble, but I could not do it.",
)
OFFERS = (
    "Is there anything else I can help with?",
    "Let me know if you need anything else!",
    "Would you like any further assistance?",
    "Feel free to ask if you have any other questions.",
    "What else can I do for you?",
    "Anything else?",
)


@pytest.mark.parametrize("answer", [*CONFIRMATIONS, *QUESTIONS])
def test_any_question_is_a_question(answer: str) -> None:
    assert asks(answer)
    assert asks(f"The price is 5. {answer}")
    assert asks(f"{answer}\nThank you!")


@pytest.mark.parametrize("answer", CONFIRMATIONS)
def test_a_yes_is_wanted(answer: str) -> None:
    assert asks_to_confirm(answer)


@pytest.mark.parametrize("answer", QUESTIONS)
def test_details_are_wanted(answer: str) -> None:
    assert not asks_to_confirm(answer)


@pytest.mark.parametrize("answer", SUCCESSES)
def test_politeness_is_no_failure(answer: str) -> None:
    assert not failed(answer)
    assert not asks(answer)
    assert reports(answer)


@pytest.mark.parametrize("answer", FAILURES)
def test_errors_and_apologies_are_failures(answer: str) -> None:
    assert failed(answer)
    assert not asks(answer)


@pytest.mark.parametrize("answer", OFFERS)
def test_an_offer_of_more_help_asks_nothing(answer: str) -> None:
    assert not asks(answer)
    assert not asks(f"The price is 5. {answer}")
