import { command, DOMAIN, JSON_OPTION } from './command.ts';

export const SNAPSHOT_LIST = command({
  name: 'snapshot-list',
  help: 'List snapshots for a domain',
  description: 'Snapshot List',
  options: [DOMAIN, { name: 'name', type: 'bool', help: 'list snapshot names only' }, JSON_OPTION],
  async run({ domain: given, json }, session) {
    const { snapshots } = await session.client();
    const list = await snapshots.listAll(await session.domain(given), 0);
    const names = list.map(({ name }) => name);
    if (json) session.json(names);
    else session.print(names.map((name) => `${name}\n`).join(''));
  },
});
