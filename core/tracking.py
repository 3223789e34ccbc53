"""One W&B run per stage: config, metrics, tables, summary. By default offline and without a key."""

from __future__ import annotations

import importlib
import json
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlparse

from pydantic import Field
from rich.console import Console

from core.settings import Settings, UserError


class TrackingSettings(Settings):
    """Whether and where a run is tracked with W&B."""

    mode: Literal["online", "offline", "disabled"] = Field(
        default="offline",
        description="offline: keep under outputs/wandb for `wandb sync`; online: upload, needs a key; disabled: off",
    )
    project: str = Field(default="user-oriented-dialogues", description="W&B project")
    entity: str | None = Field(default=None, description="W&B user or team; null: the key's default")
    tags: tuple[str, ...] = Field(default=(), description="tags of the W&B run")


class Tracker:
    """A W&B run; without effect if tracking is disabled, when wandb is not even imported.

    `stage` and `run_id` form its id, so a resumed run continues the same W&B run; `group` connects the stages of one
    pipeline run; wandb writes only under `outputs`/wandb. Raises UserError if online tracking is impossible.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        outputs: Path,
        stage: str,
        run_id: str,
        group: str,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._wandb: Any = None
        self._run: Any = None
        if settings.mode == "disabled":
            return
        if settings.mode == "online" and not _has_key():
            raise UserError(
                "tracking.mode=online needs a W&B key: set WANDB_API_KEY or run `wandb login`, "
                "or use tracking.mode=offline and `wandb sync` later"
            )
        home = outputs.resolve() / "wandb"
        home.mkdir(parents=True, exist_ok=True)
        # wandb reads these on import; without them it also writes to the home directory.
        os.environ.setdefault("WANDB_CACHE_DIR", str(home / "cache"))
        os.environ.setdefault("WANDB_DATA_DIR", str(home / "data"))
        # Otherwise it advertises another product when an LLM client is imported.
        os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")
        self._wandb = importlib.import_module("wandb")
        try:
            self._run = self._wandb.init(
                project=settings.project,
                entity=settings.entity,
                group=group,
                job_type=stage,
                name=f"{stage}-{run_id}",
                id=f"{stage}-{run_id}",
                resume="allow",
                mode=settings.mode,
                dir=str(outputs.resolve()),
                config=dict(config or {}),
                tags=list(settings.tags),
                settings=self._wandb.Settings(silent=True, console="off"),
            )
        except self._wandb.Error as error:
            raise UserError(f"W&B cannot start with tracking.mode={settings.mode}: {error}") from None
        folder = Path(self._run.dir).parent
        where = self._run.url if settings.mode == "online" else f"{folder} (upload: wandb sync {folder})"
        Console(stderr=True).print(f"W&B {settings.mode}: {where}", highlight=False, soft_wrap=True)

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics at a step; steps must increase."""
        if self._run:
            self._run.log(dict(metrics), step=step)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log a table with the union of the rows' keys as columns; values that are not scalars become JSON."""
        if self._run and rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            data = [[_cell(row.get(column)) for column in columns] for row in rows]
            # Columns may mix numbers and missing values, so type checks are off.
            table = self._wandb.Table(columns=columns, data=data, allow_mixed_types=True)
            self._run.log({name: table})

    def summary(self, values: Mapping[str, Any]) -> None:
        """Set the run's final metrics."""
        if self._run:
            self._run.summary.update(dict(values))

    def artifact(self, kind: str, path: Path) -> None:
        """Keep a file with the run, as an artifact of this type."""
        if self._run:
            artifact = self._wandb.Artifact(f"{kind}-{self._run.id}", type=kind)
            artifact.add_file(str(path))
            self._run.log_artifact(artifact)

    def finish(self, failed: bool = False) -> None:
        if self._run:
            self._run.finish(exit_code=int(failed))
            self._run = None

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(failed=error is not None)


def _has_key() -> bool:
    """Return whether wandb will find credentials; wandb itself would prompt for them on a terminal."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _cell(value: Any) -> Any:
    scalar = value is None or isinstance(value, bool | int | float | str)
    return value if scalar else json.dumps(value, ensure_ascii=False, default=str)
