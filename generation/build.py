"""Builds a generation run from its typed settings: constructs every `_target_` and checks that the stages have work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from core.runs import sha256
from core.settings import UserError, closest
from generation.domain_sources import DomainSource, toolset_sources
from generation.environments.base import EnvironmentFactory
from generation.llm.base import LLM, Role
from generation.llm.by_role import LLMByRole
from generation.llm.openai import TRANSPORT_KEYS
from generation.run import GenerateSettings, GenerationComponents
from generation.stages import DialogueStage, Policies, Rollouts, Stage, ToolsetStage, Validation
from generation.start_states.start_states import StartSettings, StartState, StartStates, read_starts

NEUTRAL = (
    *("outputs", "report", "tracking", "resume", "concurrency", "attempts", "executor", "costs"),
    *("domains", "toolsets", "plan", "assume"),
)
"""Neutral keys of every run, see `neutral_keys`."""

_SCRIPTED = "generation.scripted.llm.ScriptedLLM"

Instantiate = Callable[[Mapping[str, Any]], Any]
"""Constructs the object that a settings node names in `_target_`; scripts.launch.instantiate does it with Hydra."""


def build(settings: GenerateSettings, instantiate: Instantiate) -> GenerationComponents:
    """Construct the components of a run. Raises UserError for unusable files and for stages without any work."""
    start_states = StartStates(_read_start_states(settings.start), settings.start)
    environments = {name: instantiate(pipeline.environment) for name, pipeline in settings.pipelines.items()}
    domain_sources = _domain_sources(settings, environments, instantiate)
    components = GenerationComponents(
        llm=partial(build_llm, settings.llm, settings.roles, instantiate),
        toolset_sources=toolset_sources(settings.toolsets, domain_sources, start_states),
        stages=tuple(_build_stage(name, node, instantiate) for name, node in settings.stages.items()),
        environments=environments,
        start_states=start_states,
        executor=instantiate(settings.executor),
    )
    _refuse_idle_stages(components)
    _refuse_idle_server(settings)
    _refuse_scripted_languages(settings)
    _refuse_repeated_nothing(settings, components.stages)
    _refuse_equal_votes(settings, components.stages)
    _refuse_unknown_policies(components)
    return components


def _domain_sources(
    settings: GenerateSettings, environments: Mapping[str, EnvironmentFactory], instantiate: Instantiate
) -> tuple[DomainSource, ...]:
    """The different sources of all pipelines, in the order of the pipelines. Raises UserError for a pipeline without
    any."""
    chosen: dict[str, tuple[str, dict[str, Any], list[str]]] = {}
    for name, pipeline in settings.pipelines.items():
        key, node = (
            (f"pipelines.{name}.domains", pipeline.domains) if pipeline.domains else ("domains", settings.domains)
        )
        if "_target_" not in node:
            kind = environments[name].engine or "simulated"
            if not node.get(kind):
                raise UserError(
                    f"{key} has sources for {', '.join(node) or 'nothing'}, but the pipeline {name} needs one for {kind}: "
                    f"give domains@pipelines.{name}.domains=…"
                )
            key, node = f"{key}.{kind}", node[kind]
        chosen.setdefault(json.dumps(node, sort_keys=True), (key, node, []))[2].append(name)
    return tuple(DomainSource(key, instantiate(node), tuple(names)) for key, node, names in chosen.values())


def build_llm(llm: dict[str, Any], roles: Mapping[Role, dict[str, Any]], instantiate: Instantiate) -> LLM:
    """Construct the model of a run, and those of single roles."""
    default = instantiate(llm)
    return LLMByRole(default, {role: instantiate(node) for role, node in roles.items()}) if roles else default


def served(
    llm: dict[str, Any], roles: Mapping[Role, dict[str, Any]], urls: Sequence[str]
) -> tuple[dict[str, Any], dict[Role, dict[str, Any]]]:
    """The models with `urls` as base URLs: `llm`, or if that asks no server, as the stand-in, the roles' models."""
    if _asks_server(llm):
        return with_base_urls(llm, urls), dict(roles)
    return llm, {role: model and with_base_urls(model, urls) for role, model in roles.items()}


