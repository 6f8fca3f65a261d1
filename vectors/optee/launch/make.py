#!/usr/bin/env python3
"""Makes the files of made/: trusted applications signed as OP-TEE's scripts/sign_encrypt.py signs them, and ELF files
with what OP-TEE measures of them, by Python's `cryptography` and nothing of ours.

Run: python3 -m venv venv && venv/bin/pip install cryptography==44.0.0 && venv/bin/python make.py
Keys are made anew, so that the files differ from run to run; signing.pub.pem and golden.json belong to them.
"""
import hashlib
import json
import pathlib
import struct
import uuid

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OUT = pathlib.Path(__file__).parent / "made"
PSS, PKCS1 = 0x70414930, 0x70004830
MAGIC = 0x4F545348
SHA256 = hashes.SHA256()


def made(seed, length):
    state, out = seed, bytearray()
    for _ in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(state >> 56)
    return bytes(out)


def sign(key, algorithm, digest):
    scheme = padding.PSS(padding.MGF1(SHA256), 32) if algorithm == PSS else padding.PKCS1v15()
    return key.sign(digest, scheme, utils.Prehashed(SHA256))


last_digest = None


def signed(key, algorithm, kind, size, hashed, body):
    global last_digest
    header = struct.pack("<IIIIHH", MAGIC, kind, size, algorithm, 32, key.key_size // 8)
    digest = last_digest = hashlib.sha256(header + hashed).digest()
    return header + digest + sign(key, algorithm, digest) + body


def application(key, algorithm, name, version, image):
    body = name.bytes + struct.pack("<I", version) + image
    return signed(key, algorithm, 1, len(image), body, body)


def legacy(key, image):
    return signed(key, PKCS1, 0, len(image), image, image)


def encrypted(key, name, version, image):
    secret = bytes(range(32))
    nonce = made(9, 12)
    sealed = AESGCM(secret).encrypt(nonce, image, None)
    subheader = name.bytes + struct.pack("<IIIHH", version, 0x40000810, 0, 12, 16) + nonce + sealed[-16:]
    return signed(key, PSS, 2, len(image), subheader + image, subheader + sealed[:-16])


def subkey(parent, name, key, depth, below):
    numbers = key.public_key().public_numbers()
    modulus = numbers.n.to_bytes(key.key_size // 8, "big")
    exponent = numbers.e.to_bytes(3, "big")
    start = 36 + 24
    body = name.bytes + struct.pack("<IIIII", len(below), 1, depth, PSS, 2)
    body += struct.pack("<III", 0xD0000130, start, len(modulus))
    body += struct.pack("<III", 0xD0000230, start + len(modulus), len(exponent))
    body += modulus + exponent
    return signed(parent, PSS, 3, len(body), body, body + below)


def name_below(name, text):
    return uuid.UUID(bytes=hashlib.sha512(name.bytes + text).digest()[:16], version=5)


def elf(wide, segments, symbols):
    """An ELF file with segments (flags, address, contents), the first of which starts at 4,096."""
    header = 64 if wide else 52
    size = 56 if wide else 32
    at, table, data = 4096, b"", b""
    for flags, address, contents in segments:
        offset = at + len(data)
        if wide:
            table += struct.pack("<IIQQQQQQ", 1, flags, offset, address, address, len(contents), len(contents), 4096)
        else:
            table += struct.pack("<IIIIIIII", 1, offset, address, address, len(contents), len(contents), flags, 4096)
        data += contents + bytes(-len(contents) % 4096)
    strings, entries = b"\0", b"\0" * (24 if wide else 16)
    for name, value in symbols:
        if wide:
            entries += struct.pack("<IBBHQQ", len(strings), 16, 0, 1, value, 0)
        else:
            entries += struct.pack("<IIIBBH", len(strings), value, 0, 16, 0, 1)
        strings += name.encode() + b"\0"
    symtab_at = at + len(data)
    strtab_at = symtab_at + len(entries)
    sections_at = strtab_at + len(strings)

    def section(kind, offset, length, link, entry):
        if wide:
            return struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, offset, length, link, 0, 1, entry)
        return struct.pack("<IIIIIIIIII", 0, kind, 0, 0, offset, length, link, 0, 1, entry)

    sections = section(0, 0, 0, 0, 0)
    sections += section(2, symtab_at, len(entries), 2, 24 if wide else 16)
    sections += section(3, strtab_at, len(strings), 0, 0)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    if wide:
        rest = struct.pack("<HHIQQQIHHHHHH", 3, 183, 1, 0, header, sections_at, 0, header, size, len(segments), 64, 3, 2)
    else:
        rest = struct.pack("<HHIIIIIHHHHHH", 3, 40, 1, 0, header, sections_at, 0, header, size, len(segments), 40, 3, 2)
    start = ident + rest + table
    return start + made(5, 4096 - len(start)) + data + entries + strings + sections


def ta_memory(file, code):
    regions = [file[:4096], code + bytes(-len(code) % 4096)]
    regions.sort(key=lambda region: (len(region), region))
    return hashlib.sha256(b"".join(regions)).hexdigest()


OUT.mkdir(exist_ok=True)
golden = {"ta_header": {}, "ta_memory": {}, "tee_memory": {}}


def write(name, contents):
    (OUT / name).write_bytes(contents)
    if name.endswith(".ta"):
        golden["ta_header"][name] = last_digest.hex()


key, below = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 3072)
other = rsa.generate_private_key(65537, 2048)
pem = lambda key: key.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
write("signing.pub.pem", pem(key))
write("other.pub.pem", pem(other))
name = uuid.UUID("6f1d2a3e-93c4-4d58-8f0a-1b2c3d4e5f61")
image = made(1, 5000)
write("bootstrap-pss.ta", application(key, PSS, name, 7, image))
write("bootstrap-pkcs1.ta", application(key, PKCS1, name, 0, image))
write("legacy.ta", legacy(key, image))
write("encrypted.ta", encrypted(key, name, 7, image))
space = uuid.UUID("f04fa996-148a-453c-b037-1dcfbad120a6")
text = b"mid\0\0\0\0\0"
child = name_below(space, b"mid")
write("subkey.ta", subkey(key, space, below, 1, text) + application(below, PSS, child, 3, image))
write("subkey-same-name.ta", subkey(key, space, below, 0, b"") + application(below, PSS, space, 3, image))
nested = name_below(child, b"ta")
write("two-subkeys.ta", subkey(key, space, below, 1, text) + subkey(below, child, other, 0, b"ta")
      + application(other, PSS, nested, 3, image))
