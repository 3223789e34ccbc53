"""make serve-tools [source=…]: an MCP server whose sessions act in worlds of their own -> outputs/serve-tools/.

    make serve-tools                                            the tools of the newest finished generation
    make serve-tools source=outputs/generate/RUN task=ID        every session starts where this task did, and is judged
    make serve-tools source=toolsets.jsonl domains=[library]    a file of toolsets, one domain of it
    make serve-tools source=shop.sqlite                         a database; the model makes the tools
    make serve-tools source=bundled domains=[gym,library]       bundled databases

`transport=stdio` is for clients that start the server themselves. A session's calls, state and verdict are a line of
sessions/dialogues.jsonl, in the format of generated dialogues: `make verify run=outputs/serve-tools/<run id>` replays
them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import Field
from rich.console import Console

from core.dialogue import Dialogue
from core.journal import Journal
from core.manifest import read_manifest
from core.runs import Run, latest, open_run, sha256
from core.settings import Settings, UserError, closest
from generation.build import with_base_urls
from generation.llm.base import LLM
from generation.mcp_server.server import ToolServer
from generation.mcp_server.session import Session, verdict_of
from generation.mcp_server.transports import HOST, PATH, http_server, listen, serve_stdio
from generation.mcp_server.world import PIPELINE, TaskFile, World
from generation.run import closing
from generation.seeds.bundled import BundledSeeds
from generation.seeds.sqlite import SqliteSeeds
from generation.tools.toolset import Toolset, toolsets_for
from generation.toolset_runner import ToolsetSource, run_toolset_stages, source_from_seed, sources_from_file
from scripts.launch import CONF, clear_errors, instantiate, read_settings

BUNDLED = "bundled"


class ServeToolsSettings(Settings):
    """Settings of make serve-tools."""

    source: str | None = Field(
        default=None,
        description="a generation run, a toolsets.jsonl, an SQLite file, or bundled; null: the newest finished generation",
    )
    domains: tuple[str, ...] | None = Field(default=None, description="the domains to serve; null: all of the source")
    pipeline: str | None = Field(
        default=None,
        description="of a run: whose toolsets, environment and tasks; null: the first one that executes its tools",
    )
    task: str | None = Field(
        default=None, description="of a run: the id of the task that every session is opened for; null: none"
    )
    transport: Literal["http", "stdio"] = Field(default="http", description="streamable HTTP on 127.0.0.1, or stdio")
    port: int = Field(default=8321, ge=0, le=65535, description="of http; 0: a free one")
    sessions: int = Field(default=64, ge=1, description="of http: most sessions at once")
    idle_s: float = Field(default=1800, gt=0, description="of http: seconds without a request that end a session")
    calls: int = Field(default=500, ge=1, description="most calls of a session")
    message_bytes: int = Field(default=262_144, ge=1024, description="bytes of the largest message that is read")
    llm: str = Field(default="scripted", description="of conf/llm: makes tools, and simulates those without an engine")
    base_urls: tuple[str, ...] = Field(default=(), description="servers of `llm`")
    outputs: Path = Field(default=Path("outputs"), description="directory of all runs")


def main() -> None:
    with clear_errors():
        serve_tools(read_settings(sys.argv[1:], ServeToolsSettings))


def serve_tools(settings: ServeToolsSettings) -> Path:
    """Serve until the client leaves or the process is interrupted; returns the run's directory."""
    console = Console(stderr=True)  # standard output belongs to the protocol
    directory = _run_directory(settings)
    pipelines = read_manifest(directory).config["pipelines"] if directory else {}
    pipeline = _pipeline(settings, directory, pipelines)
    sources = _sources(settings, directory, pipeline)
    node = dict(pipelines[pipeline]["environment"]) if pipeline else _environment_for(sources)
    dialogues = directory / pipeline / "dialogues.jsonl" if directory else None
    config = settings.model_dump(mode="json") | {"pipelines": {PIPELINE: {"environment": node}}}
    file = directory / "toolsets.jsonl" if directory else Path(str(settings.source))
    inputs = {"source": sha256(file)} if file.is_file() else {}
    with ExitStack() as stack:
        run = stack.enter_context(open_run(settings.outputs, "serve-tools", config, inputs, neutral=("outputs",)))
        journal = stack.enter_context(Journal(run.directory / PIPELINE / "dialogues.jsonl", _dialogue_id))
        toolsets = asyncio.run(_toolsets(sources, settings, run))
        llm = _llm(settings)
        tasks = TaskFile(dialogues if dialogues and dialogues.is_file() else None)
        world = World(toolsets, instantiate(node), llm, tasks, settings.calls, run.manifest.fingerprint)
        stack.callback(world.close)
        if settings.task:
            world.find_task(settings.task)
        closed = _Closed(journal, console)
        server = ToolServer(world, closed, version("user-oriented-dialogues"), settings.task, closed.first_number)
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            _serve(server, settings, console, llm)
        run.finish({"sessions": closed.sessions, "calls": closed.calls, "accepted": closed.accepted})
    console.print(f"{closed.sessions} sessions, {closed.calls} calls -> {run.directory}", soft_wrap=True)
    return run.directory


