"""Step-up authentication (RFC 9470) for API gateways."""

__version__ = "0.1.0"
