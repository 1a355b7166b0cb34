"""The answer, and the header that says it. Pure."""
