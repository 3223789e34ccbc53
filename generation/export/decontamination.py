"""What dialogues share with the benchmarks that models are tested on: tools, entities, and runs of words of task texts."""

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
from generation.export.benchmark_texts import Benchmark
from generation.export.dedup import Removal
from generation.export.text import ngrams, words

Kind = Literal["tools", "entities", "texts"]
Policy = Literal["drop", "report"]

SHORTEST = 8
"""A benchmark's text of fewer words than a gram counts where a whole message or goal equals it, from this many words on; still
shorter ones ("What is my first name?") are anybody's."""

_TOKEN = re.compile(r"[\w.@+-]+")
_ESCAPE = re.compile(r"\\[nrtbf]")


class ContaminationSettings(Settings):
    """What becomes of a dialogue that shares something of a kind with a benchmark. `ngram` is the number of words in a run that is
    no coincidence; `examples` of each kind are shown in the report."""

    ngram: int = Field(ge=SHORTEST)
    tools: Policy
    entities: Policy
    texts: Policy
    examples: int = Field(ge=0)

    def policy(self, kind: Kind) -> Policy:
        policies: dict[Kind, Policy] = {"tools": self.tools, "entities": self.entities, "texts": self.texts}
        return policies[kind]


class Hit(Frozen):
    """Something that a dialogue shares with a benchmark: `what` it is, and the task, domain or file `of` the benchmark."""

    benchmark: str
    kind: Kind
    what: str
    of: str


class SharedExample(Frozen):
    dialogue_id: str
    what: str
    of: str


class KindReport(Frozen):
    """`dialogues` that share something of this kind, what becomes of them, and the first of them by id."""

    policy: Policy
    dialogues: int
    examples: tuple[SharedExample, ...]


class BenchmarkReport(Frozen):
    """`looked_for` is how many things of a kind the benchmark has (of texts: runs of words), and `kinds` what was found of them.

    `in_domain` dialogues were made from the benchmark's own tools and databases, so that they share its tools by intent; these
    tools are not counted as found.
    """

    version: str
    looked_for: dict[Kind, int]
    in_domain: int
    kinds: dict[Kind, KindReport]


class _BenchmarkIndex:
    """One benchmark, arranged for looking up."""

    def __init__(self, benchmark: Benchmark, ngram: int) -> None:
        self.name, self.version, self.ngram = benchmark.name, benchmark.version, ngram
        self.tools = {(_tool_name(tool.name), tool.parameters): tool.of for tool in reversed(benchmark.tools)}
        self.entities = {entity.text.removeprefix("#").casefold(): entity.of for entity in reversed(benchmark.entities)}
        self.ngrams: dict[bytes, str] = {}
        self.wholes: dict[bytes, str] = {}
        # Benchmarks repeat themselves: τ²'s telecom tells thousands of tasks the same.
        for text, of in {text.text: text.of for text in reversed(benchmark.texts)}.items():
            said = words(text)
            self.ngrams |= {_key(gram): of for gram in ngrams(said, ngram)}
            if SHORTEST <= len(said) < ngram:
                self.wholes[_key(" ".join(said))] = of

        sizes: dict[Kind, int] = {
            "tools": len(self.tools),
            "entities": len(self.entities),
            "texts": len(self.ngrams) + len(self.wholes),
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
        """The first shared run of words of each of the dialogue's texts."""
        for text in _texts(dialogue):
            said = words(text)
            found = ((gram, of) for gram in ngrams(said, self.ngram) if (of := self.ngrams.get(_key(gram))))
            whole = " ".join(said)
            if first := next(found, None):
                yield Hit(benchmark=self.name, kind="texts", what=first[0], of=first[1])
            elif of := self.wholes.get(_key(whole)):
                yield Hit(benchmark=self.name, kind="texts", what=whole, of=of)


class Detector:
    """Looks dialogues up in the benchmarks and keeps count; what it keeps does not grow with the dialogues' text."""

    def __init__(self, benchmarks: Sequence[Benchmark], settings: ContaminationSettings) -> None:
        self.settings = settings
        self._indexes = [_BenchmarkIndex(benchmark, settings.ngram) for benchmark in benchmarks]
        self._in_domain: Counter[str] = Counter()
        self._dialogues: Counter[tuple[str, Kind]] = Counter()
        self._examples: defaultdict[tuple[str, Kind], list[SharedExample]] = defaultdict(list)

    def removal(self, dialogue: Dialogue) -> Removal | None:
        """Look at one dialogue; why it goes, None if it stays."""
        removal = None
        for index in self._indexes:
            in_domain = dialogue.provenance.source == index.name
            self._in_domain[index.name] += in_domain
            # What was made from a benchmark's own tools has them by intent.
            shared = () if in_domain else index.shared_tools(dialogue)
            for hits in (shared, index.shared_entities(dialogue), index.shared_texts(dialogue)):
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
        at = hit.benchmark, hit.kind
        self._dialogues[at] += 1
        examples = [*self._examples[at], SharedExample(dialogue_id=dialogue_id, what=hit.what, of=hit.of)]
        self._examples[at] = sorted(examples, key=lambda example: example.dialogue_id)[: self.settings.examples]


def _removal(dialogue: Dialogue, hit: Hit) -> Removal:
    return Removal(
        dialogue_id=dialogue.dialogue_id,
        pipeline=dialogue.pipeline,
        why=hit.kind,
        of=f"{hit.benchmark}: {hit.of}",
        detail=hit.what,
    )


def _texts(dialogue: Dialogue) -> Iterator[str]:
    """What states a task: goals, their parts, and the user's words."""
    for task in dialogue.tasks:
        yield task.goal
        yield from task.subgoals
    yield from (message.content for message in dialogue.messages if isinstance(message, UserMessage))


def _tokens(dialogue: Dialogue) -> Iterable[str]:
    """Every name and number that stands anywhere in a dialogue, in order and without case."""
    for text in (*_texts(dialogue), *_others(dialogue)):
        for token in _TOKEN.findall(_ESCAPE.sub(" ", text).casefold()):
            yield token.strip(".-+")


def _others(dialogue: Dialogue) -> Iterator[str]:
    for message in dialogue.messages:
        if not isinstance(message, UserMessage):
            yield message.content
        if isinstance(message, AssistantMessage):
            yield from (call.function.arguments for call in message.tool_calls or ())
            yield message.reasoning_content or ""


def _tool_name(name: str) -> str:
    """BFCL's names have dots, of which served specs make underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold())


def _key(gram: str) -> bytes:
    return blake2b(gram.encode("utf-8", "surrogatepass"), digest_size=8).digest()
