"""A reader, a collector and a publisher of bundles, written from docs/protocol/bundles.md alone: the text has to suffice.

    bundles_reader.py read <root> <seconds>   reads again and again; prints {"reads", "generations", "problems"}
    bundles_reader.py hold <root>             holds the current generation until a line arrives on standard input
    bundles_reader.py collect <root>          collects once; prints {"removed", "pinned", "kept"}
    bundles_reader.py conformance             answers the requests of `warmswap conformance`
    bundles_reader.py publish <root> <count>  publishes generations with one small file each, and collects after each;
                                              prints {"current"}
"""

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import struct
import sys
import time

import ensure_caller

FORMAT = "warmswap bundles 1\n"
POINTER = re.compile(r"gens/(\d{6,})/tree")
NAME = re.compile(r"(?:\d{6}|[1-9]\d{6,})")


class Damaged(Exception):
    pass


class OtherFormat(Exception):
    pass


def check_format(root):
    with open(os.path.join(root, "FORMAT")) as file:
        if file.read() != FORMAT:
            raise OtherFormat(f"{root} has another format")


def current(root):
    try:
        target = os.readlink(os.path.join(root, "current"))
    except FileNotFoundError:
        return None
    match = POINTER.fullmatch(target)
    if not match or int(match[1]) > 2**52:
        raise Damaged(f"current points to {target}")
    return match[1]


