/**
 * A domain's snapshots as a tree under an invisible root, as libvirt's virDomainMomentObjList. Links follow parent
 * names; a snapshot whose parent is missing becomes a child of the root and keeps the parent's name.
 */

interface Named {
  readonly name: string;
  readonly parent?: string;
}

/** The invisible root's key among the parents. */
const ROOT = Symbol('root');

/** The tree of one domain's snapshots, by name. */
export class SnapshotTree<T extends Named> {
  readonly #nodes = new Map<string, T>();
  /** Children in the order they were linked. */
  readonly #children = new Map<string | typeof ROOT, Set<string>>();
  /** The node that each is a child of: its parent, or the root if that is missing or would close a cycle. */
  readonly #linked = new Map<string, string | typeof ROOT>();

  /**
   * Builds a tree from stored entries in any order. `consistent`: every parent was found and no parents form a cycle;
   * entries that break this become children of the root.
   */
  static of<T extends Named>(entries: Iterable<T>): { readonly tree: SnapshotTree<T>; readonly consistent: boolean } {
    const tree = new SnapshotTree<T>();
    for (const entry of entries) tree.#nodes.set(entry.name, entry);
    const closing = tree.#cycleClosers();
    let consistent = true;
    for (const { name, parent } of tree.#nodes.values()) {
      const fits = parent === undefined || (tree.has(parent) && !closing.has(name));
      consistent &&= fits;
      tree.#link(name, fits ? parent : undefined);
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

  /** Returns the parent; undefined for a root, also if the named parent is missing. */
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

  countChildren(name: string): number {
    return this.#children.get(name)?.size ?? 0;
  }

  hasChildren(name: string): boolean {
    return this.countChildren(name) > 0;
  }

  /** Returns all descendants of a node, or of the root: parents before children. */
  descendants(name?: string): readonly T[] {
    const found: T[] = [...this.#childrenOf(name ?? ROOT)];
    for (const node of found) found.push(...this.#childrenOf(node.name));
    return found;
  }

  /**
   * Returns the last member of each cycle of parent names: libvirt links in order and refuses the link that closes a
   * cycle.
   */
  #cycleClosers(): ReadonlySet<string> {
    const order = new Map([...this.#nodes.keys()].map((name, index) => [name, index]));
    const walked = new Set<string>();
    const closers = new Set<string>();
    for (const start of this.#nodes.values()) {
      const path: string[] = [];
      const onPath = new Set<string>();
      let here: T | undefined = start;
      while (here && !walked.has(here.name)) {
        walked.add(here.name);
        onPath.add(here.name);
        path.push(here.name);
        here = here.parent === undefined ? undefined : this.#nodes.get(here.parent);
      }
      if (!here || !onPath.has(here.name)) continue;
      const ring = path.slice(path.indexOf(here.name));
      closers.add(ring.reduce((last, name) => ((order.get(name) ?? 0) > (order.get(last) ?? 0) ? name : last)));
    }
    return closers;
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