class _Closed:
    """Writes each session that closes to the journal, and counts them."""

    def __init__(self, journal: Journal, console: Console) -> None:
        self.journal = journal
        self.console = console
        self.sessions = self.calls = self.accepted = 0
        numbers = [int(key.split("-")[1]) for key in journal.keys]  # a killed server's run is resumed
        self.first_number = max(numbers, default=0) + 1

    def __call__(self, session: Session, dialogues: list[Dialogue]) -> None:
        for dialogue in dialogues:
            self.journal.append(dialogue, dialogue.dialogue_id)
        verdict = verdict_of(dialogues)
        self.sessions += 1
        self.calls += session.calls
        self.accepted += bool(verdict and verdict.accepted)
        words = "" if verdict is None else ": solved" if verdict.accepted else f": not solved ({verdict.reasons[0]})"
        self.console.print(f"session {session.number} closed after {session.calls} calls{words}", soft_wrap=True)


def _serve(server: ToolServer, settings: ServeToolsSettings, console: Console, llm: LLM) -> None:
    names = ", ".join(server.world.toolsets)
    if settings.transport == "stdio":
        console.print(f"serving {names} on standard input and output", soft_wrap=True)
        serving = serve_stdio(server, settings.message_bytes)
    else:
        listener = listen(settings.port)
        port = listener.getsockname()[1]
        console.print(f"serving {names} at http://{HOST}:{port}{PATH} until Ctrl-C", soft_wrap=True)
        http = http_server(server, port, settings.sessions, settings.idle_s, settings.message_bytes)
        serving = http.serve(sockets=[listener])
    asyncio.run(_until_closed(serving, llm))


async def _until_closed(serving: Coroutine[Any, Any, None], llm: LLM) -> None:
    async with closing(llm):
        await serving


def _run_directory(settings: ServeToolsSettings) -> Path | None:
    """The generation run to serve, if the source is one."""
    if settings.source is None:
        return latest(settings.outputs, "generate", "make generate")
    path = Path(settings.source)
    return path if (path / "toolsets.jsonl").is_file() else None


def _pipeline(settings: ServeToolsSettings, directory: Path | None, pipelines: dict[str, Any]) -> str:
    """The pipeline whose environment and tasks are served; empty if the source is not a run."""
    if directory is None:
        if settings.task or settings.pipeline:
            raise UserError(f"task and pipeline are those of a generation run, which source={settings.source} is not")
        return ""
    name = settings.pipeline or _executing(pipelines)
    if name not in pipelines:
        raise UserError(f"pipeline={name} was given; {directory} has {', '.join(pipelines)}")
    return name


