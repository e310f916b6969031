"""Runs a command with a standard output or a standard error that is in trouble, and prints as JSON how it
ended and what came through.

    streams.py stdout|stderr full|closed|slow|stuck|stuck-waiting COMMAND...

full: a disk without room.  closed: a pipe that nobody reads.  slow: a pipe that is set not to make its
writer wait, and is read for the first time when it is full.  stuck: such a pipe, full, and read when the command is done.
stuck-waiting: the same, but its writer waits.
"""
import fcntl
import json
import os
import subprocess
import sys
import termios
import threading
import time

LIMIT_S = 60
PIPE_BYTES_MAX = 1 << 20


def set_waiting(descriptor, waits):
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_NONBLOCK if waits else flags | os.O_NONBLOCK)


def unread():
    return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)


def fill(descriptor):
    set_waiting(descriptor, False)
    filled = 0
    try:
        while filled < PIPE_BYTES_MAX:
            filled += os.write(descriptor, b"x" * 1024)
    except BlockingIOError:
        pass
    return filled


stream, trouble, *command = sys.argv[1:]
came = b""
filled = 0
reading = None
reader, writer = os.pipe()
if trouble == "full":
    os.close(writer)
    writer = os.open("/dev/full", os.O_WRONLY)
elif trouble != "slow" and trouble != "closed":
    filled = fill(writer)
set_waiting(writer, trouble in ("full", "closed", "stuck-waiting"))
if trouble == "closed":
    os.close(reader)
other = "stderr" if stream == "stdout" else "stdout"
process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **{stream: writer, other: subprocess.PIPE})


def read_all():
    """A slow one begins when nothing more comes: pieces of any length can fill a pipe."""
    global came
    before = 0
    while trouble == "slow" and process.poll() is None and (before == 0 or unread() > before):
        before = unread()
        time.sleep(0.5)
    while piece := os.read(reader, 65536):
        came += piece


if trouble != "stuck" and trouble != "stuck-waiting":
    os.close(writer)
if trouble == "slow":
    reading = threading.Thread(target=read_all)
    reading.start()
killer = threading.Timer(LIMIT_S, process.kill)
killer.start()
said = process.communicate()[0 if other == "stdout" else 1].decode()
killer.cancel()
if reading:
    reading.join()
elif trouble in ("stuck", "stuck-waiting"):
    os.close(writer)
    read_all()
print(json.dumps({"code": process.returncode, "came": came[filled:].decode(), "said": said}))
