"""A training run on a page: its losses, its speed, its data, and one of its token trees."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from core.journal import RecordError, lines_of
from core.manifest import Manifest, read_manifest
from core.page.contents import Block, Figure, Notice, Row, Section, Table, Tile, Tiles
from core.settings import UserError
from training.dataset import Rows, load_samples
from training.prepare import Prepared
from training.run_figures import loss_figure, packing_figure, speed_figure, tree_figure, validation_figure
from training.run_layout import METRICS, PREPARED, SAMPLES

Metrics = Mapping[str, Any]
"""A line of metrics.jsonl."""

TREES_SEARCHED = 500
CHAINS_WANTED = 6
"""The tree that is drawn is the one of the first trees whose number of chains is nearest to this one."""


def sections(run: Path) -> tuple[Section, ...]:
    """What a training run shows, finished or not. A part that is not recorded yet is left out.

    Raises UserError for a directory that is no run, and for files that cannot be read.
    """
    manifest = read_manifest(run)
    metrics = read_metrics(run / METRICS)
    prepared = read_prepared(run, manifest)
    splits = load_samples(run / SAMPLES) if (run / SAMPLES).is_dir() else None
    found = [
        Section(
            key="training",
            title="Training",
            blocks=(*_notices(manifest, metrics, prepared, splits), *_tiles(manifest, metrics, prepared)),
        ),
        Section(key="training-curves", title="Loss and speed", blocks=_curves(metrics)),
        Section(key="training-data", title="Training data", blocks=_data(manifest, prepared, splits)),
        Section(key="training-tree", title="A dialogue as one tree", blocks=_tree(splits)),
    ]
    return tuple(section for section in found if section.blocks)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl in order of steps, without a torn last line; empty without a file. A resumed training
    repeats steps since its checkpoint: the last line of a step counts. Raises RecordError for an unreadable line."""
    if not path.is_file():
        return []
    last: dict[tuple[int, bool], dict[str, Any]] = {}
    for _, number, line in lines_of(path):
        if not line.endswith(b"\n"):
            break
        try:
            entry = json.loads(line)
            last[entry["step"], "eval_loss" in entry] = entry
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}, line {number}: not a line of metrics ({error})") from None
    return [last[key] for key in sorted(last)]


def read_prepared(run: Path, manifest: Manifest) -> Prepared | None:
    """What was prepared; None if the training was interrupted before that. Runs of earlier versions did not record
    where the untrained model came from."""
    if (run / PREPARED).is_file():
        try:
            return Prepared.model_validate_json((run / PREPARED).read_text())
        except ValueError as error:
            raise UserError(f"{run / PREPARED} cannot be read: {error}") from None
    data = manifest.results.get("data")
    return Prepared.model_validate({"untrained": "not recorded", **data}) if data else None


def _notices(
    manifest: Manifest, metrics: Sequence[Metrics], prepared: Prepared | None, splits: DatasetDict | None
) -> list[Block]:
    notices: list[Block] = []
    if manifest.status != "finished":
        steps = f"{metrics[-1]['step']} of {metrics[-1]['steps']} steps" if metrics else "no step yet"
        notices.append(Notice(level="warning", text=f"This training is not finished: {steps}. All numbers are so far."))
    if prepared and prepared.skipped:
        text = f"{sum(prepared.skipped.values())} invalid lines were left out of the data: {_counts(prepared.skipped)}."
        notices.append(Notice(level="warning", text=text))
    if prepared and not prepared.validation_domains:
        notices.append(
            Notice(level="info", text="No database is held out: all validation dialogues are of trained ones.")
        )
    if splits is None:
        text = "The tokenised data is not in the cache: packing and the token tree cannot be shown."
        notices.append(Notice(level="info", text=text))
    return notices


