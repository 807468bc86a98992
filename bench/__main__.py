"""`python -m bench`: see cli.py. SIGTERM ends it like Ctrl-C, with what is finished reported by `all`."""

import signal
import sys

from bench.cli import main

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
