"""Decides from words whether a user agreed to a call after the assistant asked.

Words alone decide, so that the same dialogue always gets the same verdict. In doubt they count as no agreement: a
change that was not clearly wanted is worse than a further question.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from core.typography import fold
from generation.specs.json_values import leaves
from generation.utterances.answers import asks_to_go_ahead, questions

_YES_WORDS = (
    # English
    "yes|yeah|yea|yep|yup|aye|sure|ok|okay|k|okey|alright|all right|correct|right|exactly|absolutely|definitely"
    "|certainly|indeed|agreed|affirmative|confirm|confirmed|perfect|great|fine|good|proceed|approved|of course"
    # German, Dutch and the Scandinavian languages
    "|ja|jawohl|jo|jep|genau|gern|gerne|einverstanden|passt|klar|natürlich|richtig|in ordnung|graag|prima|akkoord"
    "|klopt|doe maar|jag|javisst|jepp|selvfølgelig|godkänn"
    # French, Spanish, Italian, Portuguese
    "|oui|d'accord|bien sûr|volontiers|allez-y|vas-y|exactement|parfait|sí|si|claro|vale|de acuerdo|adelante|correcto"
    "|confirmo|perfecto|hazlo|sì|certo|va bene|d'accordo|procedi|confermo|esatto|sim|pode|perfeito|certo"
    # Polish, Czech, Russian, Ukrainian, Turkish
    "|tak|zgoda|potwierdzam|ano|souhlasím|да|конечно|подтверждаю|хорошо|верно|так|звичайно|evet|tamam|onaylıyorum"
    # Arabic, Hindi
    "|نعم|أجل|موافق|हाँ|हां|जी|ठीक"
)
_ALSO_OTHERWISE = frozenset({"right", "great", "fine", "good", "k", "vale", "si", "jo"})
"""Words that agree only at the beginning of a message: "I'm fine, thanks" agrees to nothing."""
_YES = re.compile(rf"\b(?:{'|'.join(word for word in _YES_WORDS.split('|') if word not in _ALSO_OTHERWISE)})\b")
_OPENING_YES = re.compile(
    rf"^(?:(?:oh|ah|um|well|so|and|thanks|thank you|hi|hello|actually)\b[,.! ]*)*(?:{_YES_WORDS})\b(?! print\b| morning\b)"
)
_YES_CHARACTERS = re.compile(
    r"^(?:好|是|对|可以|确认|行|没问题|当然|嗯|はい|ええ|お願い|そうです|了解|もちろん|네|예|응|좋|맞|그래|확인)"
)
_YES_PHRASES = re.compile(
    r"\b(?:go ahead|go for it|do it|do that|do so|please do|make it so|sounds (?:good|great|fine|right|perfect)"
    r"|looks (?:good|great|fine|right|perfect|correct)|works for me|that works|that'?s (?:it|the one|what i want)"
    r"|you (?:may|can) (?:go|proceed|continue|do)|i (?:agree|confirm|approve|accept|consent)|carry on|continue"
    r"|bitte (?:mach|tu|führ)\w*|machen sie (?:das|es)|mach (?:das|es|mal)|no objections?"
    r"|i'?d (?:like|love) (?:that|you to)|let'?s do (?:it|that|this)|be my guest|thumbs up)\b|👍|👌|✅"
)
_HARMLESS = re.compile(
    r"\b(?:no (?:problem|worries|rush|hurry|objections?|issues?|need to (?:wait|ask)|doubt)|not a problem|why not"
    r"|(?:don'?t|do not) (?:want to )?(?:worry|wait|hesitate|mind)|don'?t see (?:why not|a problem)"
    r"|can'?t wait|cannot wait|(?:i'?ll|i will|i can) wait|stop by|last stop|bus stop|but thanks|but thank you"
    r"|no longer|not only|nothing else|no more|no one else|anything else|if not, no matter|as soon as)\b"
)
_REFUSAL = re.compile(
    r"\b(?:wait|hold (?:on|off)|hang on|stop|never ?mind|forget (?:it|that|about)|instead|rather|not (?:yet|now)"
    r"|(?:changed?|change|changing) my mind|let me (?:think|check|see|ask|get back)|think about it|i'?m not sure|not sure"
    r"|unsure|maybe|perhaps|only if|unless|but (?:first|before|change|make|with|use|not|only|can|could|what|is|do|don'?t)"
    r"|(?:don'?t|do not|dont|please don'?t) (?!want (?:it|this|that|them)|need (?:it|this|that|them))\w+"
    r"|before (?:you|i|we|that) \w+|(?:cancel|scratch|drop|leave) (?:that|this|the) (?:request|idea|change|thought)"
    r"|leave it|one (?:moment|second|more thing first)|hmm+|warte|warten sie|moment|nicht|doch nicht|attendez|attends"
    r"|espera|espere|aspetta|aspetti|pas encore|lieber|wacht|poczekaj|подожди\w*|不要|等)\b"
)
_NO = re.compile(
    r"\b(?:no|nope|nah|not|never|cannot|can'?t|won'?t|wouldn'?t|isn'?t|wrong|incorrect|nein|kein\w*|non|nee|niet|nie|ne"
    r"|nej|nei|não|nao|нет|ні|hayır|لا|नहीं)\b"
)
_NO_AFTER_ALL = re.compile(r"\b(?:no|nope|nah|never|(?:don'?t|do not)(?! (?:want|need)\b)|nein|non)\b")
"""What takes an opening yes back in its sentence, or begins a later one: "Claro que no", "Yes, I heard you. Don't.";
but not "Yes, the blue one and not the red one" and not "Yes. I expect no excuses this time."."""
_NO_CHARACTERS = re.compile(r"不|别|等一下|等等|いいえ|いや|やめ|待って|아니|잠깐|기다")
_QUESTION = re.compile(r"[?？؟]\s*$")
_TAG_QUESTION = re.compile(
    r",? (?:please|thanks|thank you|ok|okay|right|will you|would you|can you|could you)[?？]\s*$"
)
_CONDITION = re.compile(
    r"\b(?:if (?!not\b|you (?:please|would|could|can|don't mind)|that's (?:ok|okay|fine|all right)\b)|provided|as long as"
    r"|assuming|depending|after (?:you|i|we|that)|yes and no|decline\w*|cancel that|no[,!.]? don'?t)\b"
)
"""What makes even a yes a no, or one on a condition."""
_OTHER_WISH = re.compile(r"\b(?:what|why|how|which|who|whose|when|where|tell me|explain|show me|keep|leave|check)\b")
"""What asks for something else than the call that "please" might agree to."""
_STEM = 5
"""Letters by which a word of a tool's name is recognised in its other forms: cancel, cancels, cancellation."""
_PLEASE = re.compile(r"\b(?:please|pls|bitte|s'il vous pla[iî]t|por favor|per favore|alstublieft|пожалуйста)\b")


