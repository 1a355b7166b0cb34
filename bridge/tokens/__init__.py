"""From the raw `Authorization` value to a verified access token."""
