"""What a training would take, before it starts: memory of each device, tokens, FLOPs and hours, and what is missing for it here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.dialogue import Dialogue
from core.messages import AssistantMessage, Frozen, SystemMessage, UserMessage
from core.settings import UserError
from training.hardware import AssumedSettings
from training.memory import Memory, Recipe, memory
from training.mixture import Mixture, mix, read_chosen
from training.model_shape import ModelShape
from training.settings import ModelSettings, TrainSettings

SAMPLED = 500
"""Dialogues whose trees are measured, evenly spread over the mixture."""


class TreeFigures(Frozen):
    """A mean tree: `tokens`, the `pairs` of a token and a key it sees, the `trained` tokens."""

    tokens: float
    pairs: float
    trained: float


class Plan(Frozen):
    """`dialogues` and the mean tree are those of the data, or assumed where `measured` is false; hours are of training steps alone,
    without validation, checkpoints and what is tokenised before."""

    parameters: int
    active_share: float
    memory: Memory
    device_bytes: int
    host_bytes: int
    measured: bool
    dialogues: int
    tree: TreeFigures
    rows: int
    steps_per_epoch: int
    steps: int
    flops_per_epoch: float
    hours_per_epoch: float
    hours: float
    missing: tuple[str, ...]

    @property
    def short_of(self) -> tuple[str, ...]:
        """What the planned hardware lacks."""
        found = {"device": (self.memory.device, self.device_bytes), "host": (self.memory.host, self.host_bytes)}
        return tuple(
            f"{needed / 1e9:.0f} GB of {where} memory are needed for each device, there are {given / 1e9:.0f}"
            for where, (needed, given) in found.items()
            if needed > given
        )


def shape_of(model: ModelSettings) -> ModelShape:
    """The dimensions of the model to train: of the tiny one, of a local directory's config.json, else as conf/model/ states
    them. Raises UserError where none of them says."""
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
        raise UserError(f"model.path={model.path} is no directory with a config.json: model.shape must say what it is")
    return model.shape


def plan(settings: TrainSettings, files: Sequence[Path], missing: Sequence[str]) -> Plan:
    """The plan for `settings` on the hardware they name. Without `files` the data is as assumed; `missing` is what this machine
    lacks. Raises UserError for data that cannot be trained on."""
    shape, hardware = shape_of(settings.model), settings.hardware
    mixture = mix(files, settings.mixture, settings.seed) if files else None
    tree = _mean_tree(files, mixture, settings.assume) if mixture else _assumed_tree(settings.assume)
    dialogues = len(mixture.train) if mixture else settings.assume.dialogues
    rows = max(1, math.ceil(dialogues * tree.tokens / (settings.row_tokens * settings.assume.fill)))
    steps = math.ceil(rows / settings.batch_size)
    # One tree's figures are means: FLOPs are linear in all three.
    flops = 3.0 * dialogues * shape.flops(round(tree.tokens), round(tree.pairs), round(tree.trained))
    hours = flops / (hardware.devices * hardware.tflops * 1e12) / 3600
    whole = settings.max_steps or math.ceil(settings.epochs * steps)
    recipe = Recipe.of(
        settings.deepspeed,
        devices=hardware.devices,
        row_tokens=settings.row_tokens,
        bf16=hardware.bf16,
        checkpointing=settings.gradient_checkpointing,
        offloads_activations=settings.activation_offload,
        path_keys=settings.assume.path_keys,
    )
    return Plan(
        parameters=shape.parameters,
        active_share=shape.active_parameters / shape.parameters,
        memory=memory(shape, recipe),
        device_bytes=round(hardware.memory_gb * 1e9),
        host_bytes=round(hardware.host_memory_gb * 1e9),
        measured=mixture is not None,
        dialogues=dialogues,
        tree=tree,
        rows=rows,
        steps_per_epoch=steps,
        steps=whole,
        flops_per_epoch=flops,
        hours_per_epoch=hours,
        hours=hours * whole / steps,
        missing=tuple(missing),
    )


def _assumed_tree(assumed: AssumedSettings) -> TreeFigures:
    return TreeFigures(
        tokens=assumed.tokens, pairs=assumed.tokens * assumed.keys, trained=assumed.tokens * assumed.trained
    )


def _mean_tree(files: Sequence[Path], mixture: Mixture, assumed: AssumedSettings) -> TreeFigures:
    every = max(1, len(mixture.train) // SAMPLED)
    found = [tree_figures(d, assumed.characters_per_token) for d in read_chosen(files, mixture.train[::every])]
    means = (sum(values) / len(found) for values in zip(*((f.tokens, f.pairs, f.trained) for f in found), strict=True))
    return TreeFigures(**dict(zip(TreeFigures.model_fields, means, strict=True)))


@dataclass
class _Turn:
    """Characters of one request: what the user says, and what the assistant writes, thinks and is returned."""

    asked: int
    answered: int = 0
    thought: int = 0
    returned: int = 0


def tree_figures(dialogue: Dialogue, characters_per_token: float) -> TreeFigures:
    """A dialogue's tree as its characters tell: a trunk of everything but reasoning, and for each request a branch with what
    follows it, reasoning included. The last answers are not on the trunk: nothing comes after them."""
    tools = sum(len(tool.model_dump_json()) for tool in dialogue.tools)
    turns: list[_Turn] = []
    before = tools
    for message in dialogue.messages:
        if isinstance(message, SystemMessage):
            before += len(message.content)
        elif isinstance(message, UserMessage):
            turns.append(_Turn(asked=len(message.content)))
        elif isinstance(message, AssistantMessage):
            called = sum(len(call.name) + len(call.function.arguments) for call in message.tool_calls or ())
            turns[-1].answered += len(message.content) + called
            turns[-1].thought += len(message.reasoning_content or "")
        else:
            turns[-1].returned += len(message.content)
    tokens, pairs, trained, depth = before, before * before / 2, 0, before
    for number, turn in enumerate(turns):
        kept = turn.answered + turn.returned
        branch, trunk = kept + turn.thought, turn.asked + (kept if number + 1 < len(turns) else 0)
        tokens += trunk + branch
        pairs += trunk * (depth + trunk / 2) + branch * (depth + turn.asked + branch / 2)
        trained += turn.answered + turn.thought
        depth += trunk
    each = characters_per_token
    return TreeFigures(tokens=tokens / each, pairs=pairs / each**2, trained=trained / each)
