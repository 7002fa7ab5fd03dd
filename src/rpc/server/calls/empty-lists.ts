/**
 * Lists of objects that a host without an upstream libvirtd has none of: networks, storage pools, interfaces, node
 * devices, secrets, network filters. Management software lists them before it shows a domain.
 */

import { int, list, name, nothing, optional, struct, uint } from '../../wire/codec.ts';
import { ALLOWED } from '../../wire/read-only/allowed.ts';
import { type Answer, type Answers, answer, checkArraySize } from '../answers.ts';

const NUMBERS = [
  ALLOWED.CONNECT_NUM_OF_NETWORKS,
  ALLOWED.CONNECT_NUM_OF_DEFINED_NETWORKS,
  ALLOWED.CONNECT_NUM_OF_STORAGE_POOLS,
  ALLOWED.CONNECT_NUM_OF_DEFINED_STORAGE_POOLS,
  ALLOWED.CONNECT_NUM_OF_INTERFACES,
  ALLOWED.CONNECT_NUM_OF_DEFINED_INTERFACES,
  ALLOWED.CONNECT_NUM_OF_SECRETS,
  ALLOWED.CONNECT_NUM_OF_NWFILTERS,
];

/** Each with the constant of the protocol that limits the caller's array. */
const NAMES = [
  [ALLOWED.CONNECT_LIST_NETWORKS, 'REMOTE_NETWORK_LIST_MAX'],
  [ALLOWED.CONNECT_LIST_DEFINED_NETWORKS, 'REMOTE_NETWORK_LIST_MAX'],
  [ALLOWED.CONNECT_LIST_STORAGE_POOLS, 'REMOTE_STORAGE_POOL_LIST_MAX'],
  [ALLOWED.CONNECT_LIST_DEFINED_STORAGE_POOLS, 'REMOTE_STORAGE_POOL_LIST_MAX'],
  [ALLOWED.CONNECT_LIST_INTERFACES, 'REMOTE_INTERFACE_LIST_MAX'],
  [ALLOWED.CONNECT_LIST_DEFINED_INTERFACES, 'REMOTE_INTERFACE_LIST_MAX'],
  [ALLOWED.CONNECT_LIST_SECRETS, 'REMOTE_SECRET_LIST_MAX'],
  [ALLOWED.CONNECT_LIST_NWFILTERS, 'REMOTE_NWFILTER_LIST_MAX'],
] as const;

const OBJECTS = [
  ALLOWED.CONNECT_LIST_ALL_NETWORKS,
  ALLOWED.CONNECT_LIST_ALL_STORAGE_POOLS,
  ALLOWED.CONNECT_LIST_ALL_INTERFACES,
  ALLOWED.CONNECT_LIST_ALL_NODE_DEVICES,
  ALLOWED.CONNECT_LIST_ALL_SECRETS,
  ALLOWED.CONNECT_LIST_ALL_NWFILTERS,
  ALLOWED.CONNECT_LIST_ALL_NWFILTER_BINDINGS,
];

const numberOf = (number: number) => ({ number, args: nothing, result: struct({ value: int }) });
const names = struct({ names: list(name) });
const namesOf = (number: number) => ({ number, args: struct({ maxnames: int }), result: names });
const objectsOf = (number: number) => ({
  number,
  args: struct({ needResults: int, flags: uint }),
  result: struct({ objects: list(nothing), count: uint }),
});
const NUM_OF_DEVICES = {
  number: ALLOWED.NODE_NUM_OF_DEVICES,
  args: struct({ cap: optional(name), flags: uint }),
  result: struct({ value: int }),
};
const LIST_DEVICES = {
  number: ALLOWED.NODE_LIST_DEVICES,
  args: struct({ cap: optional(name), maxnames: int, flags: uint }),
  result: names,
};

/** Filters of a list have no effect: nothing is left out of it. */
export const emptyLists: Answers = new Map<number, Answer>([
  ...NUMBERS.map((number) => answer(numberOf(number), () => ({ value: 0 }))),
  ...NAMES.map(([number, limit]) =>
    answer(namesOf(number), ({ maxnames }) => {
      checkArraySize('maxnames', maxnames, limit);
      return { names: [] };
    }),
  ),
  ...OBJECTS.map((number) => answer(objectsOf(number), () => ({ objects: [], count: 0 }))),
  answer(NUM_OF_DEVICES, () => ({ value: 0 })),
  answer(LIST_DEVICES, ({ maxnames }) => {
    checkArraySize('maxnames', maxnames, 'REMOTE_NODE_DEVICE_LIST_MAX');
    return { names: [] };
  }),
]);
