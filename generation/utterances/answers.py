"""What an assistant's answer says, by its English words: that it asks, fails, reports or declines.

Where execution tells what is done, the words only decide in which way a scripted user goes on, whether an assistant has
asked before the user agreed, and whether one that must decline a request has said so. Questions are recognised in other
languages as far as they end with a question mark or ask to confirm.
"""

from __future__ import annotations

import re

from core.typography import fold

_OFFER = re.compile(
    r"\b(?:any|some)thing (?:else|more|further)\b|\b(?:what|how) else\b|\bfeel free\b|\banything i can\b"
    r"|\b(?:further|more|other|additional) (?:help|assistance|questions?|requests?|wishes)\b"
    r"|\blet me know if (?:you (?:need|have|require|run)|there|i can)\b|\bif you (?:need|have) any"
    r"|\b(?:how|what) (?:may|can|could) i (?:help|assist|do for)\b|\bhelp you (?:with )?(?:today|further|else)\b"
    r"|\bsonst noch\b|\bnoch etwas\b|\bautre chose\b|\balgo más\b|\baltro\b|\bmais alguma\b|\bкроме этого\b"
)
"""An offer of help, which asks nothing about the request: a "yes" to it agrees to nothing."""
_QUESTIONS = re.compile(
    "|".join(
        (
            r"[?؟]",
            # The verb first: "Is there …", "…, did you mean …"; "Which one do you mean", but not "What I found is …".
            r"(?:^|[,:;-] ?|\b(?:and|but|so|or) )"
            r"(?:is|are|was|were|do|does|did|would|will|could|can|may|might|shall|should|have|has)"
            r" (?:i|you|it|this|that|there|we|the|your|any)\b",
            r"\b(?:which|what|who|whose|when|where|how)\b(?! (?:i|you|we)\b)(?: \w+){0,3}"
            r" (?:do|does|did|would|should|shall|is|are|was|were|can|may|could|will|has|have) (?:you|i|we|it|the|your|this)\b",
            r"\b(?:(?:to )?which (?:one|of|\w+$)|what exactly|what to|you mean|is that so|more than one)\b",
            r"\b(?:shall|should|may|can) i\b|\b(?:do|would) you(?: really| still)? (?:want|like)\b|\byou(?: still)? want me to\b",
            r"\b(?:could|can|would|will) you (?:please |kindly )?(?!be able|see|find)\w+|\bmind if\b",
            r"\b(?:please|pls|kindly) (?:also |first |just |briefly )?(?:confirm|tell|let|provide|specify|give|share|clarify"
            r"|choose|pick|select|say|send|enter|state|indicate|verify|reply|respond|answer|supply|advise|approve|describe"
            r"|name|repeat|identify)\b|(?:^|[,:;] )(?:tell|give) me\b",
            r"\blet me know (?:which|what|whether|how|where|who|the|your|if (?:that|this|it|i |so|you))",
            # "Let me know when you would like to come" asks for a date and "… when you are ready" for a word to go on,
            # but "Let me know when you arrive" only looks ahead: nothing of the request depends on it.
            r"\blet me know when\b(?! (?:you(?! would|'d| want| wish| prefer| like| need| are ready|'re ready)|it\b|they\b))",
            r"\b(?:i|we)(?: would| will| do| still| also| just| only| first| am| are|'d|'ll|'m|'re)*"
            r" (?:need(?! not\b)(?! to (?!know|confirm|check|ask|have|hear|verify))|require|missing|lack"
            r"|awaiting|waiting for|like to (?:confirm|know|check)|not sure (?:which|what|who))\b",
            r"\b(?:await|awaiting|waiting for|need|needs|without) your\b|\bbefore (?:i|we)\b(?! (?!proceed|need)\w+ed\b)",
            r"\b(?:once|as soon as|if) you(?: have|'ve)? (?:agree|approve|confirm|consent|say|tell|give|let me|reply|respond)\b",
            r"\bsay the word\b",
            r"\byour (?:approval|consent|permission|confirmation|go-ahead|ok|okay|yes|thumbs-up)\b|\b(?:clear|a) yes\b",
            r"\b(?:okay|ok|right|fine) (?:with|by|for) you\b|^(?:ok|okay|ready|fine|al{1,2} ?right) to\b",
            r"\b(?:reply|say|answer|type|respond)(?: with| to)? \W?(?:yes|no|ok|okay|confirm|go)\b",
            r"\byes(?:/| or )no\b|\by/n\b",
            r"(?<!can )(?<!will )(?<!'ll )(?<!i )(?<!hereby )(?<!to )(?<!may )\bconfirm\b",
            r"\bjust to (?:be (?:sure|clear)|confirm)\b",
            r"\b(?:details?|values?|numbers?|names?|dates?|ids?|information) (?:is|are) (?:still )?missing\b|\bambiguous\b",
            r"\bbitte bestätigen\b|\bveuillez confirmer\b|\bpor favor,? confirm|\bper favore,? conferm",
        )
    )
)
_GO_AHEAD = (
    r"\bconfirm|\bgo(?:ing)? ahead\b|\bgo-ahead\b|\bproceed|\bcontinue\b|\bare you sure\b|\bagree\b|\bapprov|\bpermission\b"
    r"|\bconsent\b|\bthumbs-up\b|\bas soon as you\b|\bsay the word\b|\byes(?:/| or )no\b|\by/n\b|\bjust to be (?:sure|clear)\b"
    r"|\b(?:is|be) (?:that |this |it )?(?:al{1,2} ?right|right|correct|ok|okay|fine|what)\b|\b(?:this|that|it) right\b"
    r"|\b(?:right|correct|ok|okay|agreed)\?|^(?:ok|okay|ready|fine|al{1,2} ?right) to\b"
    r"|\b(?:okay|ok|fine) with (?:you|that|this)\b|\bif (?:that|this|it)(?: is|'s) (?:ok|okay|right|correct|fine)\b"
    r"|\b(?:clear|a|say|your) \W?(?:yes|go|ok|okay)\b|\bbestätigen\b|\bconferm"
)
_CONFIRMATION = re.compile(
    rf"{_GO_AHEAD}|\b(?:shall|should|may|can) i\b|\bwant me to\b|\blike me to\b|\bfor me to\b|\bmind if\b"
    r"|\b(?:still|really) want\b|\bdo you want to\b"
)
_UNNAMED = re.compile(
    rf"{_GO_AHEAD}|\b(?:(?:shall|should|may|can) i|(?:want|like) me to)(?: (?:do|have) (?:it|that|this|so)(?: done)?)?\W*$"
    r"|\b(?:still|really) want (?:it|that|this)\b|\b(?:fortfahren|einverstanden|confirmer|continuer|continuar|confirmar"
    r"|procedere|bevestig|doorgaan)"
)
"""What asks for a yes without naming what it is to."""
_ERROR = re.compile(
    r"^\W*(?:error|exception|traceback|oops|http \d{3})\b|[\"']error[\"']\s*:|\bwent wrong\b"
    r"|\b(?:an|internal|unexpected|unknown)(?: server)? error\b|\bfailed to\b|\b(?:has|have|call|request) failed\b"
)
_FAILED = re.compile(r"\b(?:could not|couldn't|unable|not able|cannot|can't|sorry|apologi[sz]e)\b")
_COURTESY = re.compile(
    r"\b(?:sorry|apologi[sz]e)(?: again)? (?:for|about)(?: that| this)?\b|\bsorry (?:to|it|this|that) (?:keep|have|hear|took)\b"
    r"|\b(?:cannot|can't) be (?:undone|reversed|taken back)\b"
)
"""Phrases that only sound like a failure: "Sorry for the wait!", "This cannot be undone"."""
_REPORT = re.compile(
    r"\b(?:done|here (?:is|are)|found|added|updated|changed|moved|set to|created|deleted|removed|booked|cancell?ed"
    r"|completed?|successful\w*|(?:has|have) been|is now|are now)\b"
)

