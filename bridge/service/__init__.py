"""Listeners, lifecycle, metrics and logs: the thin shell around the decision."""
