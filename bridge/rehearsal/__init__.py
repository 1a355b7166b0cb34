"""Decisions without a gateway: `explain` one, `test` many. They run the service's own checker."""
