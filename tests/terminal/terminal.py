"""Runs a command on a pseudo-terminal of its own: terminal.py COLUMNS ROWS PROGRAM [ARGUMENT...]

What the command writes to its terminal comes out of standard output, byte for byte. Standard input takes
one JSON object a line: {"keys": "..."} is typed, {"size": [columns, rows]} resizes the terminal. The exit
code is the command's; 128 and the signal's number if a signal ended it. The command is the leader of a
session, as a login shell is; when standard input closes it is killed.
"""

import fcntl
import json
import os
import pty
import selectors
import signal
import struct
import sys
import termios


def resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def obey(terminal: int, line: bytes) -> None:
    order = json.loads(line)
    if "size" in order:
        resize(terminal, *order["size"])
    else:
        os.write(terminal, order["keys"].encode())


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux says EIO once nobody holds the other end.
        return b""


def kill(terminal: int, leader: int) -> None:
    """Ends what is in the foreground, and the leader; the others get SIGHUP from the system."""
    for end in (lambda: os.killpg(os.tcgetpgrp(terminal), signal.SIGKILL),
                lambda: os.kill(leader, signal.SIGKILL)):
        try:
            end()
        except OSError:
            pass


def main() -> int:
    columns, rows, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    terminal, other_end = pty.openpty()
    resize(terminal, columns, rows)
    child = os.fork()
    if child == 0:
        os.close(terminal)
        os.login_tty(other_end)
        os.execvp(command[0], command)
    os.close(other_end)
    waiting = b""
    with selectors.DefaultSelector() as selector:
        selector.register(terminal, selectors.EVENT_READ)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                data = read(key.fd)
                if key.fd == terminal:
                    if not data:
                        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    while data:
                        data = data[os.write(1, data) :]
                elif not data:
                    kill(terminal, child)
                    selector.unregister(0)
                else:
                    *lines, waiting = (waiting + data).split(b"\n")
                    for line in lines:
                        obey(terminal, line)


code = main()
sys.exit(code if code >= 0 else 128 - code)
