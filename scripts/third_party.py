#!/usr/bin/env python3
"""Prints the licences of the crates that libc4c is linked with, as binaries have to bring them along: each text once, with the
crates that it is of. Reads what cargo has unpacked; nothing is fetched.
"""
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("licen[cs]e*", "LICEN[CS]E*", "COPYING*", "NOTICE*", "UNLICENSE*")


def linked(metadata):
    """The packages that ours needs when it runs, itself left out."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, todo = set(), [metadata["resolve"]["root"]]
    while todo:
        for dependency in nodes[todo.pop()]["deps"]:
            if dependency["pkg"] not in found and any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                found.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return sorted((p for p in metadata["packages"] if p["id"] in found), key=lambda p: (p["name"], p["version"]))


def main():
    host = next(line.split()[1] for line in subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True)
                .stdout.splitlines() if line.startswith("host:"))
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={host}"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    texts, without = {}, []
    for package in linked(metadata):
        folder = Path(package["manifest_path"]).parent
        name = f"{package['name']} {package['version']} ({package['license']})"
        files = sorted({file for pattern in NAMES for file in folder.glob(pattern) if file.is_file()})
        for file in files:
            texts.setdefault(file.read_text(errors="replace").strip(), []).append(name)
        if not files:
            without.append(f"{name}, by {', '.join(package['authors']) or package['repository']}")
    print("libc4c holds these works. Each text is followed by none but its own.\n")
    for text, names in texts.items():
        print("=" * 80, *dict.fromkeys(names), "-" * 80, text, "", sep="\n")
    if without:
        print("=" * 80, "Without a text of their own:", *without, sep="\n")


if __name__ == "__main__":
    sys.exit(main())
