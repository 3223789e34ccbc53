"""What all tests share."""

from hypothesis import settings

# A deadline is a timed assertion: on a busy machine it fails what is right.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
