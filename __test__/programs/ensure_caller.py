"""A caller of one build among many machines, written from docs/protocol/ensure.md and docs/protocol/cache-store.md alone: the
texts have to suffice. It keeps records in the folder of a store; `bundles_reader.py conformance` answers with it."""

import fcntl
import json
import os
import secrets
import socket
import threading
import time

POLL = 0.05


class Refused(Exception):
    def __init__(self, kind, message=""):
        super().__init__(message)
        self.kind = kind


class Folder:
    """Objects in a folder, with conditional writes."""

    def __init__(self, root):
        self.root = root

    def read(self, path):
        """The bytes and the version of an object. None if it does not exist."""
        try:
            with open(os.path.join(self.root, path), "rb") as file:
                return file.read(), version_of(os.fstat(file.fileno()))
        except FileNotFoundError:
            return None, None

    def write(self, path, data, expected):
        """Writes an object if it has the expected version (None: if it does not exist). Returns the new version, or None."""
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        os.makedirs(os.path.join(self.root, ".warmswap-tmp"), exist_ok=True)
        temporary = os.path.join(self.root, ".warmswap-tmp", secrets.token_hex(16))
        with open(os.path.join(self.root, ".warmswap-writers"), "a") as writers:
            fcntl.flock(writers, fcntl.LOCK_EX)
            with open(temporary, "xb") as file:
                file.write(data)
            current = version_of(os.stat(full)) if os.path.exists(full) else None
            if current != expected:
                os.unlink(temporary)
                return None
            os.utime(temporary, ns=(time.time_ns(), time.time_ns()))
            os.rename(temporary, full)
            return version_of(os.stat(full))


def version_of(status):
    return status.st_ino, status.st_mtime_ns, status.st_size


def path_of(key, fingerprint, blake3):
    """The record of a build, or of prewarm() without a fingerprint."""
    name = "prewarm" if fingerprint is None else blake3(fingerprint.encode())
    return f"{key}/.warmswap-ensure/{name}.json"


def parse(data):
    """The record in these bytes. None if they are no record, so that it may be replaced."""
    try:
        record = json.loads(data)
        if record["v"] > 1:
            raise Refused("incompatible", f"format {record['v']}")
        int(record["token"], 16)
        if record["state"] not in ("building", "ready", "failed"):
            return None
        return record
    except (ValueError, KeyError, TypeError):
        return None


class Lease:
    """A record that this caller holds. A thread renews it every third of its time."""

    def __init__(self, store, path, fingerprint, ttl_ms):
        self.store, self.path, self.fingerprint, self.ttl_ms = store, path, fingerprint, ttl_ms
        self.token, self.seq, self.generation = secrets.token_hex(16), 0, 0
        self.version, self.phase, self.is_lost = None, "", False
        self.guard, self.ended = threading.Lock(), threading.Event()

    def bytes(self, state, **more):
        self.seq += 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        record = {"v": 1, "token": self.token, "seq": self.seq, "ttlMs": self.ttl_ms, "holder": {"host": socket.gethostname(), "pid": os.getpid()}}
        record |= {"phase": self.phase, "at": at, "fingerprint": self.fingerprint or "", "state": state}
        if self.fingerprint is None:
            record["generation"] = self.generation
        return json.dumps(record | more).encode()

    def acquire(self, wait_ms):
        """Rules 1 and 2. Waits until the record is free, for `wait_ms`."""
        started, seen, since = time.monotonic(), None, 0.0
        while True:
            data, version = self.store.read(self.path)
            record = None if data is None else parse(data)
            if record is not None:
                self.generation = record.get("generation", 0)
                if record["state"] == "ready" and self.fingerprint is not None:
                    raise Refused("ready")
                if record["state"] == "building":
                    now = time.monotonic()
                    if version != seen:
                        seen, since = version, now
                    if now - since < 1.25 * min(max(record["ttlMs"], 100), 600_000) / 1000:
                        if (now - started) * 1000 >= wait_ms:
                            raise Refused("busy", json.dumps(record["holder"]))
                        time.sleep(POLL)
                        continue
            self.generation += 1
            self.version = self.store.write(self.path, self.bytes("building"), version)
            if self.version is not None:
                threading.Thread(target=self.keep_renewing, daemon=True).start()
                return

    def keep_renewing(self):
        while not self.ended.wait(self.ttl_ms / 3000):
            try:
                self.renew()
            except Refused:
                return

    def renew(self, phase=None):
        with self.guard:
            self.phase = self.phase if phase is None else phase
            self.replace("building")

    def finish(self, state, **more):
        """Rules 5 and 6."""
        with self.guard:
            self.ended.set()
            self.replace(state, **more)

    def replace(self, state, **more):
        version = None if self.is_lost else self.store.write(self.path, self.bytes(state, **more), self.version)
        if version is None:
            self.is_lost = True
            self.ended.set()
            raise Refused("lost", "the record was replaced")
        self.version = version


def answers(blake3):
    """The operations of the conformance runner."""
    leases = {}

    def acquire(request, _):
        fingerprint = request.get("fingerprint")
        lease = Lease(Folder(request["store"]), path_of(request["key"], fingerprint, blake3), fingerprint, request["ttlMs"])
        lease.acquire(request["waitMs"])
        leases[len(leases) + 1] = lease
        return {"lease": len(leases), "generation": lease.generation}

    def renew(request, _):
        leases[request["lease"]].renew(request["phase"])
        return {}

    def publish(request, _):
        pointer = request.get("pointer")
        leases[request["lease"]].finish("ready", **({} if pointer is None else {"pointer": pointer}))
        return {}

    def fail(request, _):
        message = request.get("message")
        leases[request["lease"]].finish("failed", **({} if message is None else {"failure": message}))
        return {}

    def inspect(request, _):
        data, _version = Folder(request["store"]).read(path_of(request["key"], request.get("fingerprint"), blake3))
        record = None if data is None else parse(data)
        if record is None:
            return {"state": None}
        facts = {"state": record["state"], "phase": record.get("phase", ""), "pid": record.get("holder", {}).get("pid")}
        return facts | ({"failure": record["failure"]} if "failure" in record else {})

    named = {"acquire": acquire, "renew": renew, "publish": publish, "fail": fail, "inspect": inspect}
    return {f"ensure/{name}": answer for name, answer in named.items()}
