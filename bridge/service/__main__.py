"""A worker process; `python -m bridge.service` is what the supervisor starts."""

import signal
import sys

from bridge.service.early_signals import SIGNALS

if __name__ == "__main__":
    for name in SIGNALS:  # the supervisor's business, which tells us
        signal.signal(name, signal.SIG_IGN)
    from bridge.service.worker import main

    raise SystemExit(main(sys.argv[1:]))
