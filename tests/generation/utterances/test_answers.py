"""What the stand-in's user takes for a question, a request to confirm, a failure or a report, in many wordings."""

from __future__ import annotations

import pytest

from generation.utterances.answers import asks, asks_to_confirm, declines, failed, reports

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
    "Would you like me to change it to 5 May.",
    "Please confirm.",
    "Are you okay with that",
    "I just need a yes from you.",
    "If you agree, I will cancel it.",
    "Say the word and I will cancel it.",
    "Is it OK to cancel the booking",
    "I will cancel order W1 and refund $20 to your gift card. Do you want to proceed? (yes/no)",
    "Reply 'yes' to proceed.",
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
    "Let me know when you would like to come.",
    "The new value is missing.",
    "Sorry, **which** of them is it? 1) the first 2) the second",
)
FOREIGN_QUESTIONS = (
    "Soll ich die Buchung wirklich löschen?",
    "Bitte bestätigen Sie die Stornierung.",
    "Veuillez confirmer.",
    "Por favor, confirme el cambio.",
    "¿Desea continuar?",
    "よろしいですか？",
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
    "Hello! How can I help you today?",
    "What can I do for you?",
    "Kann ich sonst noch etwas tun?",
    "Autre chose ?",
)
STATEMENTS = (
    # Nothing of the request depends on these: a "yes" to them agrees to nothing.
    "Let me know when you arrive.",
    "Let me know when you have received it.",
    "Once you arrive, show this number.",
    "I checked the date before I changed it.",
    "I need not change anything.",
    "We need to keep the record.",
    "You may confirm this on our website.",
    "The booking is waiting for confirmation from the bank.",
    "As you asked, I went ahead.",
    "I asked the desk whether you may come.",
)
DECLINING = (
    "The maximum is 400 seats.",
    "There's a cap of 400 seats on halls.",
    "Das geht leider nicht.",
    "抱歉，我无法这样做。",
    "Only the office can delete halls.",
    "I have not changed it.",
    "I'm sorry, but I can't change the price of that shipment.",
    "Unfortunately, our policy does not allow refunds after 30 days.",
    "That isn't something I can do here.",
    "I wasn't able to find a customer named Ann Fox.",
    "There is no customer by that name in our records.",
    'No results were found for "Tom Lee".',
    "I looked for it, but the search came back empty.",
    "I have to decline this request.",
    "I need to refuse this one.",
    "This has to be refused under our rules.",
    "My hands are tied here.",
    "Only the staff may do this; please turn to the service desk, 555-0142.",
    "For this you will have to contact customer service at 555-0141.",
    "You'd have to ask our staff about that.",
    "Please call the front desk at 555-0142 for this.",
    "I don't have a tool for that.",
    "That is beyond what I can do.",
    "That would need a manager.",
    "Refunds of this size are up to our accounting office.",
    "Changes of this kind are reserved for members of the board.",
    "This is a matter for the registrar.",
    "Our front desk handles those changes: 555-0142.",
    "Cancelling this booking requires a senior supervisor.",
    "Deleting invoices is outside my capabilities.",
    "The limit is 380081, and 400000 exceeds it.",
    "The maximum is 20, so 25 is too high.",
    "I lack the means to make this change.",
    "Such requests must be handled by a human agent.",
    "Genre changes are permitted only while a film is in competition.",
    "The member has three loans, and that is the maximum.",
    "That feature is unavailable.",
    "Sadly, this falls under another department.",
    "This account is not eligible for an extension.",
    "Regrettably, the record does not exist.",
    "I couldn’t locate that order.",
    "There is no one of that name registered with us.",
    "0 matches.",
    "I have searched for Dana Reed, and nothing came up.",
    "The system doesn't offer a function for that.",
    "It is against our policy to delete nominations.",
    "I must respectfully say no to this one.",
    "| status | not possible: no matching tool |",
    "Status: rejected",
    "I am prevented from making this change by rule four.",
    "Nope, that one's off limits.",
    "I'd love to help, but my access is read-only.",
    "Request declined.",
    "The change wasn't made: the price may be at most 1945.",
    "I can look things up, but changing prices isn't in my toolset.",
    "It seems there aren't any matching entries.",
    "I can't do that, is there anything else I can help you with?",
    "Sorry, we are not allowed to do that. Would you like to know why?",
    "I cannot do this for you, but feel free to ask me about anything else.",
)
NOT_DECLINING = (
    "Done! Hall 3 has 90 seats now instead of 60.",
    "Done, I have set it. It is the only open hall in Oslo.",
    "Zoe has two halls: Oslo and Lyon. Those are the only ones.",
    "Hall 1 has only the seats it has: 80.",
    "Done!",
    "The price has been changed to 12.50.",
    "No problem, the loan is registered.",
    "Not a problem! The new id is 77.",
    "All taken care of, no errors!",
    "It has been updated without any issues.",
    "Consider it done, no sweat.",
    "Not at all, happy to help.",
    "Nothing to worry about, it's all sorted.",
    "You're welcome, no worries!",
    "That was no trouble at all.",
    "Don't worry, it's all set.",
    "Please don't hesitate to contact customer service.",
    "Not only did I change the price, I also told the client.",
    "I have added the device; nothing else changed.",
    "It is no longer overdue, since I moved the date to 5 May.",
    "There is only one film: Dune.",
    "The list is up to date.",
    "Hall 3 is managed by Ann, and the change is in place.",
    "The film needs a hall of 80 seats, so I chose hall 3.",
    "There are 3 that fit. Which of them do you mean?",
    "Which one do you mean?",
    "Could you tell me the new value, please?",
    "Do you not have the number?",
    "Is there nothing else that you need?",
    "Would you like me to try it without the discount?",
    "Just to be sure: you would like to delete loan 3, correct?",
    "I can do that. What should the new value be?",
    "I need the customer's name.",
    "I'm missing the new value.",
    "Shall I go ahead? This cannot be undone.",
    "This can't be undone, I'm afraid. Reply YES to proceed.",
    "Before I do this, I need your approval.",
    "I won't change anything until you confirm.",
    "Nothing happens until you say yes.",
    "I cannot proceed without your confirmation.",
    "I can't do that before you tell me the city.",
    "I can't wait to see it, and here it is: 12.",
    "Your request was processed successfully.",
    "Invoice number 3 was cancelled as you wanted.",
    "Everything is in order now.",
    "I left everything exactly as it was.",
    "Let me look into that for you.",
    "One moment, please.",
    "Thanks for your patience, and I'm sorry about the inconvenience! That's all set now.",
    "Feel free to ask if you can't find something.",
    "Happy to help, just tell me the city.",
    "| status | ok |",
    "Result: genre: drama.",
)


@pytest.mark.parametrize("answer", [*CONFIRMATIONS, *QUESTIONS, *FOREIGN_QUESTIONS])
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


@pytest.mark.parametrize("answer", [*STATEMENTS, "I found two loans.", "Your order has been cancelled."])
def test_a_statement_asks_nothing(answer: str) -> None:
    assert not asks(answer)
    assert not asks_to_confirm(answer)


@pytest.mark.parametrize("answer", OFFERS)
def test_an_offer_of_more_help_asks_nothing(answer: str) -> None:
    assert not asks(answer)
    assert not asks(f"The price is 5. {answer}")


@pytest.mark.parametrize("answer", DECLINING)
def test_a_no_is_heard(answer: str) -> None:
    assert declines(answer)
    assert declines(f"Thank you for waiting. {answer}")
    assert declines(f"{answer}\nIs there anything else I can help with?")


@pytest.mark.parametrize("answer", [*NOT_DECLINING, *SUCCESSES, *OFFERS, *CONFIRMATIONS])
def test_success_questions_and_offers_decline_nothing(answer: str) -> None:
    assert not declines(answer)
    assert not declines(f"The price is 5. {answer}")
