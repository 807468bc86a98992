"""One event is one line, whatever is in it, and logging never raises."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.log import REQUEST, LogfmtFormatter, escaped, event, one_line, quoted, setup, value_text

_log = logging.getLogger("sallyport.tested")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    everything = logging.getLogger()
    handlers, level = everything.handlers[:], everything.level
    ours = logging.getLogger("sallyport").level
    yield
    everything.handlers[:] = handlers
    everything.setLevel(level)
    logging.getLogger("sallyport").setLevel(ours)


def _logged(level: int = logging.INFO, message: str = "it happened", **fields: object) -> str:
    stream = io.StringIO()
    setup("info", stream)
    event(_log, level, message, **fields)
    return stream.getvalue()


def test_an_event_is_a_logfmt_line() -> None:
    line = _logged(address="10.0.0.1", count=3, shut=True, last=None, why="two words")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=info part=tested "
        r'msg="it happened" address=10\.0\.0\.1 count=3 shut=true last=none why="two words"\n',
        line,
    )


def test_the_time_is_utc_in_whole_seconds() -> None:
    record = logging.LogRecord("sallyport.x", logging.ERROR, "f.py", 1, "m", None, None)
    record.created = 1780000000.9
    assert LogfmtFormatter().format(record) == '2026-05-28T20:26:40Z level=error part=x msg="m"'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "no"', r'"say \"no\""'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb\rc\td", r'"a\nb\rc\td"'),
        ("\x1b[2J\x00\x7f", r'"\x1b[2J\x00\x7f"'),
        ("next\x85line\u2028sep", r'"next\x85line\u2028sep"'),
        ("\ud800", r'"\ud800"'),
        ("größe", "größe"),
        (b"\x00\n", "\"b'\\\\x00\\\\n'\""),
        (1.5, "1.5"),
        (OSError(5, "Input/output error"), '"OSError: [Errno 5] Input/output error"'),
    ],
)
def test_values(value: object, shown: str) -> None:
    assert value_text(value) == shown


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_any_text_stays_on_one_line(message: str, value: str) -> None:
    stream = io.StringIO()
    setup("info", stream)
    event(_log, logging.INFO, message, field=value)
    line = stream.getvalue()
    line.encode()  # nothing that the terminal's encoding could refuse
    assert len(line.splitlines()) == 1


@given(st.text())
def test_quotes_can_be_read_back(text: str) -> None:
    inside = quoted(text)[1:-1]
    assert not re.search(r'(?<!\\)(\\\\)*"', inside)
    assert escaped(text).isprintable()


def test_one_line_is_for_people_and_settled_at_once() -> None:
    assert one_line('C:\\a\nb\x1b "c"') == 'C:\\a\\nb\\x1b "c"'
    assert one_line(one_line("a\n\\")) == one_line("a\n\\")


class _Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_value_that_cannot_be_shown_is_named() -> None:
    assert 'thing="<unprintable _Unprintable>"' in _logged(thing=_Unprintable())


def test_an_unexpected_error_carries_its_trace_in_the_same_line() -> None:
    stream = io.StringIO()
    setup("info", stream)
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        event(_log, logging.ERROR, "failed", exc_info=error)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert "trace=" in line
    assert r"ValueError: two\nlines" in line


def test_a_foreign_format_that_does_not_fit_is_shown_as_it_is() -> None:
    record = logging.LogRecord("foreign", logging.WARNING, "f.py", 1, "%d apples", ("no",), None)
    assert 'level=warning part=foreign msg="%d apples"' in LogfmtFormatter().format(record)


def test_levels() -> None:
    stream = io.StringIO()
    setup("warning", stream)
    event(_log, logging.INFO, "quiet")
    logging.getLogger("foreign").info("quiet")
    event(_log, logging.WARNING, "loud")
    assert [line for line in stream.getvalue().splitlines() if "quiet" in line] == []
    assert 'msg="loud"' in stream.getvalue()


def test_the_last_setup_wins() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup("info", first)
    setup("info", second)
    event(_log, logging.INFO, "once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_stream_that_fails_and_no_stream_at_all_are_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup("info", _Full())
    event(_log, logging.ERROR, "lost")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", None)
    setup("info")
    event(_log, logging.ERROR, "lost as well")


def test_what_happens_for_a_request_names_it() -> None:
    before = REQUEST.set("7f3c")
    line = _logged(count=1)
    REQUEST.reset(before)
    assert line.endswith(" count=1 request=7f3c\n")
    assert "request=" not in _logged(count=1)
