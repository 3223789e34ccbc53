"""Detects contamination: tools, entities and word n-grams of task texts that dialogues share with test benchmarks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Literal

from pydantic import Field

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Frozen, UserMessage
from core.settings import Settings
from generation.export.benchmark_texts import BenchmarkData
from generation.export.dedup import Removal
from generation.utterances.text import ngrams, words

Kind = Literal["tools", "entities", "texts", "policies"]
Policy = Literal["drop", "report"]

SHORTEST = 8
"""In words. A benchmark text shorter than an n-gram counts if a complete message or goal equals it; texts shorter than
this ("What is my first name?") are not distinctive and never count."""

_TOKEN = re.compile(r"[\w.@+-]+")
_ESCAPE = re.compile(r"\\[nrtbf]")


class ContaminationSettings(Settings):
    """Policies for dialogues that share something with a benchmark: `drop` removes them, `report` only counts them."""

    ngram: int = Field(ge=SHORTEST, description="length in words of a shared run that counts as contamination")
    tools: Policy = Field(description="dialogues with a tool of the same name and parameters: drop or report")
    entities: Policy = Field(
        description="dialogues with a customer, record or address that the tasks name: drop or report"
    )
    texts: Policy = Field(
        description="dialogues that share `ngram` consecutive words with a task's text: drop or report"
    )
    policies: Policy = Field(
        description="dialogues that share `ngram` consecutive words with a benchmark's policy, but were not generated "
        "from its tools: drop or report"
    )
    examples: int = Field(ge=0, description="examples of each kind in the report")

    def policy(self, kind: Kind) -> Policy:
        policies: dict[Kind, Policy] = {
            "tools": self.tools,
            "entities": self.entities,
            "texts": self.texts,
            "policies": self.policies,
        }
        return policies[kind]


class Hit(Frozen):
    """An item that a dialogue shares with a benchmark: `what` it is, and `of` which task, domain or file."""

    benchmark: str
    kind: Kind
    what: str
    of: str


class SharedExample(Frozen):
    dialogue_id: str
    what: str
    of: str


class KindReport(Frozen):
    """The number of `dialogues` that share an item of this kind, the policy for them, and the first of them by id."""

    policy: Policy
    dialogues: int
    examples: tuple[SharedExample, ...]


class BenchmarkReport(Frozen):
    """`looked_for` is the benchmark's number of items of each kind (for texts: n-grams); `kinds` reports the shared
    ones.

    `in_domain` dialogues were generated from the benchmark's own tools and databases, so they share its tools and
    carry its policy intentionally; these do not count as shared.
    """

    version: str
    looked_for: dict[Kind, int]
    in_domain: int
    kinds: dict[Kind, KindReport]


class _BenchmarkIndex:
    """One benchmark, indexed for lookup."""

    def __init__(self, benchmark: BenchmarkData, ngram: int) -> None:
        self.name, self.version, self.ngram = benchmark.name, benchmark.version, ngram
        self.tools = {(_tool_name(tool.name), tool.parameters): tool.of for tool in reversed(benchmark.tools)}
        self.entities = {entity.text.removeprefix("#").casefold(): entity.of for entity in reversed(benchmark.entities)}
        self.ngrams: dict[bytes, str] = {}
        self.short_texts: dict[bytes, str] = {}
        # Benchmarks repeat texts: thousands of τ²'s telecom tasks share theirs.
        for text, of in {text.text: text.of for text in reversed(benchmark.texts)}.items():
            text_words = words(text)
            self.ngrams |= {_key(gram): of for gram in ngrams(text_words, ngram)}
            if SHORTEST <= len(text_words) < ngram:
                self.short_texts[_key(" ".join(text_words))] = of
        self.policies = {
            _key(gram): t.of for t in reversed(benchmark.policies) for gram in ngrams(words(t.text), ngram)
        }
        sizes: dict[Kind, int] = {
            "tools": len(self.tools),
            "entities": len(self.entities),
            "texts": len(self.ngrams) + len(self.short_texts),
            "policies": len(self.policies),
        }
        self.sizes: dict[Kind, int] = {kind: size for kind, size in sizes.items() if size}

    def shared_tools(self, dialogue: Dialogue) -> Iterator[Hit]:
        for tool in dialogue.tools:
            parameters = frozenset(tool.parameters.get("properties", {}))
            if of := self.tools.get((_tool_name(tool.name), parameters)):
                yield Hit(benchmark=self.name, kind="tools", what=tool.name, of=of)

    def shared_entities(self, dialogue: Dialogue) -> Iterator[Hit]:
        for token in _tokens(dialogue):
            if of := self.entities.get(token):
                yield Hit(benchmark=self.name, kind="entities", what=token, of=of)

    def shared_texts(self, dialogue: Dialogue) -> Iterator[Hit]:
        """The first shared n-gram of each of the dialogue's texts."""
        for text in _texts(dialogue):
            text_words = words(text)
            shared = ((gram, of) for gram in ngrams(text_words, self.ngram) if (of := self.ngrams.get(_key(gram))))
            normalized = " ".join(text_words)
            if first := next(shared, None):
                yield Hit(benchmark=self.name, kind="texts", what=first[0], of=first[1])
            elif of := self.short_texts.get(_key(normalized)):
                yield Hit(benchmark=self.name, kind="texts", what=normalized, of=of)

    def shared_policies(self, dialogue: Dialogue) -> Iterator[Hit]:
        """The first n-gram of a policy in what the dialogue's assistant reads and says."""
        texts = [message.content for message in dialogue.messages if not isinstance(message, UserMessage)]
        texts += [dialogue.policy.shown] if dialogue.policy and self.policies else []
        for text in texts if self.policies else ():
            grams = ((gram, of) for gram in ngrams(words(text), self.ngram) if (of := self.policies.get(_key(gram))))
            if first := next(grams, None):
                yield Hit(benchmark=self.name, kind="policies", what=first[0], of=first[1])


