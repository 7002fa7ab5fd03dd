#!/usr/bin/python3 -IS
"""LVM's and ZFS's programs, by the name it is called by: a state beside it, and the answers of the real ones."""

import json
import os
import sys

FILE = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "state.json")
# Options of LVM's programs that have a value.
VALUED = {"-n", "-l", "-o", "--addtag", "--deltag", "--reportformat"}


def die(text):
    sys.stderr.write(f"  {text}\n")
    sys.exit(5)


def option(args, name):
    return args[args.index(name) + 1] if name in args else None


def options(args, name):
    return [args[i + 1] for i, arg in enumerate(args) if arg == name]


def named(args):
    return [arg for i, arg in enumerate(args) if not arg.startswith("-") and (i == 0 or args[i - 1] not in VALUED)]


def need(name):
    return volumes[name] if name in volumes else die(f'Failed to find logical volume "{name}"')


def put(name, volume):
    if name in volumes:
        die(f'Logical Volume "{name}" already exists')
    volumes[name] = volume


def lvs(args):
    vg = named(args)[-1]
    found = [(name.split("/")[1], volume) for name, volume in volumes.items() if name.startswith(vg + "/")]
    if not found:
        die(f'Volume group "{vg}" not found')
    report = [
        {
            "lv_name": name,
            "pool_lv": volume.get("pool", ""),
            "lv_tags": ",".join(volume.get("tags", [])),
            "lv_device_open": "-1" if volume.get("inactive") else "1" if volume.get("open") else "0",
            "lv_snapshot_invalid": "1" if volume.get("invalid") else "-1",
            "lv_merging": "1" if volume.get("merging") else "0",
            "lv_kernel_major": "-1",
            "lv_kernel_minor": "-1",
        }
        for name, volume in found
        if not any(other.get("merging") == f"{vg}/{name}" for other in volumes.values())
    ]
    print(json.dumps({"report": [{"lv": report}]}))


def lvcreate(args):
    origin = named(args)[-1]
    vg, lv = origin.split("/")
    made = {key: value for key, value in need(origin).items() if key in ("contents", "pool")}
    if ("pool" in made) == ("-l" in args):
        die("Please specify either size or extents with snapshots.")
    put(f"{vg}/{option(args, '-n')}", {**made, "origin": lv, "tags": options(args, "--addtag")})


def lvrename(args):
    vg, old, new = named(args)
    put(f"{vg}/{new}", need(f"{vg}/{old}"))
    del volumes[f"{vg}/{old}"]
    for name, volume in volumes.items():
        if name.startswith(f"{vg}/") and volume.get("origin") == old:
            volume["origin"] = new


def lvremove(args):
    need(named(args)[-1])
    del volumes[named(args)[-1]]


def lvconvert(args):
    name = named(args)[-1]
    origin = need(f"{name.split('/')[0]}/{need(name)['origin']}")
    origin["merging"] = name
    merge(origin)


def merge(origin):
    """Not while it is open."""
    if "merging" in origin and not origin.get("open"):
        origin["contents"] = volumes.pop(origin.pop("merging"))["contents"]


def lvchange(args):
    volume = need(named(args)[-1])
    tags = [tag for tag in volume.get("tags", []) if tag not in options(args, "--deltag")]
    volume["tags"] = tags + options(args, "--addtag")
    if "--refresh" in args:
        merge(volume)


def zfs(args):
    command, rest = args[0], args[1:]
    last = rest[-1]
    if command == "list":
        if last not in volumes:
            die(f"cannot open '{last}': dataset does not exist")
        print("".join(f"{name}\n" for name in volumes if name.startswith(last + "@")), end="")
    elif command == "snapshot":
        for name in rest:
            put(name, {"contents": need(name.split("@")[0])["contents"]})
    elif command == "rollback":
        need(last.split("@")[0])["contents"] = need(last)["contents"]
    elif command == "destroy":
        need(last)
        del volumes[last]


def main():
    global volumes
    program, args = os.path.basename(sys.argv[0]), sys.argv[1:]
    with open(FILE) as file:
        state = json.load(file)
    volumes = state["volumes"]
    fails = False
    if program != "lvs" and args[0] != "list":
        state["log"].append(" ".join([program, *args]))
        word = f"zfs {args[0]}" if program == "zfs" else program
        nth = sum(f"{line} ".startswith(f"{word} ") for line in state["log"])
        fails = f"{word} {nth}" in state["fail"]
    if not fails:
        PROGRAMS[program](args)
    if program != "lvs":
        with open(FILE, "w") as file:
            json.dump(state, file)
    if fails:
        die(f"{word}: made to fail")


volumes = {}
PROGRAMS = {each.__name__: each for each in (lvs, lvcreate, lvrename, lvremove, lvconvert, lvchange, zfs)}
main()
