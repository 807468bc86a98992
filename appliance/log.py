"""One event, one line: structured logging for the whole program (logfmt on stderr).

    2026-11-22T02:06:55Z level=info part=device msg="peer installed" address=10.101.0.2

Every part logs through `event(logger, level, "what happened", key=value)` with a standard logger named
`sallyport.<part>`; the process calls `setup` once. Three promises, whatever is handed in:

* one event is always exactly one line: line ends and every other character that does not print are
  written as escapes, so that nothing that came from a network can forge a line or steer a terminal;
* logging never raises and never blocks an event on a value that cannot be shown;
* nothing here decides what is secret: keys, tokens and client addresses are never handed in.

Libraries that log by themselves come out in the same form, from WARNING upward.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from contextvars import ContextVar
from typing import IO, Final

ROOT: Final = "sallyport"
LEVELS: Final = ("debug", "info", "warning", "error")

# The id of the request on whose behalf something happens; set by whoever serves requests.
REQUEST: Final[ContextVar[str | None]] = ContextVar("sallyport_request", default=None)

_FIELDS: Final = "sallyport_fields"


def event(
    logger: logging.Logger,
    level: int,
    message: str,
    /,
    *,
    exc_info: BaseException | None = None,
    **fields: object,
) -> None:
    """Log one event: `message` says what happened in fixed words, `fields` carry what varies.

    `exc_info` is for failures nobody expected: its traceback goes, escaped, into the same line.
    """
    if logger.isEnabledFor(level):
        logger.log(level, "%s", message, exc_info=exc_info, extra={_FIELDS: fields})


def setup(level: str, stream: IO[str] | None = None) -> None:
    """Send every event of `level` (a word of LEVELS) and above to `stream`, stderr when None.

    May be called again: the last call wins. A process without stderr logs nowhere.
    """
    target = sys.stderr if stream is None else stream
    handler: logging.Handler = logging.NullHandler() if target is None else _Handler(target)
    handler.setFormatter(LogfmtFormatter())
    everything = logging.getLogger()
    for old in [old for old in everything.handlers if isinstance(old, _Handler | logging.NullHandler)]:
        everything.removeHandler(old)
    everything.addHandler(handler)
    everything.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level.upper())


class LogfmtFormatter(logging.Formatter):
    """A record as one logfmt line."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        words = [
            stamp,
            f"level={record.levelname.lower()}",
            f"part={value_text(record.name.removeprefix(ROOT + '.'))}",
            f"msg={quoted(_message(record))}",
        ]
        fields = getattr(record, _FIELDS, None)
        if isinstance(fields, dict):
            words += [f"{name}={value_text(value)}" for name, value in fields.items()]
        request = REQUEST.get()
        if request is not None:
            words.append(f"request={value_text(request)}")
        if record.exc_info and record.exc_info[1] is not None:
            words.append(f"trace={quoted(_trace(record.exc_info[1]))}")
        return " ".join(words)


class _Handler(logging.StreamHandler[IO[str]]):
    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written (a closed or full stderr) must not stop what is logged about."""


def value_text(value: object) -> str:
    """One value as logfmt shows it: bare when it is one plain word, in quotes otherwise."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = _text(value)
    plain = text.isprintable() and not any(character in ' "=\\' for character in text)
    return text if text and plain else quoted(text)


def quoted(text: str) -> str:
    """`text` in double quotes with everything escaped that could end the quotes or the line."""
    return '"' + escaped(text, '"') + '"'


def escaped(text: str, quote: str = "") -> str:
    """`text` with every character that does not print, the backslash and `quote` written as escapes."""
    marked = text.replace("\\", "\\\\")
    return one_line(marked.replace(quote, "\\" + quote) if quote else marked)


def one_line(text: str) -> str:
    """`text` with every character that does not print written as an escape, for a person to read."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    # unicode_escape knows \n, \t and \xNN, and takes lone surrogates, which would break the stream.
    return character.encode("unicode_escape").decode("ascii")


def _text(value: object) -> str:
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return str(value)
    except Exception:
        return f"<unprintable {type(value).__name__}>"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a library's format string that does not fit its arguments
        return _text(record.msg)


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception:
        return _text(error)
