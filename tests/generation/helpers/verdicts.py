"""Verdicts on dialogues played in the shop."""

from __future__ import annotations

from core.dialogue import Dialogue, Verdict
from generation.environments.base import DomainEnvironment
from generation.llm.meter import Meter
from generation.scripted.llm import ScriptedLLM
from generation.validation.validate import validate
from tests.generation.helpers.pipeline_runs import SCENE


async def verdict_on(dialogue: Dialogue, domain_environment: DomainEnvironment) -> Verdict:
    verdict = (await validate(dialogue, domain_environment, Meter(ScriptedLLM()), SCENE, True)).verdict
    assert verdict
    return verdict
