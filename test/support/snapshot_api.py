"""python3-libvirt's whole snapshot API against one daemon, events included. Prints what it saw as JSON."""

import json
import sys
import threading
import time

import libvirt

seen = {}
events = []


def loop():
    while True:
        libvirt.virEventRunDefaultImpl()


def error_of(call):
    try:
        call()
    except libvirt.libvirtError as error:
        return [error.get_error_code(), error.get_error_domain(), error.get_str2()]
    return None


libvirt.registerErrorHandler(lambda _context, _error: None, None)
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=loop, daemon=True).start()
connection = libvirt.open(sys.argv[1])
domain = connection.lookupByName(sys.argv[2])
callback = connection.domainEventRegisterAny(
    None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda _c, d, event, detail, _o: events.append([d.name(), event, detail]), None
)

first = domain.snapshotCreateXML("<domainsnapshot><name>first ü</name><description>d</description></domainsnapshot>", 0)
second = domain.snapshotCreateXML("<domainsnapshot><name>second</name></domainsnapshot>", libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC)
seen["names"] = sorted(domain.snapshotListNames())
seen["roots"] = domain.snapshotListNames(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_ROOTS)
seen["all"] = sorted(snapshot.getName() for snapshot in domain.listAllSnapshots())
seen["num"] = domain.snapshotNum()
seen["leaves"] = domain.snapshotNum(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_LEAVES)
seen["hasCurrent"] = domain.hasCurrentSnapshot()
seen["current"] = domain.snapshotCurrent().getName()
seen["lookup"] = domain.snapshotLookupByName("first ü").getName()
seen["xml"] = "<description>d</description>" in first.getXMLDesc()
seen["parent"] = second.getParent().getName()
seen["children"] = [first.numChildren(), first.listChildrenNames(), [child.getName() for child in first.listAllChildren()]]
seen["isCurrent"] = [first.isCurrent(), second.isCurrent()]
seen["hasMetadata"] = first.hasMetadata()
seen["domain"] = [first.getDomain().name(), first.getConnect().getURI() == connection.getURI()]
seen["job"] = [domain.jobInfo()[0], domain.jobStats()["type"]]
seen["withSnapshots"] = [d.name() for d in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_HAS_SNAPSHOT)]
before = len(events)
seen["revert"] = domain.revertToSnapshot(first)
deadline = time.time() + 5
while len(events) < before + 4 and time.time() < deadline:
    time.sleep(0.02)
seen["events"] = events[before:]
seen["state"] = domain.state()
seen["currentAfter"] = domain.snapshotCurrent().getName()
seen["missing"] = error_of(lambda: domain.snapshotLookupByName("none"))
seen["twice"] = error_of(lambda: domain.snapshotCreateXML("<domainsnapshot><name>second</name></domainsnapshot>"))
seen["malformed"] = (error_of(lambda: domain.snapshotCreateXML("<domainsnapshot>")) or [None])[:2]
seen["noParent"] = error_of(first.getParent)
seen["exclusive"] = (error_of(lambda: first.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN | libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN_ONLY)) or [None])[0]
read_only = libvirt.openReadOnly(sys.argv[1])
seen["readOnly"] = [
    read_only.lookupByName(sys.argv[2]).snapshotNum(),
    (error_of(lambda: read_only.lookupByName(sys.argv[2]).snapshotCreateXML("<domainsnapshot/>")) or [None])[0],
]
first.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_CHILDREN)
seen["left"] = domain.snapshotListNames()
connection.domainEventDeregisterAny(callback)
seen["isAlive"] = connection.isAlive()
print(json.dumps(seen))
