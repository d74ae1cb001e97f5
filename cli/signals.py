"""Signals: before training they end the program; while training the first one asks for a stop, a second one leaves."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SHOW_CURSOR = b"\x1b[?25h\n"


def leave_at_once() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end the program with the documented exit code from now on, without a traceback."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP, and so do we
            try:
                signal.signal(number, _leave)
            except OSError:  # a system that refuses it: then signals end the program as they end any other
                return


def _leave(number: int, frame: FrameType | None) -> None:
    try:
        say_interrupted()
    finally:
        os._exit(128 + number)


def say_interrupted() -> None:
    """One line on stderr, below what a terminal shows of the work. Raises OSError."""
    if os.isatty(2):
        os.write(2, SHOW_CURSOR)
    os.write(2, b"mlpbp: interrupted\n")


class Interrupted(BaseException):
    """A command that was asked to stop, and cleans up on its way out."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class StopRequest:
    """A context in which the first of these signals sets `exit_code`, and any further one leaves at once."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._before: dict[int, object] = {}

    def __call__(self) -> int:
        return self.exit_code

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.exit_code:
            raise Interrupted(self.exit_code)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.exit_code:
            _leave(number, frame)
        self.exit_code = 128 + number

    def __enter__(self) -> StopRequest:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