def lock(descriptor, how):
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def hold(root):
    """The current generation and the descriptor that holds it."""
    seen = None
    while True:
        name = current(root)
        if name is None:
            return None, None
        try:
            descriptor = os.open(os.path.join(root, "pins", name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            descriptor = None
        locked = False
        if descriptor is not None:
            locked = lock(descriptor, fcntl.LOCK_SH)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Damaged(f"the lock file of {name} is no regular file")
            if locked and status.st_nlink > 0 and current(root) == name:
                return name, descriptor
            os.close(descriptor)
        if seen == name and not locked:
            raise Damaged(f"generation {name} has no lock file, or one that is locked")
        seen = name


def problems_of(root, name):
    """What the tree of a held generation has that its manifest does not say."""
    generation = os.path.join(root, "gens", name)
    with open(os.path.join(generation, "manifest.json")) as file:
        entries = json.load(file)["entries"]
    for entry in entries:
        path = os.path.join(generation, "tree", entry["path"])
        status = os.lstat(path)
        if status.st_mode & 0o777 != entry["mode"] and entry["type"] != "symlink":
            yield f"{path}: mode"
        if entry["type"] == "file" and status.st_size != entry["size"]:
            yield f"{path}: size"
        if entry["type"] == "symlink" and os.readlink(path) != entry["target"]:
            yield f"{path}: target"
    found = sum(len(folders) + len(files) for _, folders, files in os.walk(os.path.join(generation, "tree")))
    if found != len(entries):
        yield f"{generation}: {found} entries, {len(entries)} in the manifest"


def versions_of(root, name):
    """Every file of the tests' generations holds the same version: two of them are a mixed read."""
    tree = os.path.join(root, "gens", name, "tree")
    versions = set()
    for folder, _, files in os.walk(tree):
        for file in files:
            with open(os.path.join(folder, file)) as text:
                versions.add(text.read().split("\n")[0])
    return versions


def read(root, seconds):
    until = time.monotonic() + seconds
    reads, generations, problems, last = 0, set(), [], 0
    while time.monotonic() < until:
        try:
            name, descriptor = hold(root)
            if name is None:
                continue
            problems += problems_of(root, name)
            if len(versions_of(root, name)) != 1:
                problems.append(f"{name}: mixed")
            if int(name) < last:
                problems.append(f"{name} after {last}")
            last = int(name)
            os.close(descriptor)
            reads += 1
            generations.add(name)
        except (OSError, Damaged) as error:
            problems.append(str(error))
    print(json.dumps({"reads": reads, "generations": len(generations), "problems": problems[:10]}))


def writer_lock(root, seconds=30):
    path = os.path.join(root, "writer.lock")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if lock(descriptor, fcntl.LOCK_EX) and os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
        os.close(descriptor)
        time.sleep(0.005)
    raise SystemExit("writer.lock was not free in time")


def now_ms():
    return int(time.time() * 1000)


def this_boot():
    with open("/proc/sys/kernel/random/boot_id") as file:
        return {"boot": file.read().strip(), "ms": time.monotonic_ns() // 1_000_000}


def mirror_of(root):
    """current.json. An `until` in the future counts as now and is written down as now."""
    with open(os.path.join(root, "current.json")) as file:
        mirror = json.load(file)
    here, now, moved = this_boot(), now_ms(), False
    for former in mirror["history"]:
        since = former.get("since")
        if since and since["boot"] == here["boot"] and since["ms"] <= here["ms"]:
            continue
        age = max(0, now - former["until"])
        moved = moved or former["until"] > now
        former["until"] = min(former["until"], now)
        former["since"] = {"boot": here["boot"], "ms": here["ms"] - age}
    if moved:
        write_mirror(root, mirror)
    return mirror


def write_mirror(root, mirror):
    temporary = os.path.join(root, "current.json.tmp")
    with open(temporary, "w") as file:
        json.dump(mirror, file)
    os.rename(temporary, os.path.join(root, "current.json"))


def staying(root):
    with open(os.path.join(root, "config.json")) as file:
        config = json.load(file)
    history = mirror_of(root)["history"]
    existing = [former["number"] for former in history if os.path.exists(os.path.join(root, "pins", f"{former['number']:06d}"))]
    kept = existing[-config["keep"]:] if config["keep"] > 0 else []
    here = this_boot()["ms"]
    graced = [former["number"] for former in history if here - former["since"]["ms"] < config["graceMs"]]
    return {f"{number:06d}" for number in kept + graced} | {current(root)}


def collect(root):
    check_format(root)
    writing = writer_lock(root)
    removed, pinned, kept = [], [], []
    names = {name for folder in ("gens", "pins") for name in os.listdir(os.path.join(root, folder)) if NAME.fullmatch(name)}
    stay = staying(root)
    for name in sorted(names):
        if name in stay:
            kept.append(int(name))
        elif remove(root, name):
            removed.append(int(name))
        else:
            pinned.append(int(name))
    sweep_stages(root)
    os.close(writing)
    trash = os.path.join(root, "trash")
    for name in os.listdir(trash):
        if not name.startswith("adopted-"):
            shutil.rmtree(os.path.join(trash, name), ignore_errors=True)
    return {"removed": removed, "pinned": pinned, "kept": kept}


def remove(root, name):
    pin = os.path.join(root, "pins", name)
    descriptor = None
    try:
        descriptor = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
        if not lock(descriptor, fcntl.LOCK_EX) or current(root) == name:
            return False
        os.unlink(pin)
    except FileNotFoundError:
        pass
    finally:
        if descriptor is not None:
            os.close(descriptor)
    throw_away(root, os.path.join("gens", name))
    return True


def throw_away(root, path):
    try:
        os.rename(os.path.join(root, path), os.path.join(root, "trash", f"{os.path.basename(path)}-python-{time.monotonic_ns()}"))
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EACCES):
            raise
        shutil.rmtree(os.path.join(root, path), ignore_errors=True)


def sweep_stages(root):
    for name in os.listdir(os.path.join(root, "owners")):
        owner = os.path.join(root, "owners", name)
        descriptor = os.open(owner, os.O_RDONLY | os.O_CLOEXEC)
        if lock(descriptor, fcntl.LOCK_EX):
            throw_away(root, os.path.join("stage", name))
            os.unlink(owner)
        os.close(descriptor)
    for name in os.listdir(os.path.join(root, "stage")):
        if not os.path.exists(os.path.join(root, "owners", name)):
            throw_away(root, os.path.join("stage", name))


# BLAKE3 of at most one chunk (1024 bytes), which is enough for these files and manifests.
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXED = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def rotated(word, bits):
    return (word >> bits | word << (32 - bits)) & 0xFFFFFFFF


def compressed(chaining, block, flags):
    words = struct.unpack("<16I", block.ljust(64, b"\0"))
    state = [*chaining, *IV[:4], 0, 0, len(block), flags]
    for _ in range(7):
        for index, (a, b, c, d) in enumerate(MIXED):
            for word, (first, second) in ((words[2 * index], (16, 12)), (words[2 * index + 1], (8, 7))):
                state[a] = (state[a] + state[b] + word) & 0xFFFFFFFF
                state[d] = rotated(state[d] ^ state[a], first)
                state[c] = (state[c] + state[d]) & 0xFFFFFFFF
                state[b] = rotated(state[b] ^ state[c], second)
        words = [words[index] for index in PERMUTATION]
    return tuple(state[index] ^ state[index + 8] for index in range(8))


def blake3(data):
    if len(data) > 1024:
        raise ValueError("more than one chunk")
    blocks = [data[index : index + 64] for index in range(0, len(data), 64)] or [b""]
    chaining = IV
    for index, block in enumerate(blocks):
        is_last = index == len(blocks) - 1
        chaining = compressed(chaining, block, (index == 0) | (is_last and 2 | 8))
    return struct.pack("<8I", *chaining).hex()


def publish(root, count):
    for index in range(count):
        publish_one(root, f"python {index}\n")
        collect(root)
    print(json.dumps({"current": int(current(root))}))


def publish_one(root, text):
    stage_id = f"python-{os.getpid()}-{time.monotonic_ns()}"
    owner = os.open(os.path.join(root, "owners", stage_id), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    assert lock(owner, fcntl.LOCK_EX) and os.fstat(owner).st_nlink > 0
    stage = os.path.join(root, "stage", stage_id)
    os.makedirs(os.path.join(stage, "tree"))
    started = time.monotonic_ns() // 1000
    path = os.path.join(stage, "tree", "text")
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, 0o444)
    size, hashed = len(text), blake3(text.encode())
    digest = blake3("".join(f"{part}\0" for part in ("file", "text", "444", size, hashed)).encode())
    entry = {"path": "text", "mode": 0o444, "type": "file", "size": size, "hash": hashed}
    with open(os.path.join(stage, "manifest.json"), "w") as file:
        json.dump({"digest": digest, "entries": [entry]}, file)
    writing = writer_lock(root)
    mirror, name = mirror_of(root), current(root)
    assert mirror["number"] == (int(name) if name else None), "a writer was killed"
    used = [int(name) for folder in ("gens", "pins") for name in os.listdir(os.path.join(root, folder)) if NAME.fullmatch(name)]
    number = max([*used, mirror["highest"], int(name or 0)]) + 1
    head = {"number": number, "digest": digest, "files": 1, "bytes": size, "publishedAt": now_ms(), "startedAt": started}
    pin = os.path.join(root, "pins", f"{number:06d}")
    with open(pin, "w") as file:
        json.dump({**head, "boot": this_boot()["boot"], "durability": "process"}, file)
    changed = os.stat(os.path.join(stage, "tree")).st_ctime_ns
    os.utime(pin, ns=(changed, changed))
    os.rename(stage, os.path.join(root, "gens", f"{number:06d}"))
    if name:
        mirror["history"].append({"number": int(name), "until": now_ms(), "since": this_boot()})
    exists = lambda former: os.path.exists(os.path.join(root, "pins", f"{former['number']:06d}"))
    mirror.update(number=number, digest=digest, at=now_ms(), highest=number, history=list(filter(exists, mirror["history"])))
    with open(os.path.join(root, "current.json.tmp"), "w") as file:
        json.dump(mirror, file)
    temporary = os.path.join(root, "current.tmp")
    os.symlink(f"gens/{number:06d}/tree", temporary)
    os.rename(temporary, os.path.join(root, "current"))
    os.rename(os.path.join(root, "current.json.tmp"), os.path.join(root, "current.json"))
    os.unlink(os.path.join(root, "owners", stage_id))
    os.close(owner)
    os.close(writing)


def keep_held(root):
    name, descriptor = hold(root)
    print(json.dumps({"held": int(name)}), flush=True)
    sys.stdin.readline()
    print(json.dumps({"problems": list(problems_of(root, name))}), flush=True)
    os.close(descriptor)


def files_of(root, name):
    """Path and text of each regular file of a held generation that its manifest proves."""
    generation = os.path.join(root, "gens", name)
    if os.stat(os.path.join(generation, "tree")).st_ctime_ns != os.stat(os.path.join(root, "pins", name)).st_mtime_ns:
        problems = list(problems_of(root, name))
        if problems:
            raise Damaged("; ".join(problems))
    tree = os.path.join(generation, "tree")
    files = {}
    for folder, _, names in os.walk(tree):
        for path in (os.path.join(folder, each) for each in names):
            if not os.path.islink(path):
                with open(path, encoding="utf-8", newline="") as file:
                    files[os.path.relpath(path, tree)] = file.read()
    return files


def answer_read(request, _pins):
    name, descriptor = hold(request["root"])
    try:
        return {"number": int(name), "files": files_of(request["root"], name)}
    finally:
        os.close(descriptor)


def answer_pin(request, pins):
    name, descriptor = hold(request["root"])
    pins[descriptor] = name
    return {"pin": descriptor, "number": int(name), "tree": os.path.join(request["root"], "gens", name, "tree")}


def answer_release(request, pins):
    del pins[request["pin"]]
    os.close(request["pin"])
    return {}


def answer_current(request, _pins):
    name = current(request["root"])
    return {"number": None if name is None else int(name)}


def answer_collect(request, _pins):
    return collect(request["root"])


ANSWERS = {
    "bundles/current": answer_current,
    "bundles/read": answer_read,
    "bundles/pin": answer_pin,
    "bundles/release": answer_release,
    "bundles/collect": answer_collect,
    **ensure_caller.answers(blake3),
}


def answer(request, pins):
    if request["do"] == "hello":
        return {"ok": {"operations": list(ANSWERS)}}
    try:
        if "root" in request:
            check_format(request["root"])
        return {"ok": ANSWERS[request["do"]](request, pins)}
    except OtherFormat as error:
        return {"error": "format", "message": str(error)}
    except ensure_caller.Refused as error:
        return {"error": error.kind, "message": str(error)}
    except (OSError, Damaged) as error:
        return {"error": "damaged", "message": str(error)}


def conformance():
    pins = {}
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"id": request["id"], **answer(request, pins)}), flush=True)


def main(command, root=None, *rest):
    if command == "conformance":
        return conformance()
    check_format(root)
    commands = {
        "read": lambda: read(root, float(rest[0])),
        "hold": lambda: keep_held(root),
        "collect": lambda: print(json.dumps(collect(root))),
        "publish": lambda: publish(root, int(rest[0])),
    }
    return commands[command]()


if __name__ == "__main__":
    main(*sys.argv[1:])
