"""Where the published test vectors are: ``../shared/vectors`` beside the project, or ``MONETA_VECTORS``.

They are data from elsewhere and are not copied into the project, so tests that read them skip where they are absent.
Tests that make one case per file need the folder while pytest collects: ``from tests.shared_vectors import VECTORS``.
"""

import os
from pathlib import Path

import pytest

VECTORS = Path(os.environ.get("MONETA_VECTORS") or Path(__file__).parents[2] / "shared" / "vectors").resolve()

vectors_required = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the test vectors are absent: set MONETA_VECTORS to their folder"
)
