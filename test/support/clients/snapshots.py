"""The names of a domain's snapshots by python3-libvirt: snapshots.py URI DOMAIN."""

import sys

import libvirt

for snapshot in libvirt.open(sys.argv[1]).lookupByName(sys.argv[2]).listAllSnapshots():
    print(snapshot.getName())
