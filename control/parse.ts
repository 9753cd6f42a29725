/**
 * The text of one file → the objects in it, each with its lines, or findings that say what is wrong where.
 *
 * A file is taken whole or not at all: one error in it refuses every object, so that a half-edited file never leaves
 * half of its policies in force. First step of the way from a directory to the mesh: parse → directory → build.
 */
import { Composer, type Document, LineCounter, Parser } from 'yaml';
import { isKindName } from '../model/kinds/registry.ts';
import { check } from './check.ts';
import { type Finding, compareFindings } from './finding.ts';
import type { LocatedObject } from './located.ts';
import type { RawObject } from './raw-object.ts';
import { YamlLines } from './yaml-lines.ts';

export interface ParsedFile {
  /** Empty when the file is refused. */
  readonly objects: readonly LocatedObject[];
  readonly findings: readonly Finding[];
  /** True when any finding is an error. */
  readonly refused: boolean;
}

/** Findings of one file beyond this are counted, not listed. */
const maxFindings = 100;
/** How often aliases may multiply what they stand for, before it is taken for a bomb. */
const maxAliasCount = 100;

/**
 * Parses multi-document YAML (JSON is YAML too) in steps of one object each, so that a large file does not hold up everything
 * else in the process. Merge keys and anchors work. Never throws.
 * @param file the name findings give
 */
export function* parseSteps(text: string, file: string): Generator<undefined, ParsedFile> {
  const findings: Finding[] = [];
  const objects: LocatedObject[] = [];
  const problem = (line: number, code: string, message: string): void => {
    // One slip makes the parser stumble over and over at one place.
    const last = findings.at(-1);
    if (last?.line === line && last.message === message) return;
    findings.push({ severity: 'error', code, file, line, field: null, object: null, message });
  };

  const names = new Map<string, string>();
  const intern = (name: string): string => {
    const known = names.get(name);
    if (known === undefined) names.set(name, name);
    return known ?? name;
  };

  try {
    const counter = new LineCounter();
    let index = 0;
    for (const document of documentsOf(text, counter)) {
      const problems = [...document.errors, ...document.warnings];
      for (const { pos, message } of problems) problem(counter.linePos(pos[0]).line, 'yaml-syntax', message);
      if (problems.length > 0 || document.contents === null) continue;
      const lines = new YamlLines(document, counter);
      const dangling = lines.danglingAlias();
      if (dangling !== null) {
        problem(dangling, 'yaml-syntax', 'there is no anchor of this name before the alias');
        continue;
      }
      for (const { value, base } of itemsOf(document.toJS({ maxAliasCount }))) {
        yield;
        if (!isMap(value)) {
          if (value === null && base.length === 0) continue;
          problem(lines.at(base), 'not-an-object', 'a Kubernetes object is a map with apiVersion and kind');
          continue;
        }
        const raw: RawObject = { value, file, index, lines, base, intern };
        index += 1;
        const checked = check(raw);
        findings.push(...checked.findings);
        if (checked.object !== null) objects.push(checked.object);
      }
    }
  } catch (error) {
    // The parser reports what is wrong with a text; it throws for alias bombs and for nesting beyond the stack.
    const code = error instanceof ReferenceError ? 'yaml-aliases' : 'yaml-too-deep';
    problem(1, code, `the file can not be read: ${error instanceof Error ? error.message : String(error)}`);
  }

  const refused = findings.some(({ severity }) => severity === 'error');
  return { objects: refused ? [] : objects, findings: limited(findings, file), refused };
}

/** One document after the other. Names of places in messages are left out: findings have them. */
function* documentsOf(text: string, counter: LineCounter): Generator<Document> {
  const parser = new Parser(counter.addNewLine);
  const composer = new Composer({ merge: true, prettyErrors: false, keepSourceTokens: false });
  yield* composer.compose(parser.parse(text)) as Generator<Document>;
}

interface Item {
  readonly value: unknown;
  readonly base: readonly (string | number)[];
}

/** The objects of a document: itself, or those of a List. Items of a typed list (PodList) may leave out what they are. */
function itemsOf(value: unknown): Item[] {
  const whole = [{ value, base: [] }];
  if (!isMap(value)) return whole;
  const { kind, items, apiVersion } = value;
  if (typeof kind !== 'string' || !kind.endsWith('List') || !Array.isArray(items)) return whole;
  const itemKind = kind.slice(0, -'List'.length);
  const inherited = isKindName(itemKind) ? { apiVersion, kind: itemKind } : {};
  return items.map((item: unknown, index) => ({
    value: isMap(item) ? { ...inherited, ...item } : item,
    base: ['items', index],
  }));
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function limited(findings: readonly Finding[], file: string): Finding[] {
  const sorted = findings.toSorted(compareFindings);
  const more = sorted.length - maxFindings;
  if (more <= 0) return sorted;
  // Errors are what refuses the file, so they are the last to be left out.
  const listed = [
    ...sorted.filter(({ severity }) => severity === 'error'),
    ...sorted.filter(({ severity }) => severity !== 'error'),
  ].slice(0, maxFindings);
  const message = `and ${more} more findings in this file`;
  const place = { file, line: null, field: null, object: null };
  return [
    ...listed.toSorted(compareFindings),
    { severity: 'info', code: 'more-findings', ...place, message },
  ];
}
