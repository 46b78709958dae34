"""Makes the helpers beside these tests importable however pytest imports the tests themselves."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# On a busy machine an example may take long for reasons that say nothing about the code.
settings.register_profile("segue", deadline=None)
settings.load_profile("segue")
