"""What the stand-in's user says."""

from __future__ import annotations

# The first word of a persona picks the voice; an unknown persona speaks neutrally.
OPENINGS = {
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
REQUESTS = {
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
NEUTRAL = (["Hi.", "Hello."], ["Can you help me to {0}?", "I want to {0}.", "Please help me {0}."])
EXPERTISE = {
    "novice": ["", "I have never done this before.", "Please bear with me."],
    "expert": ["", "I know how this works.", "The usual procedure."],
}
FEEDBACK = ["Thanks.", "Great, thank you.", "Perfect.", "That helps.", "Good to know."]
NEXT = ["Next, ", "Also: ", "Then there is one more thing. ", "Now, ", "And "]
AGAIN = ["Something else now.", "One more matter.", "While I have you:", "There is something further."]
CONFIRM = ["Yes, please go ahead.", "Yes, I confirm.", "Yes, do it please.", "Yes."]
UNSURE = [
    "Please make sure that it is the right one first.",
    "Is that safe to do?",
    "Tell me if anything speaks against it.",
]
RETRY = ["Could you try again?", "Please have another look.", "That does not help me yet. Once more, please."]
NOT_DONE = ["I do not see that yet. Please do it:", "It is still not as I want it.", "No, that has not been done."]
UNTOLD = ["And what is the result?", "You have not told me what came out of it.", "I still do not know the answer."]
"""After an answer that does not help: a failure; a claim that is not true; a report without the values."""
GIVE_UP = [
    "This leads nowhere, I give up.",
    "That is disappointing. I will try it elsewhere.",
    "You have not helped me at all. Goodbye.",
]
RESTATED = ["{1}.", "I want to {0}.", "As I said, I want to {0}.", "To be clear: I want to {0}."]
"""The wish ({1} with a capital) in answer to a question: for the first, second, … time."""
REPEATING = ["", "I repeat:", "Once again:", "I can only say it again:", "As before:", "Well,", "Listen:"]
"""Openings of what has been said before."""
CLOSING = [
    "Thanks, that is all.",
    "Perfect, that was everything. Thank you!",
    "All done then, thanks for your help.",
    "Thank you, goodbye.",
]
DECLINING = [
    "No, thank you, that is all.",
    "No, that was everything. Thanks for your help!",
    "Nothing else, thank you.",
]
"""Goodbyes after a question, such as one for further wishes."""
WAVERING = [
    "I have something to ask. Or no, forget it. Well, yes, I do want it after all.",
    "Never mind, I will leave it as it is. No, on second thoughts I want it done.",
    "Actually, drop that. Hm, no, I have changed my mind back again.",
]
PRESSING = ["And I do not want to wait for it.", "Surely you can make that quick.", "I expect no excuses this time."]
DIGRESSIONS = [
    "Before we go on: is it always this slow here?",
    "By the way, your telephone line was busy all morning. No one picked up.",
    "The weather is dreadful today, and the traffic was no better. But you cannot help that.",
]
