#!/usr/bin/env python3
"""Makes golden.json: MRTD of the images in ../../snp/launch/made/, by Python's hashlib and nothing of ours.

Both orders are those of PageOrder in crates/tee/src/tdx/launch.rs. Run: python3 make.py > golden.json
"""
import hashlib
import json
import pathlib
import struct
import uuid

IMAGES = pathlib.Path(__file__).parent / "../../snp/launch/made"


def sections(image):
    place = image.rindex(uuid.UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le)
    start = len(image) - struct.unpack_from("<I", image, place - 6)[0]
    signature, _, _, count = struct.unpack_from("<4sIII", image, start)
    assert signature == b"TDVF"
    return [struct.unpack_from("<IIQQII", image, start + 16 + 32 * index) for index in range(count)]


def mrtd(image, by_page):
    digest = hashlib.sha384()

    def operation(name, address):
        digest.update(name.ljust(16, b"\0") + struct.pack("<Q", address) + bytes(104))

    for data_at, data_length, address, size, _, attributes in sections(image):
        if attributes & 2:
            continue
        data = image[data_at : data_at + data_length].ljust(size, b"\0")
        pages = range(0, size, 4096)

        def extend(page):
            for chunk in range(page, page + 4096, 256) if attributes & 1 else ():
                operation(b"MR.EXTEND", address + chunk)
                digest.update(data[chunk : chunk + 256])

        for page in pages:
            operation(b"MEM.PAGE.ADD", address + page)
            if by_page:
                extend(page)
        for page in pages if not by_page else ():
            extend(page)
    return digest.hexdigest()


golden = {}
for path in sorted(IMAGES.glob("*.fd")):
    image = path.read_bytes()
    golden[path.name] = {"by-page": mrtd(image, True), "by-section": mrtd(image, False)}
print(json.dumps(golden, indent=1))
