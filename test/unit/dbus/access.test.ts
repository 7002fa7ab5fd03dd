import { expect, test } from '@jest/globals';
import { mayConnect } from '../../../src/dbus/access.ts';

const socket = { uid: 0, gid: 120, mode: 0o660 };

/** What the kernel says of connect(2) to a socket of this owner, group and mode. */
test.each([
  ['root', socket, { uid: 0, gids: [] }, true],
  ['root, whatever the mode', { ...socket, mode: 0 }, { uid: 0, gids: [] }, true],
  ['a member of the group', socket, { uid: 1000, gids: [1000, 120] }, true],
  ['a stranger', socket, { uid: 1000, gids: [1000] }, false],
  ['a stranger, where everybody may write', { ...socket, mode: 0o666 }, { uid: 1000, gids: [] }, true],
  ['one who may read only', { ...socket, mode: 0o664 }, { uid: 1000, gids: [] }, false],
  ['a member, where the group is shut out', { ...socket, mode: 0o606 }, { uid: 1000, gids: [120] }, false],
  ['the owner', { ...socket, uid: 7 }, { uid: 7, gids: [] }, true],
  ['the owner, who is shut out though others are not', { uid: 7, gid: 7, mode: 0o066 }, { uid: 7, gids: [7] }, false],
  ['somebody the bus does not know', socket, { uid: undefined, gids: [] }, false],
])('%s', (_who, access, caller, allowed) => {
  expect(mayConnect(access, caller)).toBe(allowed);
});
