"""The plan of a training: memory per device, tokens, FLOPs and hours, and what this machine lacks for it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Frozen, SystemMessage, UserMessage
from core.settings import UserError
from training.hardware import AssumeSettings
from training.memory import Memory, Recipe, memory
from training.mixture import Mixture, mix, read_chosen
from training.model_shape import ModelShape
from training.settings import ModelSettings, TrainSettings

SAMPLED = 500
"""The number of dialogues whose trees are measured, evenly spread over the mixture."""


class TreeCounts(Frozen):
    """The size of a tree, or of the mean tree: tokens, (token, key it sees) pairs, trained tokens, and the keys of all
    chains' paths, which attention gathers."""

    tokens: float
    pairs: float
    trained: float
    path_keys: float


class Plan(Frozen):
    """What a training would take. Hours cover training steps only, not tokenising, validation and checkpoints."""

    parameters: int
    active_share: float
    memory: Memory
    device_bytes: int
    host_bytes: int

    loading_bytes: int
    """Host memory per device while the weights are loaded: each process reads them all."""

    disk_bytes: int
    """Checkpoints to resume from, of which three exist while the third is written, and the trained model."""

    alternatives: tuple[str, ...]
    """Overrides with each of which the training would fit, if it does not."""

    measured: bool
    """`dialogues` and `tree` come from the data; False: they are assumed."""

    dialogues: int

    tree: TreeCounts
    """The mean tree."""

    rows: int
    steps_per_epoch: int
    steps: int
    flops_per_epoch: float
    hours_per_epoch: float
    hours: float
    missing: tuple[str, ...]

    @property
    def shortages(self) -> tuple[str, ...]:
        """The memory that the planned hardware lacks."""
        return _shortages(self.memory, self.loading_bytes, self.device_bytes, self.host_bytes)


def _shortages(memory: Memory, loading: int, device_bytes: int, host_bytes: int) -> tuple[str, ...]:
    memories = {"device": (memory.device, device_bytes), "host": (max(memory.host, loading), host_bytes)}
    return tuple(
        f"each device needs {needed / 1e9:.0f} GB of {where} memory and has {available / 1e9:.0f}"
        for where, (needed, available) in memories.items()
        if needed > available
    )


def shape_of(model: ModelSettings) -> ModelShape:
    """The dimensions of the model to train: from the tiny model's settings, a local directory's config.json, or
    model.shape. Raises UserError if all are missing."""
    if model.tiny:
        return ModelShape(
            vocabulary=model.tiny.vocabulary,
            hidden=model.tiny.hidden,
            layers=model.tiny.layers,
            heads=model.tiny.heads,
            kv_heads=model.tiny.kv_heads,
            head_dim=model.tiny.head_dim,
            intermediate=model.tiny.intermediate,
            tied=True,
        )
    config = Path(str(model.path)) / "config.json"
    if config.is_file():
        return ModelShape.from_config(json.loads(config.read_text()))
    if model.shape is None:
        raise UserError(
            f"model.path={model.path} is not a directory with a config.json: model.shape must give its dimensions"
        )
    return model.shape


def plan(settings: TrainSettings, files: Sequence[Path], missing: Sequence[str]) -> Plan:
    """The plan for `settings` on their hardware. Without `files` the data is assumed; `missing` lists what this machine
    lacks. Raises UserError for data that cannot be trained on."""
    shape, hardware = shape_of(settings.model), settings.hardware
    mixture = mix(files, settings.mixture, settings.seed) if files else None
    counted = _sampled_trees(files, mixture, settings.assume) if mixture else [_assumed_tree(settings.assume)]
    tree = _mean(counted)
    dialogues = len(mixture.train) if mixture else settings.assume.dialogues
    rows = max(1, math.ceil(dialogues * tree.tokens / (settings.row_tokens * settings.assume.fill)))
    epoch_steps = math.ceil(rows / settings.batch_size)
    # The counts are means of trees, and FLOPs are linear in all three.
    flops = 3.0 * dialogues * shape.flops(round(tree.tokens), round(tree.pairs), round(tree.trained))
    hours = flops / (hardware.devices * hardware.tflops * 1e12) / 3600
    epochs = settings.epochs if settings.train_tokens is None else settings.train_tokens / (dialogues * tree.trained)
    steps = settings.max_steps or math.ceil(epochs * epoch_steps)
    recipe = Recipe.of(
        settings.deepspeed,
        devices=hardware.devices,
        row_tokens=settings.row_tokens,
        bf16=hardware.bf16,
        checkpointing=settings.gradient_checkpointing,
        keeps_attention=settings.keep_attention,
        offloads_activations=settings.activation_offload,
        path_keys=0 if settings.attention == "flex" else max(counts.path_keys / counts.tokens for counts in counted),
    )
    planned, loading = memory(shape, recipe), _loading(shape, recipe)
    device_bytes, host_bytes = round(hardware.memory_gb * 1e9), round(hardware.host_memory_gb * 1e9)

    def fits(changed: Recipe) -> bool:
        return not _shortages(memory(shape, changed), loading, device_bytes, host_bytes)

    return Plan(
        parameters=shape.parameters,
        active_share=shape.active_parameters / shape.parameters,
        memory=planned,
        device_bytes=device_bytes,
        host_bytes=host_bytes,
        loading_bytes=loading,
        disk_bytes=_disk(shape, recipe),
        alternatives=() if fits(recipe) else tuple(_alternatives(recipe, fits)),
        measured=mixture is not None,
        dialogues=dialogues,
        tree=tree,
        rows=rows,
        steps_per_epoch=epoch_steps,
        steps=steps,
        flops_per_epoch=flops,
        hours_per_epoch=hours,
        hours=hours * steps / epoch_steps,
        missing=tuple(missing),
    )


