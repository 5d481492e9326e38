"""Mounts a filesystem at argv[1] that answers nothing but its first request, as a dead server does.

A FUSE connection without any library: it says 'ready' once it is mounted, and is gone when it is killed.
"""
import ctypes
import os
import signal
import struct
import sys

path = sys.argv[1]
device = os.open('/dev/fuse', os.O_RDWR)
options = f'fd={device},rootmode=40000,user_id=0,group_id=0,allow_other'
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'hung', path.encode(), b'fuse', 0, options.encode()) != 0:
    sys.exit(f'mount: {os.strerror(ctypes.get_errno())}')
INIT = 26
request = os.read(device, 1 << 17)
_, operation, unique = struct.unpack_from('<IIQ', request)
if operation != INIT:
    sys.exit(f'the first request is {operation}')
answer = struct.pack('<IIII', 7, 31, 0, 0) + struct.pack('<HHII', 12, 9, 1 << 16, 1)
answer = answer.ljust(64, b'\0')
os.write(device, struct.pack('<IiQ', 16 + len(answer), 0, unique) + answer)
print('ready', flush=True)
# Requests are not even read: who waits for one that was read cannot be killed.
signal.pause()
