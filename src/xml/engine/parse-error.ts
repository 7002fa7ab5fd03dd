/**
 * Messages for a malformed document: those of the libxml2 that libvirt 9 is built with, and libvirt's mark under the
 * line.
 */

import { decodeUtf8 } from '../../model/utf8.ts';

/** The place of a fault that libxml2 found. `col` counts characters from 1. */
export interface Fault {
  readonly message: string;
  readonly line: number;
  readonly col: number;
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
/** True for a UTF-8 continuation byte. */
const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80;
const isLineEnd = (byte: number | undefined): boolean => byte === LF || byte === CR;

/** libxml2's message for bytes that are not UTF-8, and how the libxml2 of libvirt 9 says it. */
const NOT_UTF8 = 'Invalid bytes in character encoding\n';
const LIBVIRTS_NOT_UTF8 = 'Input is not proper UTF-8, indicate encoding !';

/** Returns libxml2's message without its line end. Newer versions word two of them differently; this restores libvirt's. */
export function describeProblem(fault: Fault, bytes: Buffer): string {
  const { message } = fault;
  if (message === NOT_UTF8) {
    const at = offsetOf(fault, bytes);
    const shown = Array.from(
      bytes.subarray(at, at + 4),
      (byte) => `0x${byte.toString(16).toUpperCase().padStart(2, '0')}`,
    );
    return shown.length < 4 ? LIBVIRTS_NOT_UTF8 : `${LIBVIRTS_NOT_UTF8}\nBytes: ${shown.join(' ')}`;
  }
  return message.replace(/\n$/, '').replace(/^(Excessive depth in document: \d+), /, '$1 ');
}

/**
 * Returns the faulty line and, under it, dashes (tabs stay) up to the fault and a caret, counted in bytes as libvirt
 * does.
 */
export function describePosition(fault: Fault, bytes: Buffer): string {
  const at = offsetOf(fault, bytes);
  let start = at;
  while (start > 0 && isLineEnd(bytes[start])) start -= 1;
  while (start > 0 && !isLineEnd(bytes[start])) start -= 1;
  if (isLineEnd(bytes[start])) start += 1;
  let end = start;
  while (end < bytes.length && !isLineEnd(bytes[end])) end += 1;
  // An empty buffer is NULL in libvirt, which glibc prints so.
  const line = start === end ? '(null)' : decodeUtf8(bytes.subarray(start, end));
  const mark = Array.from(bytes.subarray(start, at), (byte) => (byte === TAB ? '\t' : '-')).join('');
  return `${line}\n${mark}^`;
}

/** libxml2 counts lines by their feeds, columns by characters; libvirt's mark goes by bytes. */
function offsetOf({ line, col }: Fault, bytes: Buffer): number {
  let lineStart = 0;
  for (let rest = line; rest > 1; rest -= 1) {
    const next = bytes.indexOf(LF, lineStart);
    if (next === -1) break;
    lineStart = next + 1;
  }
  let at = lineStart;
  for (let rest = col; rest > 1 && at < bytes.length; rest -= 1) {
    at += 1;
    while (isContinuation(bytes[at])) at += 1;
  }
  return at;
}