_NEGATIVE = re.compile(
    r"\b(?:not|no|nor|none|nope|nothing|nowhere|no ?body|never|neither|cannot|unable|unfortunately|sadly|regret\w*|afraid|sorry"
    r"|impossible|refus\w+|reject\w*|declin\w+|den(?:y|ied|ies)|forb[ia]d\w*|prohibit\w*|restrict\w*|prevent\w*|blocked"
    r"|barred|disallow\w*|against|outside|beyond|lacks?|lacking|missing|without|unavailable|unsupported|unknown"
    r"|only (?:\w+ ){1,4}(?:can|may|could|will|(?:is|are) (?:able|allowed|permitted|entitled))"
    r"|only (?:if|when|while|until|by|up to|for|from|during|at most|the (?:staff|office|desk|team|manager))"
    r"|(?:is|are|can|may|be|works?|applies|possible) only|read-only|at most|ineligible|exceed\w*|except|unless"
    r"|hands are tied|off[ -]limits|came (?:back|up) empty|returned empty"
    r"|too (?:high|low|late|early|long|short|many|much|large|big|old)|(?:0|zero) (?:match\w*|results?|rows?|records?|hits?)"
    r"|(?:is|reached|hit|over|above) (?:already )?(?:the|our|its|their) (?:maximum|limit|cap)"
    r"|(?:maximum|minimum|limit|cap) (?:is|are|of|for|on)"
    r"|(?:must|has to|have to|needs? to|can) be (?:handled|done|made|approved) by"
    r"|(?:is|are|would be) (?:reserved|limited) (?:for|to)\b|(?:is|are|would be) (?:something|a (?:matter|job|case|question)) for"
    r"|(?:is|are) up to (?:the|our|a|an) (?!(?:\w+ )?(?:minute|date|limit)\b)\w+"
    r"|(?:needs?|requires?|takes) (?:a|an|the|our)(?: \w+){0,2}? (?:manager|supervisor|colleague|human|director|administrator)"
    r"|(?:desk|staff|service|team|manager|office|department|supervisor|colleagues?|administrators?)"
    r" (?:(?:would |will |must |may |can )?(?:handle|decide|approve|deal|look|process|do)(?:s|es)? |takes? care)"
    r"|(?:contact|call|ask|visit|see|reach(?: out to)?|turn to|get in touch with|speak (?:to|with)|talk to)(?: \w+){0,3}"
    r" (?:desk|staff|support|service|team|manager|office|department|supervisor|colleagues?|agent))\b|n't\b"
)
"""Words that say no, restrict, or send the user to someone else."""
_NO_ELSEWHERE = re.compile(
    r"\b(?:nicht|kein\w*|leider|unmöglich|impossible|ne (?:peux|peut|puis|pouvons)|je ne|no (?:puedo|puede|podemos|es posible)"
    r"|lamento|lo siento|non (?:posso|può|possiamo|è possibile)|não|niet|geen|helaas|нельзя|не могу|невозможно)\b"
    r"|无法|不能|抱歉|できません|できない|없습니다|لا يمكن"
)
"""The same in other languages."""
_DENIES = re.compile(r"\b(?:not|no|none|never|neither|nor|cannot|unable|refus\w+|declin\w+|impossible)\b|n't\b")
"""What is left of a negative word in a sentence that reports something done: "not", but no "only" and no "instead"."""
_AGREEABLE = re.compile(
    r"\bno (?:problem|worries|trouble|issue|doubt|rush|hurry|sweat|hassle|need to worry)s?\b|\bnot a problem\b|\bnot only\b"
    r"|\bnot at all\b|\bwhy not\b|\bnothing (?:else|more|to worry)\b|\bno errors?\b|\bno longer (?:overdue|late|open|active)\b"
    r"|\bwithout (?:any )?(?:problem|error|issue|trouble|delay)s?\b|\b(?:do not|don't|please don't) (?:hesitate|worry)\b.*"
    r"|\bonly (?:one|a few|\d+)\b|\b(?:cannot|can't|could not|couldn't) wait\b"
    r"|\b(?:that|this|it) (?:cannot|can't) be (?:undone|reversed|taken back)(?:,? i(?:'m| am) afraid)?"
)
"""Negative words that say yes, or only warn."""
_REFUSES = re.compile(
    r"\b(?:i|we|this|that|it|which)(?:'m|'re|'s| am| are| is| was| were| have to| has to| had to| must| need to| will)?"
    r"(?: \w+ly| also| just| still| respectfully| to)? (?:cannot|can't|could not|couldn't|unable|declin\w+|refus\w+|reject\w*"
    r"|lack the (?:means|tools?|ability|permission|rights?|authority)|say no"
    r"|(?:not|won't be) (?:able|allowed|permitted|possible)|(?:isn't|aren't|wasn't) (?:able|allowed|permitted|possible))\b"
)
"""A refusal even in a sentence that goes on to ask or to offer something."""
_ON_CONDITION = re.compile(
    r"\b(?:(?:until|unless|before|once|as soon as) (?:you|i|your)|without (?:your|a clear|more|knowing|that (?:number|value)))\b"
)
"""A no only as long as the user has not answered."""


