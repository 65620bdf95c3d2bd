"""vsix.py FILE [TARGET]: what has to be in a vsix, and nothing else; without a target no executable.

vsix.py --head TARGET FILE: the first bytes of an executable of another platform, to package.
"""
import json
import re
import struct
import sys
import zipfile

HEADS = {
    "darwin-arm64": struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 2, 0, 0, 0, 0),
    "darwin-x64": struct.pack(">2I", 0xCAFEBABE, 2) + struct.pack(">5I", 0x01000007, 3, 0, 0, 0) + struct.pack(">5I", 0x0100000C, 0, 0, 0, 0),
    "win32-x64": b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80) + bytes(0x40) + b"PE\0\0" + struct.pack("<H", 0x8664),
    "alpine-arm64": b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack("<2H", 3, 0xB7),
}


def check(file, target):
    binary = target and ("extension/bin/bssh.exe" if target.startswith("win32") else "extension/bin/bssh")
    with zipfile.ZipFile(file) as vsix:
        names = set(vsix.namelist())
        package = json.loads(vsix.read("extension/package.json"))
        manifest = vsix.read("extension.vsixmanifest").decode()
        if binary:
            assert vsix.getinfo(binary).external_attr >> 16 & 0o111, f"{binary} is not executable"
    needed = {"extension/dist/extension.js", "extension/package.json", "extension/readme.md", "extension/changelog.md"}
    needed |= {"extension/LICENSE.txt", "extension.vsixmanifest", "[Content_Types].xml"} | ({binary} if binary else set())
    steps = package["contributes"]["walkthroughs"][0]["steps"]
    needed |= {f"extension/{step['media']['markdown']}" for step in steps} | {f"extension/{package['icon']}"}
    assert needed <= names, f"missing: {needed - names}"
    strange = {name for name in names - needed if not name.startswith("extension/media/")}
    assert not strange, f"does not belong there: {strange}"
    said = re.search(r'TargetPlatform="([^"]*)"', manifest)
    assert (said and said[1]) == target, f"for {said and said[1]}, not for {target}"
    print(f"{file}: {len(names)} files, as they should be")


if sys.argv[1] == "--head":
    with open(sys.argv[3], "wb") as head:
        head.write(HEADS[sys.argv[2]])
else:
    check(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
