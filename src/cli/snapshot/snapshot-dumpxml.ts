/** `snapshot-dumpxml` and `snapshot-current`. */

import { CREATE, XML } from '../../model/flags.ts';
import { selectXml } from '../../xml/engine/xpath.ts';
import { command, DOMAIN, exclusive, JSON_OPTION } from '../command-line/command.ts';
import { failure } from '../failure.ts';
import { writeCfg } from '../snapshot-cfg/write.ts';
import { readDocument } from './snapshot-document.ts';

const SECURITY_INFO = {
  name: 'security-info',
  type: 'bool',
  help: 'include security sensitive information in XML dump',
} as const;

/** `xlsnap snapshot-dumpxml`, as in virsh. */
export const SNAPSHOT_DUMPXML = command({
  description: 'Snapshot Dump XML',
  options: [
    DOMAIN,
    { name: 'snapshotname', type: 'data', help: 'snapshot name', completes: 'snapshot' },
    SECURITY_INFO,
    { name: 'xpath', type: 'string', help: 'xpath expression to filter the XML document', named: true },
    { name: 'wrap', type: 'bool', help: 'wrap xpath results in an common root element' },
    { name: 'cfg', type: 'bool', help: 'print xl.snapshot.cfg(5) instead' },
    JSON_OPTION,
  ],
  async run(values, session) {
    for (const other of ['xpath', 'wrap', 'json'] as const) exclusive(values, 'cfg', other);
    const { domain: given, snapshotname, 'security-info': secure, xpath, wrap, cfg, json } = values;
    const domain = await session.domain(given);
    const { snapshots } = await session.client();
    const snapshot = await snapshots.lookupByName(domain, snapshotname, 0);
    const xml = await snapshots.getXMLDesc(snapshot, secure ? XML.SECURE : 0);
    if (cfg) return session.print(writeCfg(xml));
    if (xpath === undefined) {
      if (json) session.json(readDocument(xml));
      else session.print(xml);
      return;
    }
    const found = selectXml(xml, 'domain_snapshot', xpath, { wrap });
    if (json) session.json(found);
    else session.print(found.map((node) => `${node}\n`).join(''));
  },
});

/** `xlsnap snapshot-current`, as in virsh. */
export const SNAPSHOT_CURRENT = command({
  description: 'Get or set the current snapshot',
  options: [
    DOMAIN,
    { name: 'name', type: 'bool', help: 'list the name, rather than the full xml' },
    SECURITY_INFO,
    { name: 'snapshotname', type: 'string', help: 'name of existing snapshot to make current', completes: 'snapshot' },
    JSON_OPTION,
  ],
  async run(values, session) {
    exclusive(values, 'name', 'snapshotname');
    const domain = await session.domain(values.domain);
    const { snapshots } = await session.client();
    if (values.snapshotname !== undefined) {
      const chosen = await snapshots.lookupByName(domain, values.snapshotname, 0);
      const xml = await snapshots.getXMLDesc(chosen, XML.SECURE);
      await snapshots.createXML(domain, xml, CREATE.REDEFINE | CREATE.CURRENT);
      session.done(values.json, chosen, `Snapshot ${chosen.name} set as current`);
      return;
    }
    if (!(await snapshots.hasCurrent(domain, 0))) throw failure(`domain '${domain.name}' has no current snapshot`);
    const current = await snapshots.current(domain, 0);
    if (values.name) {
      if (values.json) session.json({ name: current.name });
      else session.print(current.name);
      return;
    }
    const xml = await snapshots.getXMLDesc(current, values['security-info'] ? XML.SECURE : 0);
    if (values.json) session.json(readDocument(xml));
    else session.print(xml);
  },
});
