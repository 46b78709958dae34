"""Settings of Hypothesis for these tests."""

from hypothesis import settings

# On a busy machine an example may take long for reasons that say nothing about the code.
settings.register_profile("segue", deadline=None)
settings.load_profile("segue")
