"""The scripted stand-in that plays every role of the reasoning model without weights."""
