"""Who the simulated users are: each dialogue draws a voice, a person with an occasion and a mood, an expertise, a
language and a set of rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from core.provenance import Provenance
from core.settings import Settings
from generation.llm.contexts import UserRules

Expertise = Literal["novice", "intermediate", "expert"]
Weight = Annotated[float, Field(ge=0)]

LANGUAGES = {
    "ar": "Arabic",
    "bn": "Bengali",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "nl": "Dutch",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sv": "Swedish",
    "sw": "Swahili",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
"""Code of a language -> its name in prompts."""

_EXPERTISE = "; expertise: "
_STAFF = "; staff: "


class Side(Settings):
    """One of the two sides of a counter from which users speak."""

    weight: Weight = Field(description="how often, in proportion to the other side")
    people: tuple[str, ...] = Field(default=(), description="who the user is; drawn uniformly")
    occasions: tuple[str, ...] = Field(default=(), description="why and from where they write; drawn uniformly")


class RuleSet(Settings):
    """A set of rules that some of the users follow."""

    weight: Weight = Field(description="how often, in proportion to the other sets")
    rules: dict[str, Any] = Field(default_factory=dict, description="what differs from the rules of the other users")
    personas: tuple[str, ...] = Field(default=(), description="their own voices; none: those of the other users")


class UserSettings(Settings):
    """The users of a run. Each dialogue draws one."""

    personas: tuple[str, ...] = Field(
        min_length=1, description="voices, drawn uniformly; the first word of each names it"
    )
    sides: dict[Literal["customer", "staff"], Side] = Field(
        default={}, description="whether users are customers or staff, who speak of customers as third persons"
    )
    moods: tuple[str, ...] = Field(default=(), description="drawn uniformly")
    expertise: dict[Expertise, Weight] = Field(description="level of expertise -> weight")
    languages: dict[str, Weight] = Field(
        default={"en": 1.0}, description="language that the user writes (code such as de) -> weight; goals stay English"
    )
    rules: UserRules = Field(description="rules of behaviour")
    rule_sets: dict[str, RuleSet] = Field(
        default={}, description="name -> rules that replace some of `rules`; one set is drawn for each dialogue"
    )
    attempts: int = Field(ge=1, description="requests per user message until an answer is readable")

    @field_validator("languages")
    @classmethod
    def _are_known(cls, weights: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(weights) - set(LANGUAGES)):
            raise ValueError(f"unknown language {unknown[0]!r}; expected one of {', '.join(LANGUAGES)}")
        return weights

    @model_validator(mode="after")
    def _can_be_drawn(self) -> UserSettings:
        weights: dict[str, list[float]] = {
            "expertise": list(self.expertise.values()),
            "languages": list(self.languages.values()),
            "sides": [side.weight for side in self.sides.values()] or [1.0],
            "rule_sets": [rule_set.weight for rule_set in self.rule_sets.values()] or [1.0],
        }
        if empty := [name for name, values in weights.items() if not sum(values) > 0]:
            expected = f" for one of {', '.join(get_args(Expertise))}" if empty[0] == "expertise" else ""
            raise ValueError(f"{empty[0]} needs a weight above 0{expected}")
        if "staff" in self.sides and not self.sides["staff"].people:
            raise ValueError("sides.staff.people is empty; expected who the members of staff are")
        for name in self.rule_sets:
            try:
                self.rules_named(name)
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"rule_sets.{name}.rules.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return self

    @property
    def described(self) -> bool:
        """Whether users are more than a voice, so that tasks can be made for them."""
        return any(side.people or side.occasions for side in self.sides.values())

    @property
    def multilingual(self) -> bool:
        return any(weight > 0 for code, weight in self.languages.items() if code != "en")

    def rules_named(self, name: str | None) -> UserRules:
        """The rules of a set; without a name, or with that of no set, those that all sets start from."""
        changes = self.rule_sets[name].rules if name in self.rule_sets else {}
        return UserRules.model_validate(self.rules.model_dump() | changes)


@dataclass(frozen=True)
class User:
    """One user: `persona` in words, "voice; customer: …; occasion: …; mood: …; expertise: …", the name of its rule set
    (None: there are none), its rules and the code of its language."""

    persona: str
    rule_set: str | None
    rules: UserRules
    language: str

    @property
    def description(self) -> str:
        """The persona without the expertise."""
        return self.persona.rpartition(_EXPERTISE)[0]

    @property
    def expertise(self) -> str:
        return self.persona.rpartition(_EXPERTISE)[2]

    @property
    def is_staff(self) -> bool:
        return _STAFF in self.persona

    @property
    def language_name(self) -> str:
        return LANGUAGES[self.language]


def drawn_user(settings: UserSettings, seed: str) -> User:
    """The user of the dialogue with this seed."""
    rng = Random(seed)
    expertise = _drawn(settings.expertise, rng)
    rule_set = (
        _drawn({name: one.weight for name, one in settings.rule_sets.items()}, rng) if settings.rule_sets else None
    )
    own = settings.rule_sets[rule_set].personas if rule_set else ()
    parts = [rng.choice(own or settings.personas)]
    if settings.sides:
        name = _drawn({name: side.weight for name, side in settings.sides.items()}, rng)
        side = settings.sides[name]
        parts += [f"{name}: {rng.choice(side.people)}"] if side.people else []
        parts += [f"occasion: {rng.choice(side.occasions)}"] if side.occasions else []
    parts += [f"mood: {rng.choice(settings.moods)}"] if settings.moods else []
    return User(
        persona=f"{'; '.join(parts)}{_EXPERTISE}{expertise}",
        rule_set=rule_set,
        rules=settings.rules_named(rule_set),
        language=_drawn(settings.languages, rng) if settings.multilingual else "en",
    )


def recalled_user(settings: UserSettings, drawn: User, provenance: Provenance) -> User:
    """The user of an earlier dialogue, as its provenance names it; what it does not name is as drawn."""
    user, persona = drawn, provenance.persona
    if persona and persona.rpartition(_EXPERTISE)[2] in get_args(Expertise):
        user = replace(user, persona=persona)
    if provenance.user_rules in settings.rule_sets:
        user = replace(user, rule_set=provenance.user_rules, rules=settings.rules_named(provenance.user_rules))
    if provenance.language in LANGUAGES:
        user = replace(user, language=provenance.language)
    return user


def _drawn(weights: dict[Any, float], rng: Random) -> Any:
    return rng.choices(list(weights), list(weights.values()))[0]
