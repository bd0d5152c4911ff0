"""A program that wants a terminal, such as mutt: keys go in, and what the screen got comes out."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time


class Terminal:
    def __init__(self, arguments, env):
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                # before it starts: ncurses may give up where the size changes while it opens the terminal
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 180, 0, 0))
                os.execvpe(arguments[0], arguments, env)
            finally:
                os._exit(127)

    def read(self, seconds):
        """False at the program's end."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        text = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|\([A-Z0-9]|[=>])", " ", data.decode(errors="replace"))
        self.shown += text
        return bool(data)

    def wait_for(self, text, seconds=30):
        """Until the screen gets that text; returns what came since the last key."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            alive = self.read(0.2)
            if text in self.shown:
                break
            assert alive and time.monotonic() < deadline, (text, self.shown[-3000:])
        return self.shown

    def press(self, keys):
        self.shown = ""
        os.write(self.fd, keys.encode())

    def wait(self, seconds=60):
        """The exit status, once the program ends."""
        deadline = time.monotonic() + seconds
        while self.read(0.2):
            if time.monotonic() > deadline:
                shown = self.shown[-3000:]
                self.close()
                raise AssertionError(("still running", shown))
        status = os.waitpid(self.pid, 0)[1]
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