def _refuse_idle_server(settings: GenerateSettings) -> None:
    """`serve` starts a server, which some model must ask."""
    models = (settings.llm, *settings.roles.values())
    if settings.serve and not any(_asks_server(model) for model in models if model):
        raise UserError(
            f"serve={settings.serve} was given, but llm is {settings.llm.get('_target_')}, which asks no server; expected "
            "llm=vllm or another model behind a server, for all roles or for some (llm@roles.judge=vllm)"
        )


def _asks_server(model: Mapping[str, Any]) -> bool:
    parts = [model.get("inner"), *(model.get("models") or {}).values()]
    return "base_urls" in model or any(_asks_server(part) for part in parts if part)


def with_base_urls(llm: dict[str, Any], urls: Sequence[str]) -> dict[str, Any]:
    """The settings of a model with `urls` as its `base_urls`. A wrapper's innermost models get them, and none that asks
    no server."""
    if "inner" in llm:
        return llm | {"inner": with_base_urls(llm["inner"], urls)}
    if "models" in llm:
        return llm | {"models": {name: node and with_base_urls(node, urls) for name, node in llm["models"].items()}}
    return llm | {"base_urls": list(urls)} if "base_urls" in llm else llm


def neutral_keys(settings: GenerateSettings) -> tuple[str, ...]:
    """Dotted names of the keys that do not change what is generated: an unfinished run is resumed with other values of
    them. The content of domains and toolsets counts instead (`input_hashes`)."""
    models = {"llm": settings.llm} | {f"roles.{role}": llm for role, llm in settings.roles.items()}
    nodes = [path for name, llm in models.items() for path in model_nodes(name, llm)]
    sources = [f"pipelines.{name}.domains" for name in settings.pipelines]
    return (*NEUTRAL, *sources, *(f"{node}.{key}" for node in nodes for key in TRANSPORT_KEYS))


def model_nodes(path: str, llm: Mapping[str, Any]) -> Iterator[str]:
    """The path of a model's settings, and those of the models that it wraps."""
    yield path
    if "inner" in llm:
        yield from model_nodes(f"{path}.inner", llm["inner"])
    for name, node in llm.get("models", {}).items():
        yield from model_nodes(f"{path}.models.{name}", node or {})


def input_hashes(settings: GenerateSettings, components: GenerationComponents) -> dict[str, str]:
    """Return name -> SHA-256 of everything that the run reads: given files, and each toolset in its order."""
    files = {"toolsets": settings.toolsets, "start": settings.start.file}
    for stage in components.stages:
        if isinstance(stage, Policies):
            files["policies"] = stage.settings.file
    hashes = {name: sha256(file) for name, file in files.items() if file}
    for number, source in enumerate(components.toolset_sources):  # the order decides each dialogue's domain
        content = source.toolset.model_dump_json(exclude={"database"})
        hashes[f"toolset {number}: {source.toolset.domain}"] = hashlib.sha256(content.encode()).hexdigest()
    return hashes


def _read_start_states(settings: StartSettings) -> tuple[StartState, ...]:
    """Read the start states. Raises UserError if no line can be used, or if settings are given without a file."""
    if settings.file is None:
        if settings != StartSettings(file=None, at="end", branches=1, inject=False):
            raise UserError("start.at, start.branches and start.inject need dialogues to start from: give start.file=…")
        return ()
    states = read_starts(settings.file)
    if not any(state.dialogue for state in states):
        raise UserError(f"start.file was given, but no line of it can be used; {states[0].problem}")
    return states


def _build_stage(name: str, node: Mapping[str, Any], instantiate: Instantiate) -> Stage:
    """Construct one stage. Raises UserError for an object that is not a stage, which would be skipped silently."""
    stage = instantiate(node)
    if not isinstance(stage, Stage):
        raise UserError(
            f"stages.{name}: {node.get('_target_')} is not a stage; expected a method `toolset` or `dialogue`"
        )
    return stage


