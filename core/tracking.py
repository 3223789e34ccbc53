"""One W&B run of a stage: config, metrics, tables, summary. Offline and without a key unless told otherwise."""

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

from rich.console import Console

from core.settings import Settings, UserError


class TrackingSettings(Settings):
    """`offline` writes under outputs/wandb for a later `wandb sync`, `online` needs a key, `disabled` does nothing."""

    mode: Literal["online", "offline", "disabled"] = "offline"
    project: str = "user-oriented-dialogues"
    entity: str | None = None
    tags: tuple[str, ...] = ()


class Tracker:
    """A W&B run, or nothing at all where tracking is disabled (wandb is then not even imported).

    `stage` and `run_id` name it, so that a resumed run goes on under the same id; `group` gathers the stages of one
    pipeline run; everything wandb writes lands in `outputs`/wandb. Raises UserError if online is impossible.
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
                "or take tracking.mode=offline and `wandb sync` later"
            )
        home = outputs.resolve() / "wandb"
        home.mkdir(parents=True, exist_ok=True)
        # wandb reads these while it is imported; without them it also writes to the user's home.
        os.environ.setdefault("WANDB_CACHE_DIR", str(home / "cache"))
        os.environ.setdefault("WANDB_DATA_DIR", str(home / "data"))
        # Else it advertises another product as soon as an LLM client is imported.
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
        """Numbers at a step; steps only rise."""
        if self._run:
            self._run.log(dict(metrics), step=step)

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table with the union of the rows' keys as columns; what is no scalar is shown as JSON."""
        if self._run and rows:
            columns = list(dict.fromkeys(key for row in rows for key in row))
            data = [[_cell(row.get(column)) for column in columns] for row in rows]
            # Mixed columns (a number here, nothing there) are ours to have: no type checks.
            table = self._wandb.Table(columns=columns, data=data, allow_mixed_types=True)
            self._run.log({name: table})

    def summary(self, values: Mapping[str, Any]) -> None:
        """The run's final figures."""
        if self._run:
            self._run.summary.update(dict(values))

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
    """Whether wandb will find credentials, asked here because wandb itself would prompt a terminal for them."""
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
