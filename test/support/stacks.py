"""What management stacks call around a snapshot, by python3-libvirt: Nova's live snapshot and its block jobs. Prints JSON."""

import json
import sys
import threading
import time

import libvirt

DISK = "xvda"
OVERLAY = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
)

seen = {}
events = []


def loop():
    while True:
        libvirt.virEventRunDefaultImpl()


def overlay(name):
    domain.snapshotCreateXML(f"<domainsnapshot><name>{name}</name></domainsnapshot>", OVERLAY)


def wait_for_copy():
    for _ in range(200):
        info = domain.blockJobInfo(DISK, 0)
        if not info or info["cur"] == info["end"]:
            return info
        time.sleep(0.1)
    raise TimeoutError("the block job does not end")


def wait_for_event(status):
    for _ in range(200):
        if any(event[2] == status for event in events):
            return
        time.sleep(0.05)


libvirt.registerErrorHandler(lambda _context, _error: None, None)
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=loop, daemon=True).start()
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName(sys.argv[2])
for event_id in (libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB, libvirt.VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2):
    connection.domainEventRegisterAny(
        domain, event_id, lambda _c, _d, what, kind, status, _o: events.append([what, kind, status]), None
    )

seen["no job"] = domain.blockJobInfo(DISK, 0)
overlay("n1")
domain.blockCommit(DISK, None, None, 0, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE | libvirt.VIR_DOMAIN_BLOCK_COMMIT_SHALLOW)
seen["job"] = wait_for_copy()["type"] == libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT
wait_for_event(libvirt.VIR_DOMAIN_BLOCK_JOB_READY)
domain.blockJobAbort(DISK, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
wait_for_event(libvirt.VIR_DOMAIN_BLOCK_JOB_COMPLETED)

overlay("n2")
domain.blockRebase(DISK, None, 0, 0)
wait_for_copy()
while domain.blockJobInfo(DISK, 0):
    time.sleep(0.1)
seen["capacity"] = domain.blockInfo(DISK)[0]
try:
    domain.blockCommit(DISK, None, None, 0, libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE)
except libvirt.libvirtError as error:
    seen["alone"] = error.get_error_code()
commits = [event for event in events if event[1] == libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT]
seen["pivoted"] = [event[1:] for event in commits if event[0] == DISK]
seen["paths"] = [event[0].rsplit("/", 1)[1] for event in commits if event[0] != DISK]
print(json.dumps(seen))
