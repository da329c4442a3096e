"""What does an HDF5 file hold? Read in a process of its own, which a damaged file may crash."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

from safe_companion import ROOT
from safe_companion.formats.content import EventFile, RecordingError, unreadable


class _Reader:
    """The process that reads, started at the first file and again after a crash.

    The HDF5 library ends the interpreter on some damaged files, where a whole training would end.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, path: Path, columns: str | None) -> EventFile | RecordingError:
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
                self.process = subprocess.Popen(
                    [sys.executable, "-m", __name__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                )
            assert self.process.stdin is not None and self.process.stdout is not None
            try:
                pickle.dump((path, os.path.abspath(path), columns), self.process.stdin)
                self.process.stdin.flush()
                return pickle.load(self.process.stdout)
            except (EOFError, OSError, pickle.UnpicklingError):
                self.process.kill()
                cause = f"the HDF5 library crashed, status {self.process.wait()}"
                return unreadable(path, "HDF5 file", cause)
            except BaseException:  # interrupted: the answer to this must not meet the next question
                self.process.kill()
                raise


_reader = _Reader()


def read_h5(path: Path, *, columns: str | None = None) -> EventFile:
    """Events of DSEC (events/x, y, t, p, t_offset), of MVSEC (davis/left/events), or plain ones.

    Plain: x, y, t, p under the usual names at the root or in `events`, or one array there. Frames
    are not read. Raises RecordingError.
    """
    global _reader
    if _reader.owner != os.getpid():  # after a fork: the other process goes on with its reader
        _reader = _Reader()
    answer = _reader.ask(path, columns)
    if isinstance(answer, RecordingError):
        raise answer
    return answer


def _serve() -> None:
    """Answer questions until the process that asks has ended."""
    from safe_companion.formats.hdf5_layouts import read_layout  # only this process opens files

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # that is for the process that asks
    while True:
        try:
            path, place, columns = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: EventFile | RecordingError
        try:
            answer = read_layout(path, place, columns)
        except RecordingError as error:
            answer = error
        pickle.dump(answer, sys.stdout.buffer, protocol=5)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
