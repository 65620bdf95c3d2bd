"""vsix.py FILE: what has to be in a vsix, and nothing else."""
import json
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as vsix:
    names = set(vsix.namelist())
    binary = vsix.getinfo("extension/bin/bssh")
    package = json.loads(vsix.read("extension/package.json"))
allowed = ("extension/media/", "extension/bin/bssh", "extension/dist/extension.js", "extension/package.json")
allowed += ("extension/readme.md", "extension/changelog.md", "extension/LICENSE.txt", "extension.vsixmanifest", "[Content_Types].xml")
strange = [name for name in names if not name.startswith(allowed)]
assert not strange, f"does not belong there: {strange}"
assert binary.external_attr >> 16 & 0o111, "bssh is not executable"
steps = package["contributes"]["walkthroughs"][0]["steps"]
missing = [step["media"]["markdown"] for step in steps if f"extension/{step['media']['markdown']}" not in names]
assert not missing, f"walkthrough media: {missing}"
print(f"{sys.argv[1]}: {len(names)} files, as they should be")
