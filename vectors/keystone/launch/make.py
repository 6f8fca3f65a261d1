#!/usr/bin/env python3
"""Makes golden.json: hashes of Keystone enclaves and security monitors, by Python's hashlib and nothing of ours.

The rule is that of ../how.json, which reports of real Keystone confirmed. Run: python3 make.py > golden.json
"""
import hashlib
import json
import struct

PAGE = 4096


def made(seed, length):
    state, out = seed, bytearray()
    for _ in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(state >> 56)
    return bytes(out)


def padded(file, size):
    return file + bytes(-len(file) % size)


enclaves = []
for lengths in [(1, 1, 1), (4096, 4096, 4096), (4097, 4095, 12288), (100, 50000, 8192)]:
    files = [padded(made(seed, length), PAGE) for seed, length in zip((1, 2, 3), lengths)]
    digest = hashlib.sha3_512(b"".join(struct.pack("<Q", len(file)) for file in files) + b"".join(files))
    enclaves.append({"lengths": lengths, "enclave_hash": digest.hexdigest()})
monitors = []
for length in (1, 4096, 300_001):
    firmware = made(4, length)
    digest = hashlib.sha3_512(firmware + bytes(0x1FF000 - length))
    monitors.append({"length": length, "sm_hash": digest.hexdigest()})
print(json.dumps({"enclaves": enclaves, "monitors": monitors}, indent=1))