class Detector:
    """Looks dialogues up in the benchmarks and counts hits; memory does not grow with the dialogues' text."""

    def __init__(self, benchmarks: Sequence[BenchmarkData], settings: ContaminationSettings) -> None:
        self.settings = settings
        self._indexes = [_BenchmarkIndex(benchmark, settings.ngram) for benchmark in benchmarks]
        self._in_domain: Counter[str] = Counter()
        self._dialogues: Counter[tuple[str, Kind]] = Counter()
        self._examples: defaultdict[tuple[str, Kind], list[SharedExample]] = defaultdict(list)

    def removal(self, dialogue: Dialogue) -> Removal | None:
        """Check one dialogue; the reason to remove it, or None to keep it."""
        removal = None
        for index in self._indexes:
            in_domain = dialogue.provenance.source == index.name
            self._in_domain[index.name] += in_domain
            # Dialogues generated from a benchmark's own tools share them and its policy intentionally.
            shared = () if in_domain else (index.shared_tools(dialogue), index.shared_policies(dialogue))
            for hits in (*shared, index.shared_entities(dialogue), index.shared_texts(dialogue)):
                if first := next(iter(hits), None):
                    self._count(dialogue.dialogue_id, first)
                    if removal is None and self.settings.policy(first.kind) == "drop":
                        removal = _removal(dialogue, first)
        return removal

    def report(self) -> dict[str, BenchmarkReport]:
        return {
            index.name: BenchmarkReport(
                version=index.version,
                looked_for=index.sizes,
                in_domain=self._in_domain[index.name],
                kinds={
                    kind: KindReport(
                        policy=self.settings.policy(kind),
                        dialogues=self._dialogues[index.name, kind],
                        examples=tuple(self._examples[index.name, kind]),
                    )
                    for kind in index.sizes
                },
            )
            for index in self._indexes
        }

    def _count(self, dialogue_id: str, hit: Hit) -> None:
        key = hit.benchmark, hit.kind
        self._dialogues[key] += 1
        examples = [*self._examples[key], SharedExample(dialogue_id=dialogue_id, what=hit.what, of=hit.of)]
        self._examples[key] = sorted(examples, key=lambda example: example.dialogue_id)[: self.settings.examples]


def _removal(dialogue: Dialogue, hit: Hit) -> Removal:
    return Removal(
        dialogue_id=dialogue.dialogue_id,
        pipeline=dialogue.pipeline,
        why=hit.kind,
        of=f"{hit.benchmark}: {hit.of}",
        detail=hit.what,
    )


def _texts(dialogue: Dialogue) -> Iterator[str]:
    """The texts that state a task: goals, subgoals and user messages."""
    for task in dialogue.tasks:
        yield task.goal
        yield from task.subgoals
    yield from (message.content for message in dialogue.messages if isinstance(message, UserMessage))


def _tokens(dialogue: Dialogue) -> Iterable[str]:
    """Every name and number in a dialogue, in lower case."""
    for text in (*_texts(dialogue), *_other_texts(dialogue)):
        for token in _TOKEN.findall(_ESCAPE.sub(" ", text).casefold()):
            yield token.strip(".-+")


def _other_texts(dialogue: Dialogue) -> Iterator[str]:
    for message in dialogue.messages:
        if not isinstance(message, UserMessage):
            yield message.content
        if isinstance(message, AssistantMessage):
            yield from (call.function.arguments for call in message.tool_calls or ())
            yield message.reasoning_content or ""


def _tool_name(name: str) -> str:
    """A comparable name: BFCL's names contain dots, which served specs replace by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold())


def _key(gram: str) -> bytes:
    return blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest()
