#!/usr/bin/env python3
"""Writes what the release program is made of, as CycloneDX 1.5 (JSON): every crate that its build takes, with version, licence, checksum
and who needs it. The same sources give the same bytes.

    tests/tools/sbom.py [--out FILE]      to the standard output without a file
    tests/tools/sbom.py --self-test
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

REPO = pathlib.Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"


def metadata():
    """What cargo says of the crates for this target."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    return json.loads(subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.PIPE).stdout)


def reached(root, nodes):
    """Ids of what `root` needs: at run time (macros included, which write its code), and only to build it. No tests."""
    def closure(starts, kinds):
        found, todo = set(), list(starts)
        while todo:
            one = todo.pop()
            if one in found:
                continue
            found.add(one)
            for dependency in nodes[one]["deps"]:
                if any(kind["kind"] in kinds for kind in dependency["dep_kinds"]):
                    todo.append(dependency["pkg"])
        return found

    required = closure([root], {None})
    return required, closure([root], {None, "build"}) - required


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums, scope):
    one = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
        "scope": scope,
    }
    if package.get("description"):
        one["description"] = " ".join(package["description"].split())
    if package.get("license"):
        # Some still write A/B.
        one["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        one["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package.get("repository"):
        one["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return one


def bill(data, lock):
    """The document, from what cargo says and the lock file."""
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    checksums = {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}
    root = data["resolve"]["root"]
    required, building = reached(root, nodes)
    known = required | building
    by_purl = sorted(known - {root}, key=lambda one: purl(packages[one]))
    components = [
        component(packages[one], checksums, "required" if one in required else "excluded") for one in by_purl
    ]
    needs = [
        {
            "ref": purl(packages[one]),
            "dependsOn": sorted(
                {
                    purl(packages[dependency["pkg"]])
                    for dependency in nodes[one]["deps"]
                    if any(kind["kind"] in (None, "build") for kind in dependency["dep_kinds"])
                }
            ),
        }
        for one in [root, *by_purl]
    ]
    program = component(packages[root], checksums, "required")
    program["type"] = "application"
    del program["scope"]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": program, "properties": [{"name": "redhold:target", "value": TARGET}]},
        "components": components,
        "dependencies": needs,
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).digest()
    document["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}"
    return document


def faults(document, lock):
    """What is missing in a document."""
    found = []
    refs = {one["bom-ref"] for one in document["components"]} | {document["metadata"]["component"]["bom-ref"]}
    locked = {(one["name"], one["version"]) for one in lock["package"]}
    if len(refs) != len(document["components"]) + 1:
        found.append("a component stands there twice")
    for one in document["components"]:
        if (one["name"], one["version"]) not in locked:
            found.append(f"{one['bom-ref']} is not in Cargo.lock")
        found += [f"{one['bom-ref']} has no {key}" for key in ("licenses", "hashes") if key not in one]
    for need in document["dependencies"]:
        found += [f"{need['ref']} needs {ref}, which is missing" for ref in need["dependsOn"] if ref not in refs]
    if {need["ref"] for need in document["dependencies"]} != refs:
        found.append("not every component says what it needs")
    return found


def self_test(data, lock):
    document = bill(data, lock)
    found = faults(document, lock)
    if document != bill(json.loads(json.dumps(data)), lock):
        found.append("twice the same is not the same")
    scopes = {one["name"]: one["scope"] for one in document["components"]}
    manifest = tomllib.loads((REPO / "Cargo.toml").read_text())
    found += [f"{name} is missing" for name in manifest["dependencies"] if scopes.get(name) != "required"]
    found += [f"{name} is of tests alone" for name in ("proptest", "stateright") if name in scopes]
    if scopes.get("cc") != "excluded":
        found.append("cc only builds")
    # It notices what is missing.
    del document["components"][3]["hashes"]
    lost = document["components"].pop(0)["bom-ref"]
    told = "\n".join(faults(document, lock))
    if "has no hashes" not in told or lost not in told:
        found.append(f"planted faults are not found: {told}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    asked = parser.parse_args()
    data, lock = metadata(), tomllib.loads((REPO / "Cargo.lock").read_text())
    if asked.self_test:
        found = self_test(data, lock)
        print("\n".join(found) or "sbom: the list is whole")
        sys.exit(1 if found else 0)
    document = bill(data, lock)
    found = faults(document, lock)
    if found:
        sys.exit("\n".join(found))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text)
        print(f"{asked.out}: {len(document['components'])} components")
    else:
        sys.stdout.write(text)


main()
