"""Child processes that end with the harness, and what /proc says of them."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
# HAProxy takes most: two sockets and, when it splices, a pipe for each of the 2,000 clients and some to spare.
OPEN_FILES = 8_192
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """A run that cannot count: a program is missing, did not start, or answered wrongly."""


def allow_open_files(count=OPEN_FILES):
    """Lets this process and those that it starts open so many files, by default enough for the largest case."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise Failed(f"so many clients need {count} open files a process, the limit is {hard}; "
                     f"type, as root: prlimit --pid $$ --nofile={count}")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(argv, cores, log):
    """Starts `argv` bound to `cores` (a list of numbers; empty: wherever the kernel likes), output to a file `log`."""
    if cores:
        argv = ["taskset", "-c", ",".join(map(str, cores)), *argv]
    with open(log, "wb") as out:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            # Without this a harness that is killed leaves its servers behind.
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )


def stop(process):
    """Asks the process to end, and after two seconds makes it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition, what, seconds=15):
    """Polls `condition` until it returns a true value, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not so after {seconds} s")
        time.sleep(0.02)


def cpu_seconds(pid):
    """Processor time of all threads of `pid`, user and kernel."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended since it was listed
    return total / 1e9


def forget_peak(pid):
    """From now on the kernel counts anew how much memory `pid` held at most; None is nobody."""
    if pid:
        try:
            with open(f"/proc/{pid}/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass  # another user's process, or a kernel without it: then the peak is that of its whole life


def peak_rss_kib(pid):
    """The most resident memory of `pid` since `forget_peak`; 0 for None."""
    if not pid:
        return 0
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def rss_kib(pid):
    """Resident memory of `pid` now."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))