def questions(answer: str) -> list[str]:
    """The sentences of the answer that want to know something about the request, with or without a question mark, in
    lower case."""
    return [sentence for sentence in _sentences(answer) if _QUESTIONS.search(sentence) and not _OFFER.search(sentence)]


def asks(answer: str) -> bool:
    """Whether the answer wants to know something about the request."""
    return bool(questions(answer))


def asks_to_go_ahead(question: str) -> bool:
    """Whether a sentence of `questions` asks for a yes without naming what it is to: "Shall I?", "Is that correct?"."""
    return bool(_UNNAMED.search(question))


def asks_to_confirm(answer: str) -> bool:
    """Whether a yes can be the reply to a question of the answer."""
    return any(_CONFIRMATION.search(sentence) for sentence in _sentences(answer) if _QUESTIONS.search(sentence))


def failed(answer: str) -> bool:
    """Whether the answer is an error, or an apology for more than a delay."""
    text = _plain(answer)
    return bool(_ERROR.search(text) or _FAILED.search(_COURTESY.sub("", text)))


def reports(answer: str) -> bool:
    """Whether the answer claims that something was done or found."""
    return any(_REPORT.search(sentence) for sentence in _sentences(answer) if not _QUESTIONS.search(sentence))


def declines(answer: str) -> bool:
    """Whether the answer says no in some way: a statement, not a question, with a negative or restricting word."""
    return any(map(_says_no, _sentences(answer)))


def _says_no(sentence: str) -> bool:
    text = _COURTESY.sub("", _AGREEABLE.sub("", sentence))
    if _REFUSES.search(text):
        return not _ON_CONDITION.search(text)
    if sentence.endswith("?") or _QUESTIONS.search(text) or _OFFER.search(text):
        return False
    if _REPORT.search(text):
        return _DENIES.search(text) is not None
    return bool(_NEGATIVE.search(text) or _NO_ELSEWHERE.search(text))


def _plain(text: str) -> str:
    return re.sub(r"[ \t*_`#>]+", " ", fold(text).casefold())


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in re.split(r"(?<=[.!?:;])\s+|\n+", _plain(text)) if sentence.strip()]
