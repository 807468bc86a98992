"""`python -m appliance`: the command line.

Signals are answered from the first line on, before the imports that take most of a start: nothing has been
made yet, so `up` ends as done and every other command as interrupted, without a traceback.
"""

import os
import signal
import sys
from types import FrameType


def _leave(number: int, _frame: FrameType | None) -> None:
    os._exit(0 if sys.argv[1:2] == ["up"] else 128 + number)


for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, _leave)

from appliance.cli import main  # noqa: E402  # after the signals, on purpose

sys.exit(main())
