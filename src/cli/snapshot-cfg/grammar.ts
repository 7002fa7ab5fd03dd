/**
 * The grammar of xl's configuration files (libxlu_cfg_l.l and libxlu_cfg_y.y of Xen): KEY=VALUE lines, where a value is a
 * string, a number or a list of both. Lists within lists, which no key of ours has, are refused.
 */

import { failure } from '../failure.ts';

/** A string or a number, as its text. */
export interface Atom {
  readonly text: string;
  readonly line: number;
}

/** One key with its value; the line is that of the key. */
export interface Setting {
  readonly key: string;
  readonly line: number;
  readonly value: Atom | readonly Atom[];
}

interface Token {
  readonly kind: 'name' | 'string' | 'number' | 'sign' | 'end';
  readonly text: string;
  readonly line: number;
}

/** Blanks and comments, then a name, a number, a string in single or double quotes, a sign, or the end of a statement. */
const TOKEN =
  /(?:[ \t\r]|#[^\n]*)*(?:([A-Za-z_][\w.-]*)|(\d\w*)|'([^'\\\n]*(?:\\.[^'\\\n]*)*)'|"([^"\\\n]*(?:\\.[^"\\\n]*)*)"|(\+=|[=,[\]])|([\n;])|$)/y;

const ESCAPES: Readonly<Record<string, string>> = {
  ...{ a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' },
  ...{ '\\': '\\', '"': '"', "'": "'" },
};

/** Reads the settings in their order. Refuses what xl would not read, and a key that is set twice, by `from` and the line. */
export function parseCfg(text: string, from: string): readonly Setting[] {
  return new Parser(tokens(text, from), from).settings();
}

/** Returns an error at a line of the file, in the form that editors and compilers have. */
export function cfgError(from: string, line: number, text: string): Error {
  return failure(`${from}:${line}: ${text}`);
}

function tokens(text: string, from: string): readonly Token[] {
  const found: Token[] = [];
  let line = 1;
  TOKEN.lastIndex = 0;
  for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
    const match = TOKEN.exec(text);
    if (!match) throw cfgError(from, line, `syntax error near '${text.slice(at).split('\n')[0]?.trim()}'`);
    const [, name, number, single, double, sign, end] = match;
    const quoted = single ?? double;
    if (name !== undefined) found.push({ kind: 'name', text: name, line });
    else if (number !== undefined) found.push({ kind: 'number', text: number, line });
    else if (quoted !== undefined) found.push({ kind: 'string', text: unescaped(quoted, from, line), line });
    else if (sign !== undefined) found.push({ kind: 'sign', text: sign, line });
    else found.push({ kind: 'end', text: end ?? '', line });
    if (end === '\n') line += 1;
  }
  return [...found, { kind: 'end', text: '', line }];
}

function unescaped(quoted: string, from: string, line: number): string {
  return quoted.replace(/\\(.)/gu, (_, character: string) => {
    const meant = ESCAPES[character];
    if (meant === undefined) throw cfgError(from, line, `a string has no escape '\\${character}'`);
    return meant;
  });
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #from: string;
  #at = 0;

  constructor(all: readonly Token[], from: string) {
    this.#tokens = all;
    this.#from = from;
  }

  settings(): readonly Setting[] {
    const settings = new Map<string, Setting>();
    for (let token = this.#next(); !isLast(token); token = this.#next()) {
      if (token.kind === 'end') continue;
      const setting = this.#setting(token, settings);
      settings.set(setting.key, setting);
      if (this.#peek().kind !== 'end') throw this.#unexpected(this.#peek(), 'the end of the line');
    }
    return [...settings.values()];
  }

  #setting(token: Token, settings: ReadonlyMap<string, Setting>): Setting {
    const { kind, text: key, line } = token;
    if (kind !== 'name') throw this.#unexpected(token, 'a key');
    const operator = this.#next();
    if (!isSign(operator, '=') && !isSign(operator, '+=')) throw this.#unexpected(operator, "'='");
    const value = this.#value();
    const before = settings.get(key);
    if (!before) return { key, line, value };
    if (operator.text === '=') throw cfgError(this.#from, line, `'${key}' is set a second time (line ${before.line})`);
    return { key, line: before.line, value: this.#joined(before.value, value, line) };
  }

  #joined(first: Setting['value'], second: Setting['value'], line: number): Setting['value'] {
    if ('text' in first && 'text' in second) return { ...first, text: first.text + second.text };
    if (!('text' in first) && !('text' in second)) return [...first, ...second];
    throw cfgError(this.#from, line, "a list and a string cannot be added with '+='");
  }

  #value(): Setting['value'] {
    if (!isSign(this.#peek(), '[')) return this.#atom();
    this.#next();
    const atoms: Atom[] = [];
    for (;;) {
      this.#skipNewlines();
      if (isSign(this.#peek(), ']')) break;
      atoms.push(this.#atom());
      this.#skipNewlines();
      if (!isSign(this.#peek(), ',')) break;
      this.#next();
    }
    const closing = this.#next();
    if (!isSign(closing, ']')) throw this.#unexpected(closing, "']'");
    return atoms;
  }

  #atom(): Atom {
    const token = this.#next();
    if (token.kind !== 'string' && token.kind !== 'number') throw this.#unexpected(token, 'a string');
    return { text: token.text, line: token.line };
  }

  #skipNewlines(): void {
    while (this.#peek().text === '\n' && this.#peek().kind === 'end') this.#next();
  }

  #peek(): Token {
    return this.#tokens[this.#at] as Token;
  }

  /** The last token is returned again and again. */
  #next(): Token {
    const token = this.#peek();
    if (!isLast(token)) this.#at += 1;
    return token;
  }

  #unexpected({ kind, text, line }: Token, expected: string): Error {
    const found = kind === 'end' && text !== ';' ? 'the line ends' : `there is '${text}'`;
    return cfgError(this.#from, line, `${expected} is expected, but ${found}`);
  }
}

const isSign = ({ kind, text }: Token, sign: string): boolean => kind === 'sign' && text === sign;
const isLast = ({ kind, text }: Token): boolean => kind === 'end' && text === '';
