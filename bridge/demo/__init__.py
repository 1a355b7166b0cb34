"""The demo: an embedded authorization server, a sample API, a real Envoy, and the story."""