def _tiles(manifest: Manifest, metrics: Sequence[Metrics], prepared: Prepared | None) -> list[Block]:
    results = manifest.results or _results_so_far(metrics)
    tiles = []
    if "best_validation_loss" in results:
        tiles.append(
            Tile(
                label="validation loss, untrained → best",
                value=f"{results['untrained_validation_loss']:.3f} → {results['best_validation_loss']:.3f}",
                detail=f"nats per trained token; best at step {results['best_step']}",
            )
        )
    if "steps" in results:
        detail = f"{results['epochs']:.2f} epochs"
        tiles.append(Tile(label="steps", value=f"{results['steps']:,}", detail=detail))
    if "tokens" in results:
        trained = results["trained_tokens"]
        detail = f"{100 * trained / results['tokens']:.0f} % of all"
        tiles.append(Tile(label="tokens", value=f"{results['tokens']:,}", detail="forwarded, in all epochs"))
        tiles.append(Tile(label="trained tokens", value=f"{trained:,}", detail=detail))
    if "tokens_per_s" in results:
        detail = f"{results['trained_tokens_per_s']:,.0f} of them trained"
        detail += f"; MFU {100 * results['mfu']:.1f} %" if "mfu" in results else ""
        tiles.append(Tile(label="tokens/s", value=f"{results['tokens_per_s']:,.0f}", detail=detail))
    if "seconds" in results:
        tiles.append(Tile(label="seconds", value=f"{results['seconds']:,.0f}", detail="with validation"))
    if "peak_gpu_bytes" in results:
        tiles.append(Tile(label="peak GPU memory", value=f"{results['peak_gpu_bytes'] / 2**30:.1f} GiB"))
    if prepared:
        model = manifest.config.get("model", {}).get("path") or "tiny, with random weights"
        tiles.append(Tile(label="untrained model", value=model, detail=f"weights: {prepared.untrained}"))
    return [Tiles(tiles=tuple(tiles))] if tiles else []


def _results_so_far(metrics: Sequence[Metrics]) -> dict[str, Any]:
    """The part of a finished training's results (training.callbacks.results) that the metrics tell."""
    if not metrics:
        return {}
    last = metrics[-1]
    found = {"steps": last["step"], "epochs": last["epoch"], "seconds": last["seconds"]}
    found |= {name: last[name] for name in ("tokens_per_s", "trained_tokens_per_s", "mfu") if name in last}
    if validations := [line for line in metrics if "eval_loss" in line]:
        best = min(validations, key=lambda line: float(line["eval_loss"]))
        found |= {
            "untrained_validation_loss": validations[0]["eval_loss"],
            "best_validation_loss": best["eval_loss"],
            "best_step": best["step"],
        }
    return found


def _curves(metrics: Sequence[Metrics]) -> tuple[Block, ...]:
    losses = [(line["step"], line["loss"]) for line in metrics if "loss" in line]
    validations = [line for line in metrics if "eval_loss" in line]
    speeds = [(line["step"], line["tokens_per_s"], line["trained_tokens_per_s"]) for line in metrics if line["step"]]
    points = [(line["step"], line["eval_loss"]) for line in validations]
    blocks: list[Block] = []
    if losses or points:
        blocks.append(
            Figure(
                title="Loss",
                svg=loss_figure(losses, points),
                alt=f"Training loss {_course(losses)}; validation loss {_course(points)}.",
                note="Nats per trained token. Validation at step 0 is of the untrained model.",
            )
        )
    if by_label := _by_label(validations):
        ends = "; ".join(f"{name} {_course(curve)}" for name, curve in by_label.items())
        blocks.append(
            Figure(
                title="Validation loss by source, difficulty and databases",
                svg=validation_figure(by_label),
                alt=f"{ends}.",
                note="databases/unseen: of dialogues on databases that no training dialogue has; databases/trained: on "
                "the others, with other tasks.",
            )
        )
    if speeds:
        tokens = [(step, speed) for step, speed, _ in speeds]
        blocks.append(
            Figure(
                title="Throughput",
                svg=speed_figure(speeds),
                alt=f"Tokens per second {_course(tokens, ',.0f')}.",
                note="Tokens per second over all processes since the training was started or resumed, without validation.",
            )
        )
    return tuple(blocks)


def _by_label(validations: Sequence[Metrics]) -> dict[str, list[tuple[int, float]]]:
    """ "source/NAME", "difficulty/NAME" and "databases/NAME" -> (step, loss)."""
    names = sorted({name for line in validations for name in line if name.startswith("eval_loss/")}, reverse=True)
    return {
        name.removeprefix("eval_loss/"): [(line["step"], line[name]) for line in validations if name in line]
        for name in names
    }


