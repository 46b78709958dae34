"""Writes down what a run says: run.jsonl, queue.csv, commands.csv, summary.json.

A thread of its own that waits on the mailboxes of both sides, so that a slow or
full disk holds up neither a tick nor a request; what cannot be written is
counted and said once. It formats nothing that was not formatted already and
keeps no file open after the end.
"""

from __future__ import annotations

import csv
import io
import json
import select
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from segue.client.mailbox import Mailbox
from segue.client.messages import Commands, Ended, Message, Record, Say, Status
from segue.errors import ConfigError

QUEUE_HEADER = ("t_s", "queue_steps", "level", "delay_steps")
_POLL_S = 0.5
# Of one side, before the other one has its turn.
_AT_ONCE = 256


class Reporter(Protocol):
    """Somebody who tells a person; called from the recorder's thread."""

    def say(self, text: str) -> None:
        """Takes a sentence."""
        ...

    def status(self, status: Status) -> None:
        """Takes how things stand; many a second."""
        ...


class Silent:
    """A reporter that tells nobody."""

    def say(self, text: str) -> None:
        """Forgets the sentence."""

    def status(self, status: Status) -> None:
        """Forgets the status."""


class RunFiles:
    """The files of one run, in one folder; without a folder, none."""

    def __init__(self, directory: Path | None) -> None:
        """Opens the files in `directory`, which is made if need be.

        Raises:
            ConfigError: that is not possible.
        """
        self.failures = 0
        self.last_error = ""
        self._directory = directory
        self._events: BinaryIO | None = None
        self._queue: BinaryIO | None = None
        self._commands: BinaryIO | None = None
        if directory is not None:
            self._open(directory)
            self._write(self._queue, _row(QUEUE_HEADER))

    def __repr__(self) -> str:
        return f"<RunFiles {self._directory} failures={self.failures}>"

    def record(self, line: bytes) -> None:
        """Writes a line of run.jsonl."""
        self._write(self._events, line + b"\n")

    def commands(self, rows: bytes) -> None:
        """Writes rows of commands.csv, which begins with the first of them."""
        if self._commands is None and self._directory is not None:
            self._commands = self._opened(self._directory / "commands.csv")
        self._write(self._commands, rows)

    def queue(self, status: Status) -> None:
        """Writes a row of queue.csv."""
        delay = "" if status.delay_steps is None else status.delay_steps
        self._write(self._queue, _row((status.t_s, status.queue_steps, status.level, delay)))

    def summary(self, summary: Mapping[str, object]) -> None:
        """Writes summary.json, the last file."""
        if self._directory is None:
            return
        try:
            text = json.dumps(dict(summary), indent=2) + "\n"
            (self._directory / "summary.json").write_text(text, encoding="utf-8")
        except OSError as error:
            self._note(error)

    def close(self) -> None:
        """Closes the files; may be called twice."""
        for file in (self._events, self._queue, self._commands):
            if file is not None:
                file.close()

    def _open(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._events = (directory / "run.jsonl").open("wb", buffering=0)
            self._queue = (directory / "queue.csv").open("wb", buffering=0)
        except OSError as error:
            what = f"output_dir: {directory}: {error.strerror}; allowed is a folder to write to"
            raise ConfigError(what) from None

    def _opened(self, path: Path) -> BinaryIO | None:
        """Opens a file in mid-run; one that cannot be opened is counted as a failure and left out."""
        try:
            return path.open("wb", buffering=0)
        except OSError as error:
            self._note(error)
            return None

    def _write(self, file: BinaryIO | None, data: bytes) -> None:
        if file is None:
            return
        began = file.tell() if file.seekable() else None
        try:
            while data:  # a disk that is nearly full takes a part
                data = data[file.write(data) :]
        except OSError as error:
            self._note(error)
            if began is not None:  # half a line would spoil the next one
                with suppress(OSError):
                    file.seek(began)
                    file.truncate()

    def _note(self, error: OSError) -> None:
        self.failures += 1
        self.last_error = error.strerror or str(error)


def _nothing(damage: str) -> None:
    """Does nothing about it."""


class Recorder:
    """The thread that takes what both sides say; `why` is the cause of the level that was told last."""

    def __init__(
        self,
        sides: Sequence[Mailbox],
        files: RunFiles,
        reporter: Reporter,
        on_damage: Callable[[str], None] = _nothing,
    ) -> None:
        """Listens once started.

        Args:
            sides: to whom.
            files: where it writes.
            reporter: whom it tells.
            on_damage: called from its thread when it does not listen to a side any more, with the reason.
        """
        self.ended: Ended | None = None
        self.why = ""
        self._sides = list(sides)
        self._files = files
        self._reporter = reporter
        self._on_damage = on_damage
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def __repr__(self) -> str:
        return f"<Recorder sides={len(self._sides)} {self._files!r}>"

    @property
    def busy(self) -> bool:
        """Whether it was started and has not come to the end of what both sides said."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Waits until both sides have closed and all that they said is written."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        complained = False
        while self._sides:
            try:
                select.select(self._sides, [], [], _POLL_S)
            except (OSError, ValueError):  # closed under our hands, at the very end
                self._sides = [side for side in self._sides if side.fileno() >= 0]
                continue
            for side in self._sides:
                self._take(side.drain(_AT_ONCE), side)
                if side.closed:  # its last words are all that it can still say
                    self._take(side.drain(), side)
                if side.damage:
                    self._on_damage(side.damage)
            self._sides = [side for side in self._sides if not side.closed]
            if self._files.failures and not complained:
                complained = True
                what = self._files.last_error
                self._reporter.say(f"the records cannot be written: {what}; the run goes on")

    def _take(self, messages: Iterable[Message], side: Mailbox) -> None:
        for message in messages:
            match message:
                case Record():
                    self._files.record(message.body)
                case Commands():
                    self._files.commands(message.body)
                case Status():
                    self.why = message.why
                    self._files.queue(message)
                    self._reporter.status(message)
                case Say():
                    self._reporter.say(message.text)
                case Ended():
                    self.ended = message
                case _:
                    side.distrust(f"{type(message).__name__} is not for the recorder")
                    return


def _row(cells: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
