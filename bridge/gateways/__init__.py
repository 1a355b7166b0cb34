"""A gateway's request in, a `CheckRequest` out; a `Decision` in, that gateway's reply out. Pure."""