def _course(points: Sequence[tuple[int, float]], form: str = ".3f") -> str:
    """Where a curve begins and ends, in words."""
    if not points:
        return "is not recorded yet"
    (_, first), (step, last) = points[0], points[-1]
    return f"from {first:{form}} to {last:{form}} at step {step}" if len(points) > 1 else f"{first:{form}}"


def _data(manifest: Manifest, prepared: Prepared | None, splits: DatasetDict | None) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if prepared:
        blocks.append(_data_table(prepared))
    if splits is not None and len(splits["train"]):
        capacity = int(manifest.config["row_tokens"])
        rows = Rows(splits["train"], capacity)
        sizes = rows.sums("size")
        blocks.append(
            Figure(
                title="Packing",
                svg=packing_figure(sizes, capacity),
                alt=f"{len(sizes)} rows of at most {capacity:,} tokens hold {sum(sizes):,} tokens; the least full row has "
                f"{min(sizes):,}, the fullest {max(sizes):,}.",
                note=f"Trees are packed into rows; on average a row is {100 * rows.fill:.0f} % as full as the fullest.",
            )
        )
    return tuple(blocks)


def _data_table(data: Prepared) -> Table:
    saved = f"{data.sample_tokens / data.tokens:.2f} times as many" if data.tokens else ""
    rows = {
        "training dialogues": (data.dialogues, _counts(data.sources)),
        "samples as served": (data.samples, f"{data.cut_turns:,} more were cut for their length"),
        "trees": (data.trees, f"in {data.rows:,} rows"),
        "tokens as trees": (data.tokens, ""),
        "tokens as separate samples": (data.sample_tokens, saved),
        "trained tokens": (data.trained_tokens, ""),
        "answers that share a token with their prompt": (data.straddled_answers, "tokenised apart, as they are served"),
        "left-out lines, invalid": (sum(data.skipped.values()), _counts(data.skipped)),
        "left-out dialogues, with a validation task": (data.shared_tasks, ""),
        "validation dialogues": (
            data.validation_dialogues,
            ""
            if data.validation_unseen is None
            else f"{data.validation_unseen:,} on the held-out databases, the others on trained ones, with other tasks",
        ),
        "trained tokens of validation": (data.validation_trained_tokens, ""),
        "held-out databases, not trained on": (len(data.validation_domains), ", ".join(data.validation_domains)),
    }
    return Table(
        title="Data",
        columns=("", "number", "of them"),
        rows=tuple(Row(cells=(name, f"{number:,}", detail)) for name, (number, detail) in rows.items()),
        numeric=(1,),
        note="A sample is what one prompt of the server and its answers make: a user turn, or with some chat templates a "
        "single answer. Tokens are counted once, for any number of epochs.",
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _tree(splits: DatasetDict | None) -> tuple[Block, ...]:
    if splits is None or not len(splits["train"]):
        return ()
    first = splits["train"].select(range(min(TREES_SEARCHED, len(splits["train"]))))
    chains = [len(starts) for starts in first["starts"]]
    row = first[min(range(len(chains)), key=lambda number: abs(chains[number] - CHAINS_WANTED))]
    number = len(row["starts"])
    shape = f"a trunk and {number - 1} branches" if number > 1 else "a trunk without branches"
    saved = ""
    if row["samples"] > 1:
        saved = f" Its {row['samples']} samples one by one would be {row['sample_tokens']:,} tokens."
    return (
        Figure(
            title=f"{row['dialogue_id']}, {row['source']}",
            svg=tree_figure(row),
            alt=f"{row['dialogue_id']} is {shape} with {row['size']:,} tokens, {row['targets']:,} of them trained.",
            note=f"A server renders a prompt for each sample, a user turn or an answer. Where these prompts agree they are "
            f"computed once: the dialogue is {shape}. Each bar is a chain of tokens that no earlier bar has; a thin line "
            f"leads to the token that it continues, and it sees only the path from there to the start. Only dark tokens "
            f"are trained: {row['targets']:,} of {row['size']:,}.{saved}",
        ),
    )
