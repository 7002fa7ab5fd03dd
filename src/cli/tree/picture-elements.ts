/** The elements of the picture: fitted texts, boxes and lines. */

import { element, type XmlElement } from '../../model/element.ts';
import { displayWidth } from '../terminal/display-width.ts';
import type { Box } from './picture-layout.ts';

/** Advance of a character of the fixed-width font, by font size: that of DejaVu Sans Mono, the widest in common use. */
const ADVANCE = 0.602;
/** Font sizes, by class. */
export const FONT = { title: 18, name: 13, detail: 11 } as const;
/** The styles of text, by size. */
export type TextStyle = keyof typeof FONT;

/** Returns the width of a text in pixels. */
export function textWidth(text: string, style: TextStyle): number {
  return displayWidth(text) * FONT[style] * ADVANCE;
}

/** Returns the text, without its middle if it does not fit into so many pixels. */
export function fitted(text: string, style: TextStyle, width: number): string {
  const room = Math.floor(width / (FONT[style] * ADVANCE));
  if (displayWidth(text) <= room) return text;
  const characters = [...text];
  let kept = characters.length;
  let shown = text;
  while (kept > 2 && displayWidth(shown) > room) {
    kept -= 1;
    const head = Math.ceil(kept / 2);
    shown = `${characters.slice(0, head).join('')}…${characters.slice(characters.length - (kept - head)).join('')}`;
  }
  return shown;
}

/** Returns the last part of a path. */
export function baseName(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1);
}

/** Returns a text with its baseline at `y`. */
export function label(text: string, x: number, y: number, style: TextStyle): XmlElement {
  return element('text', { class: style, x: String(x), y: String(y) }, [text]);
}

/** Returns a rectangle; `radius`: of its corners. */
export function rectangle({ x, y, width, height }: Box, style: string, radius = 0): XmlElement {
  const size = { x: String(x), y: String(y), width: String(width), height: String(height) };
  return element('rect', { class: style, ...size, ...(radius > 0 && { rx: String(radius) }) });
}

/** Returns a path; `d`: SVG's path data. */
export function path(d: string, style: string): XmlElement {
  return element('path', { class: style, d });
}
