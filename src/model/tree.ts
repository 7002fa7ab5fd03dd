/**
 * A domain's snapshots as a tree under an invisible root, as libvirt's virDomainMomentObjList. Links follow parent
 * names; a snapshot whose parent is not there hangs off the root and keeps the name.
 */

interface Named {
  readonly name: string;
  readonly parent?: string;
}

/** The invisible root's key among the parents. */
const ROOT = Symbol('root');

export class SnapshotTree<T extends Named> {
  readonly #nodes = new Map<string, T>();
  /** Children in the order they were linked. */
  readonly #children = new Map<string | typeof ROOT, Set<string>>();
  /** Whom a node hangs off: its parent, or the root when that is missing or would close a cycle. */
  readonly #linked = new Map<string, string | typeof ROOT>();

  /**
   * Builds a tree from stored entries in any order. `consistent` tells whether every parent was found and no parents
   * formed a cycle; the offenders hang off the root.
   */
  static of<T extends Named>(entries: Iterable<T>): { readonly tree: SnapshotTree<T>; readonly consistent: boolean } {
    const tree = new SnapshotTree<T>();
    for (const entry of entries) tree.#nodes.set(entry.name, entry);
    let consistent = true;
    for (const entry of tree.#nodes.values()) {
      const fits = entry.parent === undefined || (tree.has(entry.parent) && !tree.#reaches(entry.parent, entry.name));
      consistent &&= fits;
      tree.#link(entry.name, fits ? entry.parent : undefined);
    }
    return { tree, consistent };
  }

  get size(): number {
    return this.#nodes.size;
  }

  has(name: string): boolean {
    return this.#nodes.has(name);
  }

  get(name: string): T | undefined {
    return this.#nodes.get(name);
  }

  all(): readonly T[] {
    return [...this.#nodes.values()];
  }

  /** Adds a node, or replaces the one of that name: its children stay, its own link follows the new parent. */
  put(node: T): void {
    this.#unlink(node.name);
    this.#nodes.set(node.name, node);
    this.#link(node.name, node.parent);
  }

  /** Removes a node that has no children. */
  remove(name: string): void {
    this.#unlink(name);
    this.#nodes.delete(name);
    this.#children.delete(name);
  }

  /** The parent object; undefined for a root, also where the named parent is missing. */
  parentOf(name: string): T | undefined {
    const linked = this.#linked.get(name);
    return typeof linked === 'string' ? this.#nodes.get(linked) : undefined;
  }

  roots(): readonly T[] {
    return this.#childrenOf(ROOT);
  }

  /** Direct children, newest linked first (libvirt's order). */
  children(name: string): readonly T[] {
    return this.#childrenOf(name);
  }

  hasChildren(name: string): boolean {
    return (this.#children.get(name)?.size ?? 0) > 0;
  }

  /** Everything beneath a node, or beneath the root: parents before children. */
  descendants(name?: string): readonly T[] {
    const found: T[] = [...this.#childrenOf(name ?? ROOT)];
    for (const node of found) found.push(...this.#childrenOf(node.name));
    return found;
  }

  /** True when walking up from `name` meets `ancestor` as a parent name: `name` itself is not looked at. */
  #reaches(name: string, ancestor: string): boolean {
    const seen = new Set<string>();
    for (let here = this.#nodes.get(name); here; here = here.parent ? this.#nodes.get(here.parent) : undefined) {
      if (here.name === ancestor || here.parent === ancestor) return true;
      if (seen.has(here.name)) return false;
      seen.add(here.name);
    }
    return false;
  }

  #childrenOf(key: string | typeof ROOT): T[] {
    return [...(this.#children.get(key) ?? [])].reverse().flatMap((name) => this.#nodes.get(name) ?? []);
  }

  #link(name: string, parent: string | undefined): void {
    const key = parent !== undefined && this.has(parent) ? parent : ROOT;
    const siblings = this.#children.get(key);
    if (siblings) siblings.add(name);
    else this.#children.set(key, new Set([name]));
    this.#linked.set(name, key);
  }

  #unlink(name: string): void {
    const key = this.#linked.get(name);
    if (key !== undefined) this.#children.get(key)?.delete(name);
    this.#linked.delete(name);
  }
}
