"""`python -m bridge` is `stepup-bridge`."""

from bridge.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
