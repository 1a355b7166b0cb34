"""Tests of the token room; a package, so that its conftest has a name of its own."""
