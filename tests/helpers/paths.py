"""Where the repository keeps what tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
GOLDEN = ROOT / "tests" / "golden"

SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real databases next to the checkout. Tests that need them are skipped where the folder is missing."""