def _refuse_idle_stages(components: GenerationComponents) -> None:
    """Raise UserError if the chosen stages have nothing to work on, instead of one failure for each dialogue."""
    imported = [state.dialogue for state in components.start_states.starts if state.dialogue]
    if not components.toolset_sources and not imported:
        raise UserError("toolsets=… was given, but the file contains no toolset")
    dialogue_stages = [stage for stage in components.stages if isinstance(stage, DialogueStage)]
    if dialogue_stages and isinstance(dialogue_stages[0], Validation) and not imported:
        raise UserError("validation is the first stage, but has no dialogues to validate: give start.file=…")
    have_tools = any(source.toolset.tools for source in components.toolset_sources) or any(d.tools for d in imported)
    if not have_tools and not any(isinstance(stage, ToolsetStage) for stage in components.stages):
        raise UserError("the chosen stages make no tools, and no tools are given: add stage tools, or give toolsets=…")


def _refuse_repeated_nothing(settings: GenerateSettings, stages: Sequence[Stage]) -> None:
    """Raise UserError for several rollouts without the stage that plays a dialogue."""
    for name, pipeline in settings.pipelines.items():
        if pipeline.rollouts.most > 1 and not any(isinstance(stage, Rollouts) for stage in stages):
            raise UserError(
                f"pipelines.{name}.rollouts.most={pipeline.rollouts.most} was given, but the chosen stages play no "
                "dialogue: add the stages rollout and validation"
            )


def _refuse_unknown_policies(components: GenerationComponents) -> None:
    """Raise UserError for a given policy of a domain that the run does not have, which would be ignored silently."""
    domains = [source.toolset.domain for source in components.toolset_sources]
    for stage in components.stages:
        if isinstance(stage, Policies) and (unknown := sorted(set(stage.given) - set(domains))):
            raise UserError(
                f"{stage.settings.file}: there is no domain {unknown[0]!r} in this run; {closest(unknown[0], domains)}"
            )


def _refuse_scripted_languages(settings: GenerateSettings) -> None:
    """Raise UserError for users or agents of the stand-in that should write another language than English."""
    roles: tuple[Role, ...] = ("user", "agent")
    english_only = [role for role in roles if _is_scripted(settings.roles.get(role, settings.llm))]
    if settings.user.multilingual and english_only:
        languages = ", ".join(code for code, weight in settings.user.languages.items() if weight > 0)
        raise UserError(
            f"user.languages with {languages} was given, but the {' and the '.join(english_only)} are played by the "
            "stand-in, which speaks only English; expected: user.languages={en: 1.0}, or a model (llm=vllm)"
        )


def _is_scripted(llm: Mapping[str, Any]) -> bool:
    return _is_scripted(llm["inner"]) if "inner" in llm else llm.get("_target_") == _SCRIPTED


def _refuse_equal_votes(settings: GenerateSettings, stages: Sequence[Stage]) -> None:
    """Raise UserError for several votes of one greedy judge, which would all be the same, and for judges without any
    vote."""
    votes = max((stage.settings.votes for stage in stages if isinstance(stage, Validation)), default=0)
    if not votes:
        return
    judges = _judges(settings.roles.get("judge", settings.llm))
    if idle := list(judges)[votes:]:
        raise UserError(
            f"stages.validation.votes={votes} was given with a panel of {len(judges)} judges, so {', '.join(idle)} would "
            "never vote; expected: an odd number of votes, at least one for each of them"
        )
    for number, judge in enumerate(judges.values()):
        sampling = judge.get("sampling", {}) | judge.get("role_sampling", {}).get("judge", {})
        if votes > number + len(judges) and sampling.get("temperature") == 0:
            raise UserError(
                f"stages.validation.votes={votes} was given with a greedy judge (temperature 0), whose votes are all the "
                "same; expected: one vote for each judge, or a temperature above 0 for the judge"
            )


def _judges(llm: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The models that take the judge's votes in turn, by name: those of a panel, or the one model."""
    while "inner" in llm:
        llm = llm["inner"]
    return {name: node for name, node in llm.get("models", {"judge": llm}).items() if node}