def agreed(messages: Sequence[Message], tool: str, arguments: Mapping[str, Any]) -> bool:
    """Whether the user has agreed to a call that the assistant makes after these messages: the last message before its
    run of tool use is the user's, agrees, and answers an assistant's question that may be about this call."""
    position = len(messages) - 1
    while position >= 0 and _is_tool_use(messages[position]):
        position -= 1
    if position < 1:
        return False
    question, answer = messages[position - 1], messages[position]
    if not isinstance(question, AssistantMessage) or not isinstance(answer, UserMessage) or question.tool_calls:
        return False
    about_it = any(_may_be_about(sentence, tool, arguments) for sentence in questions(question.content))
    return about_it and agrees(answer.content, arguments)


def _may_be_about(question: str, tool: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a question asks for a go-ahead, or names a value of the call or a word of the tool's name."""
    if asks_to_go_ahead(question) or any(_named(value, question) for _, value in leaves(dict(arguments))):
        return True
    words = [word for word in re.split(r"[_\W]+", tool.casefold()) if len(word) >= 4]
    return any(re.search(rf"\b{re.escape(word[:_STEM])}", question) for word in words)


def _is_tool_use(message: Message) -> bool:
    return isinstance(message, ToolMessage) or (isinstance(message, AssistantMessage) and bool(message.tool_calls))


def agrees(text: str, arguments: Mapping[str, Any] | None = None) -> bool:
    """Whether a user's message agrees: it says yes, or says "please" with a value of the call, and neither refuses,
    hesitates, sets a condition nor asks back."""
    plain = _HARMLESS.sub(" fine ", _plain(text))
    if _REFUSAL.search(plain) or _NO_CHARACTERS.search(plain) or _CONDITION.search(plain):
        return False
    if "?" in plain.rstrip("?？؟ ") or (_QUESTION.search(plain) and len(plain.split()) == 1):
        return False
    if _QUESTION.search(plain) and not (_TAG_QUESTION.search(plain) and _OPENING_YES.search(plain)):
        return False
    if opening := _OPENING_YES.search(plain):
        first, *others = re.split(r"(?<=[.!;])\s+", plain[opening.end() :])
        return not _NO_AFTER_ALL.search(first) and not any(map(_NO_AFTER_ALL.match, others))
    if _YES_CHARACTERS.search(plain):
        return True
    if _NO.search(plain):
        return False
    if _YES.search(plain) or _YES_PHRASES.search(plain):
        return True
    return (
        bool(_PLEASE.search(plain))
        and not _OTHER_WISH.search(plain)
        and any(_named(value, plain) for _, value in leaves(dict(arguments or {})))
    )


def _plain(text: str) -> str:
    return " ".join(fold(text).casefold().split())


def _named(value: Any, plain: str) -> bool:
    """Whether the message names a value; short ones only as words of their own."""
    words = _plain(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", plain) is not None
