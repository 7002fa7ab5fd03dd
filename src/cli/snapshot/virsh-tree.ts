/** virsh's trees (vshTreePrint): every root with its branches, siblings in the given order. */

/** A snapshot in a tree. */
export interface Branch {
  readonly name: string;
  /** Undefined for a root. */
  readonly parent?: string | undefined;
}

/** Returns the trees as `virsh snapshot-list --tree` prints them. */
export function formatBranches(entries: readonly Branch[]): string {
  const children = new Map<string | undefined, string[]>();
  for (const { name, parent } of entries) {
    const siblings = children.get(parent);
    if (siblings) siblings.push(name);
    else children.set(parent, [name]);
  }
  return (children.get(undefined) ?? []).map((root) => branch(children, root, '', true)).join('');
}

/** `indent` precedes the lines of descendants. A last sibling without children ends in an empty line. */
function branch(
  children: ReadonlyMap<string | undefined, readonly string[]>,
  name: string,
  indent: string,
  isLast: boolean,
): string {
  const below = children.get(name) ?? [];
  if (below.length === 0) return `${name}\n${isLast ? `${indent}\n` : ''}`;
  const deeper = `${indent}  `;
  const branches = below.map((child, at) => {
    const last = at === below.length - 1;
    return `${deeper}+- ${branch(children, child, `${deeper}${last ? ' ' : '|'} `, last)}`;
  });
  return `${name}\n${deeper}|\n${branches.join('')}`;
}
