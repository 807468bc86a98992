"""`python -m bench`: see cli.py. SIGTERM ends it like Ctrl-C, with what is finished reported by `all`."""

import signal
import sys

from bench.cli import main
from bench.lab import ENDING

for number in ENDING:
    signal.signal(number, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