write("subkey-too-deep.ta", subkey(key, space, below, 1, text) + subkey(below, child, other, 1, b"ta")
      + application(other, PSS, nested, 3, image))
write("subkey-other-name.ta", subkey(key, space, below, 1, text) + application(below, PSS, name, 3, image))
code, small, data = made(2, 9000), made(3, 4000), made(4, 500)
for wide in (False, True):
    bits = 64 if wide else 32
    for kind, text_ in (("large", code), ("page", small)):
        file = elf(wide, [(5, 0, text_), (6, 0x10000, data)], [])
        write(f"ta-{kind}.elf{bits}", file)
        golden["ta_memory"][f"ta-{kind}.elf{bits}"] = ta_memory(file, text_)
    start = 0x0E100000
    symbols = [("__text_start", start), ("__text_data_start", start + 0x800), ("__text_data_end", start + 0x900),
               ("__text_end", start + 0x2000), ("__rodata_start", start + 0x2100), ("__rodata_end", start + 0x2300),
               ("__text_starts", 1)]
    file = elf(wide, [(5, start, code + bytes(0x300)), (6, start + 0x10000, data)], symbols)
    write(f"tee.elf{bits}", file)
    whole = code + bytes(0x300)
    parts = whole[:0x800] + whole[0x900:0x2000] + whole[0x2100:0x2300]
    golden["tee_memory"][f"tee.elf{bits}"] = hashlib.sha256(parts).hexdigest()
(OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
