import { describe, expect, test } from '@jest/globals';
import { SnapshotTree } from '../../../src/model/tree.ts';

const node = (name: string, parent?: string) => ({ name, ...(parent !== undefined && { parent }) });
const names = (nodes: readonly { readonly name: string }[]) => nodes.map(({ name }) => name);

/** a ─ b ─ c, b ─ d; e alone. */
const sample = () => SnapshotTree.of([node('a'), node('b', 'a'), node('c', 'b'), node('d', 'b'), node('e')]).tree;

describe('relations', () => {
  test('children come newest linked first, descendants parents first', () => {
    const tree = sample();
    expect(names(tree.children('b'))).toEqual(['d', 'c']);
    expect(names(tree.descendants('a'))).toEqual(['b', 'd', 'c']);
    expect(names(tree.roots())).toEqual(['e', 'a']);
    expect(names(tree.descendants())).toEqual(['e', 'a', 'b', 'd', 'c']);
  });

  test('a leaf has no children, a branch has', () => {
    const tree = sample();
    expect(tree.hasChildren('c')).toBe(false);
    expect(tree.hasChildren('b')).toBe(true);
  });

  test('the parent of a root is no object', () => {
    expect(sample().parentOf('a')).toBeUndefined();
    expect(sample().parentOf('c')?.name).toBe('b');
  });
});

describe('loading', () => {
  test('the order of entries does not matter', () => {
    const { tree, consistent } = SnapshotTree.of([node('c', 'b'), node('b', 'a'), node('a')]);
    expect(consistent).toBe(true);
    expect(names(tree.descendants('a'))).toEqual(['b', 'c']);
  });

  test('a missing parent makes a root that keeps the name', () => {
    const { tree, consistent } = SnapshotTree.of([node('a'), node('b', 'gone')]);
    expect(consistent).toBe(false);
    expect(names(tree.roots())).toEqual(['b', 'a']);
    expect(tree.get('b')?.parent).toBe('gone');
  });

  test('the member of a cycle that would close it hangs off the root', () => {
    const { tree, consistent } = SnapshotTree.of([node('a', 'c'), node('b', 'a'), node('c', 'b'), node('d', 'a')]);
    expect(consistent).toBe(false);
    expect(names(tree.descendants()).sort()).toEqual(['a', 'b', 'c', 'd']);
    expect(names(tree.roots())).toEqual(['c']);
    expect(tree.get('c')?.parent).toBe('b');
    expect(tree.parentOf('d')?.name).toBe('a');
  });

  test('a snapshot that names itself as parent hangs off the root', () => {
    const { tree, consistent } = SnapshotTree.of([node('a', 'a')]);
    expect(consistent).toBe(false);
    expect(names(tree.roots())).toEqual(['a']);
  });
});

describe('changes', () => {
  test('replacing a node keeps its children and follows its new parent', () => {
    const tree = sample();
    tree.put(node('b', 'e'));
    expect(names(tree.children('b'))).toEqual(['d', 'c']);
    expect(names(tree.children('e'))).toEqual(['b']);
    expect(names(tree.children('a'))).toEqual([]);
    expect(tree.size).toBe(5);
  });

  test('a removed leaf is gone from its parent', () => {
    const tree = sample();
    tree.remove('c');
    expect(tree.has('c')).toBe(false);
    expect(names(tree.children('b'))).toEqual(['d']);
  });

  test('ten thousand snapshots in one chain are walked without recursion', () => {
    const entries = Array.from({ length: 10_000 }, (_, i) => node(`s${i}`, i === 0 ? undefined : `s${i - 1}`));
    const { tree, consistent } = SnapshotTree.of(entries);
    expect(consistent).toBe(true);
    expect(tree.descendants('s0')).toHaveLength(9_999);
  });
});