def _executing(pipelines: dict[str, Any]) -> str:
    """The first pipeline that executes its tools, else the first one."""
    executing = (name for name, node in pipelines.items() if instantiate(node["environment"]).executable)
    return next(executing, next(iter(pipelines)))


def _sources(settings: ServeToolsSettings, directory: Path | None, pipeline: str) -> list[ToolsetSource]:
    """The toolsets of the source, of a run those of the pipeline, or the seeds that the model makes tools for. Raises
    UserError for a domain that the source does not have."""
    source = str(directory or settings.source)
    if directory:
        toolsets = [entry.toolset for entry in sources_from_file(directory / "toolsets.jsonl")]
        sources = [ToolsetSource(toolset, None) for toolset in toolsets_for(pipeline, toolsets)]
    elif source == BUNDLED:
        seeds = BundledSeeds(settings.outputs / "seeds", settings.domains).load()
        return [source_from_seed(seed) for seed in seeds]
    elif not Path(source).is_file():
        why = "this folder has no toolsets.jsonl" if Path(source).is_dir() else "there is no such file or folder"
        raise UserError(
            f"source={source} was given, but {why}; expected: the folder of a generation run, a toolsets.jsonl, an "
            f"SQLite file, or {BUNDLED}"
        )
    elif source.endswith(".jsonl"):
        sources = sources_from_file(Path(source))
    else:
        sources = [source_from_seed(seed) for seed in SqliteSeeds([source]).load()]
    by_domain = {entry.toolset.domain: entry for entry in sources}
    for name in settings.domains or ():
        if name not in by_domain:
            raise UserError(f"domains: {name!r} is not a domain of {source}; {closest(name, list(by_domain))}")
    return [by_domain[name] for name in by_domain if settings.domains is None or name in settings.domains]


def _environment_for(sources: Sequence[ToolsetSource]) -> dict[str, Any]:
    """The settings node of what executes these toolsets. Raises UserError for toolsets of several engines, which one
    environment cannot run."""
    toolsets = [source.toolset for source in sources]
    engines = {"sql" if toolset.database else toolset.engine or "simulated" for toolset in toolsets}
    if len(engines) != 1:
        given = ", ".join(sorted(engines)) or "none"
        raise UserError(f"engines of the toolsets: {given}; expected: one, so choose toolsets with domains=[…]")
    return _choice("environment", engines.pop())


def _choice(group: str, name: str) -> dict[str, Any]:
    """An option of a config group, with the defaults of a generation."""
    known = [path.stem for path in (CONF / group).glob("*.yaml")]
    if name not in known:
        raise UserError(f"{group}={name} was given; {closest(name, known)}")
    chosen: dict[str, Any] = _generation(f"+{group}@chosen={name}")["chosen"]
    return chosen


def _generation(*overrides: str) -> dict[str, Any]:
    """The settings of a generation."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = OmegaConf.to_container(compose("generate", list(overrides)), resolve=True)
    assert isinstance(config, dict), "a stage's config is a mapping"
    return {str(key): value for key, value in config.items()}


def _llm(settings: ServeToolsSettings) -> LLM:
    node = _choice("llm", settings.llm)
    model: LLM = instantiate(with_base_urls(node, settings.base_urls) if settings.base_urls else node)
    return model


async def _toolsets(sources: Sequence[ToolsetSource], settings: ServeToolsSettings, run: Run) -> list[Toolset]:
    """The toolsets, also written to the run; those of databases are made first."""
    stages = [instantiate(_generation()["stages"]["tools"])] if any(source.seed for source in sources) else []
    async with closing(_llm(settings)) as llm:
        path = run.directory / "toolsets.jsonl"
        return await run_toolset_stages(sources, stages, llm, path, 4, lambda toolset: None)


def _dialogue_id(record: dict[str, Any]) -> str:
    return str(record["dialogue_id"])


if __name__ == "__main__":
    main()
