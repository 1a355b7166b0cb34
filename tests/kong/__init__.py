"""The Kong plugin, over real sockets: in the nginx that stands in for Kong, and in a real Kong."""
