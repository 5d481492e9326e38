"""A reader and a collector of bundles, written from docs/protocol.md alone.

    python3 bundles_protocol.py <root> read      pins, prints number and the file `a`, holds until stdin ends
    python3 bundles_protocol.py <root> collect   prints the numbers that went
"""
import fcntl
import json
import os
import re
import shutil
import sys
import time

root, command = sys.argv[1:]
at = lambda *names: os.path.join(root, *names)


def current():
    try:
        return re.fullmatch(r"gens/(\d{6,})/tree", os.readlink(at("current")))[1]
    except FileNotFoundError:
        return None


def lock(path, how):
    """The locked descriptor; None where it is missing, busy or unlinked."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:
        os.close(descriptor)
        return None
    return descriptor


def pin():
    before = None
    while True:
        number = current()
        if number is None:
            sys.exit("nothing is published")
        descriptor = lock(at("pins", number), fcntl.LOCK_SH)
        if descriptor is not None and current() == number:
            return number
        if descriptor is not None:
            os.close(descriptor)
        elif number == before:
            sys.exit("the store is damaged")
        before = number


def collect():
    writer = os.open(at("writer.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.flock(writer, fcntl.LOCK_EX)
    config = json.load(open(at("config.json")))
    history = json.load(open(at("current.json")))["history"]
    name = lambda former: "%06d" % former["number"]
    there = [name(former) for former in history if os.path.exists(at("pins", name(former)))]
    graced = {name(former) for former in history if former["until"] + config["graceMs"] > time.time() * 1000}
    stay = {current()} | graced | set(there[len(there) - config["keep"]:] if config["keep"] else [])
    gone = []
    for number in sorted(set(os.listdir(at("gens"))) | set(os.listdir(at("pins")))):
        if number in stay:
            continue
        if os.path.exists(at("pins", number)):
            if lock(at("pins", number), fcntl.LOCK_EX) is None or current() == number:
                continue
            os.unlink(at("pins", number))
        if os.path.exists(at("gens", number)):
            os.rename(at("gens", number), at("trash", "%s-%d" % (number, time.monotonic_ns())))
        gone.append(int(number))
    for owner in os.listdir(at("owners")):
        if lock(at("owners", owner), fcntl.LOCK_EX) is not None:
            if os.path.exists(at("stage", owner)):
                os.rename(at("stage", owner), at("trash", "stage-" + owner))
            os.unlink(at("owners", owner))
    os.close(writer)
    for entry in os.listdir(at("trash")):
        if not entry.startswith("adopted-"):
            shutil.rmtree(at("trash", entry))
    return gone


if open(at("FORMAT")).read() != "warmswap bundles 1\n":
    sys.exit("another format")
if command == "read":
    number = pin()
    print(int(number), open(at("gens", number, "tree", "a")).read(), flush=True)
    sys.stdin.read()
    print(open(at("gens", number, "tree", "a")).read(), flush=True)
else:
    print(json.dumps(collect()))
