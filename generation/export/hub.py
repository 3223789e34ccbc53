"""Uploads an export to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from core.settings import UserError

CONTENTS = [
    *("README.md", "report.json", "removed.jsonl", "task_hashes.jsonl", "data/*.jsonl", "messages/*", "sharegpt/*"),
    *("hermes/*", "traces/*", "rl/*", "inspect/*", "preferences/*"),
]


def push(directory: Path, name: str, private: bool) -> str:
    """Upload an export as the dataset `name` (organisation/name), creating it if missing; returns its URL. Raises
    UserError if the hub refuses the upload or cannot be reached."""
    api = HfApi()
    try:
        api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        commit = api.upload_folder(
            folder_path=directory,
            repo_id=name,
            repo_type="dataset",
            allow_patterns=CONTENTS,
            commit_message=f"Export of {directory.name}",
        )
    except Exception as error:  # the hub's client raises many kinds, its own and those of its HTTP library
        raise UserError(
            f"push_to_hub={name} was given, but the hub refused the upload: {error}; expected: organisation/name, "
            f"and a token with write access (hf auth login, or HF_TOKEN). The export itself is in {directory}"
        ) from None
    return str(commit.repo_url)
