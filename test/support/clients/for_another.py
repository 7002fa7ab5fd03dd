"""A client that calls for another process, as virtproxyd does: for_another.py URI UID [PID]. Prints what it is answered."""

import sys

import libvirt


def start_time(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[19])


def answer(call):
    try:
        return call()
    except libvirt.libvirtError as error:
        return error.get_error_message()


libvirt.registerErrorHandler(lambda _context, _error: None, None)
uri, uid, *pid = sys.argv[1:]
connection = libvirt.open(uri)
identity = {"unix-user-id": int(uid)}
for number in pid:
    identity |= {"process-id": int(number), "process-time": start_time(number)}
said = answer(lambda: connection.setIdentity(identity))
print("identity:", said)
domains = answer(connection.listAllDomains)
print("domains:", domains if isinstance(domains, str) else " ".join(domain.name() for domain in domains))
for domain in [] if isinstance(domains, str) else domains:
    print("start:", answer(lambda: domain.create() and None))
    xml = "<domainsnapshot><name>for-another</name></domainsnapshot>"
    print("snapshot:", answer(lambda: domain.snapshotCreateXML(xml) and "made"))
    print("list:", answer(lambda: len(domain.listAllSnapshots())))
