#!/usr/bin/env python3
"""Makes the firmware images of made/, and golden.jsonl: what sev-snp-measure says of guests that start with them.

The images are data with OVMF's tables at the end: EDK II's OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm,
X64/OvmfSevMetadata.asm and X64/OvmfTdxMetadata.asm say how these look. No processor could run them.

Run: python3 -m venv venv && venv/bin/pip install sev-snp-measure==0.0.13 && venv/bin/python make.py
"""
import itertools
import json
import pathlib
import struct
import tempfile
import uuid

OUT = pathlib.Path(__file__).parent / "made"
RESET = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
HASHES = "7255371f-3a3b-4b04-927b-1da6efa8d454"
SEV = "dc886566-984a-4798-a75e-5585a7bf67cc"
TDX = "e47a6535-984a-4798-865e-4685a7bf8ec2"
FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
MEMORY, SECRETS, CPUID, SVSM_CAA, KERNEL_HASHES = 1, 2, 3, 4, 0x10


def made(seed, length):
    state, out = seed, bytearray()
    for _ in range(length):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(state >> 56)
    return bytes(out)


def entry(guid, data):
    return data + struct.pack("<H", len(data) + 18) + uuid.UUID(guid).bytes_le


def image(seed, size, sections, hashes, domain):
    """`size` bytes whose last 1,024 hold the metadata and the table."""
    sev = struct.pack("<4sIII", b"ASEV", 16 + 12 * len(sections), 1, len(sections))
    sev += b"".join(struct.pack("<III", *section) for section in sections)
    tdx = struct.pack("<4sIII", b"TDVF", 16 + 32 * len(domain), 1, len(domain))
    tdx += b"".join(struct.pack("<IIQQII", *section) for section in domain)
    table = entry(RESET, struct.pack("<I", 0x80B004))
    table += entry("4c2eb361-7d9b-4cc3-8081-127c90d3d294", bytes(8))
    if hashes:
        table += entry(HASHES, struct.pack("<II", hashes, 0x400))
    table += entry(SEV, struct.pack("<I", 1024)) + entry(TDX, struct.pack("<I", 640))
    table += struct.pack("<H", len(table) + 18) + uuid.UUID(FOOTER).bytes_le
    tail = bytearray(1024)
    tail[: len(sev)] = sev
    tail[384 : 384 + len(tdx)] = tdx
    tail[1024 - 32 - len(table) : 1024 - 32] = table
    tail[1024 - 32 :] = made(seed + 1, 32)
    return made(seed, size - 1024) + bytes(tail)


def domain(size, variables):
    """Sections of a trust domain: the code is measured, variables and memory are not."""
    code = size - variables
    start = 2**32 - size
    return [
        (variables, code, start + variables, code, 0, 1),
        (0, variables, start, variables, 1, 0),
        (0, 0, 0x810000, 0x10000, 3, 0),
        (0, 0, 0x80B000, 0x2000, 3, 0),
        (0, 0, 0x809000, 0x2000, 2, 0),
        (0, 0, 0x1000000, 0x40000000, 4, 2),
    ]


def write_images():
    OUT.mkdir(exist_ok=True)
    full = [
        (0x800000, 0x9000, MEMORY), (0x80A000, 0x3000, MEMORY), (0x80D000, 0x1000, SECRETS),
        (0x80E000, 0x1000, CPUID), (0x80F000, 0x1000, SVSM_CAA), (0x810000, 0x1000, KERNEL_HASHES),
        (0x811000, 0xF000, MEMORY),
    ]
    cpuid_first = [
        (0x80E000, 0x1000, CPUID), (0x800000, 0x9000, MEMORY), (0x810000, 0x1000, KERNEL_HASHES),
        (0x80D000, 0x1000, SECRETS),
    ]
    plain = [(0x800000, 0x9000, MEMORY), (0x80D000, 0x1000, SECRETS), (0x80E000, 0x1000, CPUID)]
    images = {
        "full.fd": image(10, 0x8000, full, 0x810C00, domain(0x8000, 0x2000)),
        "cpuid-first.fd": image(20, 0x4000, cpuid_first, 0x810000, domain(0x4000, 0x1000)),
        "plain.fd": image(30, 0x3000, plain, 0, domain(0x3000, 0x1000)),
    }
    for name, contents in images.items():
        (OUT / name).write_bytes(contents)


TYPES = ["EPYC", "EPYC-v4", "EPYC-IBPB", "EPYC-Rome", "EPYC-Rome-v3", "EPYC-Milan", "EPYC-Milan-v2", "EPYC-Genoa",
         "EPYC-Genoa-v1", "EPYC-Turin"]
KERNELS = [None, ("kernel", "", ""), ("kernel", "initrd", ""), ("kernel", "initrd", "console=ttyS0 root=/dev/vda1 é")]


def cases(images):
    """A line for each guest; types of processors take turns, and with EPYC-Milan all else is the same."""
    turn = itertools.cycle(TYPES)
    for name in images:
        for kernel in KERNELS if name != "plain.fd" else KERNELS[:1]:
            for hypervisor, vcpus, features in itertools.product(("QEMU", "ec2", "gce"), (1, 2, 4, 64), (0x1, 0x21)):
                yield {"image": name, "hypervisor": hypervisor, "vcpus": vcpus, "type": next(turn),
                       "features": features, "kernel": kernel}


def main():
    from sevsnpmeasure import guest, vcpu_types
    from sevsnpmeasure.sev_mode import SevMode
    from sevsnpmeasure.vmm_types import VMMType

    write_images()
    with tempfile.TemporaryDirectory() as directory, open(OUT.parent / "golden.jsonl", "w") as golden:
        files = {"": None}
        for name, contents in (("kernel", made(40, 5000)), ("initrd", made(50, 7000))):
            path = pathlib.Path(directory) / name
            path.write_bytes(contents)
            files[name] = str(path)
        for case in cases(["full.fd", "cpuid-first.fd", "plain.fd"]):
            kernel, initrd, cmdline = case["kernel"] or ("", "", "")
            digest = guest.calc_launch_digest(
                SevMode.SEV_SNP, case["vcpus"], vcpu_types.CPU_SIGS[case["type"]], str(OUT / case["image"]),
                files[kernel], files[initrd], cmdline, case["features"], vmm_type=VMMType[case["hypervisor"]])
            golden.write(json.dumps(case | {"measurement": digest.hex()}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
