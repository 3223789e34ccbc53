"""Folders of the repository that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
GOLDEN = ROOT / "tests" / "golden"

SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real databases next to the checkout; tests that need them are skipped if the folder is missing."""
