"""`stepup-bridge doctor`: before going live, what would fail.

`diagnose` asks, `issuer` and `token` judge, `table` writes.
"""
