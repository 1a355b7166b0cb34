"""YAML in, `Config` out; every problem with its place. Reads files and nothing else."""