def _loading(shape: ModelShape, recipe: Recipe) -> int:
    return shape.parameters * (2 if recipe.bf16 else 4)


def _disk(shape: ModelShape, recipe: Recipe) -> int:
    weights = 2 if recipe.bf16 else 4
    checkpoint = weights + (12 if recipe.deepspeed else 2 * weights)
    return shape.parameters * (3 * checkpoint + weights)


def _alternatives(recipe: Recipe, fits: Callable[[Recipe], bool]) -> Iterator[str]:
    """Each alone: more devices, the optimizer in host memory, attention computed again, shorter rows."""
    for factor in (2, 4, 8, 16):
        if fits(recipe.model_copy(update={"devices": factor * recipe.devices})):
            yield f"hardware.devices={factor * recipe.devices}"
            break
    if recipe.stage == 3 and fits(recipe.model_copy(update={"offloads_optimizer": True})):
        yield "deepspeed=zero3_offload"
    if recipe.keeps_attention and fits(recipe.model_copy(update={"keeps_attention": False})):
        yield "keep_attention=false"
    for share in (2, 4):
        if fits(recipe.model_copy(update={"row_tokens": recipe.row_tokens // share})):
            yield f"row_tokens={recipe.row_tokens // share} max_tokens={recipe.row_tokens // share}"
            break


def _assumed_tree(assumed: AssumeSettings) -> TreeCounts:
    return TreeCounts(
        tokens=assumed.tokens,
        pairs=assumed.tokens * assumed.keys_per_token,
        trained=assumed.tokens * assumed.trained_share,
        path_keys=assumed.tokens * assumed.path_keys,
    )


def _sampled_trees(files: Sequence[Path], mixture: Mixture, assumed: AssumeSettings) -> list[TreeCounts]:
    every = max(1, len(mixture.train) // SAMPLED)
    return [tree_counts(d, assumed.characters_per_token) for d in read_chosen(files, mixture.train[::every])]


def _mean(counted: Sequence[TreeCounts]) -> TreeCounts:
    return TreeCounts(
        **{name: sum(getattr(counts, name) for counts in counted) / len(counted) for name in TreeCounts.model_fields}
    )


@dataclass
class _Turn:
    """The characters of one user turn: of the request, answers and calls, reasoning, and tool results."""

    request: int
    answers: int = 0
    reasoning: int = 0
    results: int = 0


def tree_counts(dialogue: Dialogue, characters_per_token: float) -> TreeCounts:
    """Estimate a dialogue's tree from its characters: a trunk of everything but reasoning, and for each user turn a
    branch with the rest of the turn, reasoning included. The last turn's answers are not on the trunk: nothing follows
    them."""
    tools = sum(len(tool.model_dump_json()) for tool in dialogue.tools)
    turns: list[_Turn] = []
    before = tools
    for message in dialogue.messages:
        if isinstance(message, SystemMessage):
            before += len(message.content)
        elif isinstance(message, UserMessage):
            turns.append(_Turn(request=len(message.content)))
        elif isinstance(message, AssistantMessage):
            called = sum(len(call.name) + len(call.function.arguments) for call in message.tool_calls or ())
            turns[-1].answers += len(message.content) + called
            turns[-1].reasoning += len(message.reasoning_content or "")
        else:
            turns[-1].results += len(message.content)
    tokens, pairs, trained, depth, path_keys = before, before * before / 2, 0, before, 0
    for number, turn in enumerate(turns):
        spoken = turn.answers + turn.results
        branch, trunk = spoken + turn.reasoning, turn.request + (spoken if number + 1 < len(turns) else 0)
        tokens += trunk + branch
        pairs += trunk * (depth + trunk / 2) + branch * (depth + turn.request + branch / 2)
        trained += turn.answers + turn.reasoning
        path_keys += depth + turn.request + branch
        depth += trunk
    return TreeCounts(
        tokens=tokens / characters_per_token,
        pairs=pairs / characters_per_token**2,
        trained=trained / characters_per_token,
        path_keys=path_keys / characters_per_token,
    )
