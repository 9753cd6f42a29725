/** The files of the Helm chart, from the manifests and the schema of the values. */
import { isMap, isScalar, parseDocument, stringify, type Document } from 'yaml';
import * as z from 'zod';
import { versionString } from '../base/version.ts';
import { generatedHeader } from './header.ts';
import { helmDocument } from './helm-template.ts';
import { definitions, files } from './installation.ts';
import { uninstallHook } from './manifests/uninstall-hook.ts';
import type { Json, Template } from './template.ts';
import { defaultValues, valuesSchema } from './values.ts';
import { described } from './values-page.ts';

const folder = 'daemonset/helm';

/** By path from the checkout. */
export function chartFiles(): ReadonlyMap<string, string> {
  const result = new Map<string, string>([
    [`${folder}/Chart.yaml`, chart()],
    [`${folder}/values.yaml`, valuesFile()],
    [`${folder}/values.schema.json`, schemaFile()],
    [`${folder}/templates/NOTES.txt`, notes],
    [`${folder}/templates/uninstall.yaml`, templateFile(uninstallHook())],
  ]);
  // Helm installs these before all else, and leaves them and the users' policies alone from then on.
  for (const [file, definition] of definitions())
    result.set(`${folder}/crds/${file}`, generatedHeader + yaml(definition));
  for (const [file, manifests] of files)
    result.set(`${folder}/templates/${file}.yaml`, templateFile(manifests));
  return result;
}

function templateFile(manifests: readonly Template[]): string {
  const documents = manifests.map(manifest => helmDocument(manifest, defaultValues as Json));
  return generatedHeader + documents.join('');
}

function chart(): string {
  return (
    generatedHeader +
    yaml({
      apiVersion: 'v2',
      name: 'culvert',
      description: 'A service mesh without sidecars: eBPF redirection into a shared zero-trust tunnel',
      type: 'application',
      version: versionString(),
      appVersion: versionString(),
      kubeVersion: '>=1.30.0-0',
      keywords: ['service mesh', 'ambient', 'mutual tls', 'ebpf'],
    })
  );
}

/** The defaults, each with its description above it. */
function valuesFile(): string {
  const document = parseDocument(yaml(defaultValues));
  for (const { path, description, isSection } of described()) comment(document, path, description, isSection);
  return generatedHeader + document.toString({ lineWidth: 0, singleQuote: true });
}

function comment(document: Document, path: string, description: string, isSection: boolean): void {
  const names = path.split('.');
  const name = names.pop();
  const parent = names.length === 0 ? document.contents : document.getIn(names);
  if (!isMap(parent)) return;
  for (const { key } of parent.items) {
    if (!isScalar(key) || key.value !== name) continue;
    key.commentBefore = ` ${description}`;
    key.spaceBefore = isSection;
  }
}

/** Helm merges the values that are given into the defaults before it compares them with the schema. */
function schemaFile(): string {
  const schema = z.toJSONSchema(valuesSchema, { target: 'draft-7', io: 'input' }) as {
    properties: Record<string, object>;
  };
  // What Helm hands to charts below others.
  schema.properties['global'] = { type: 'object', description: 'Not used.' };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

function yaml(object: unknown): string {
  return stringify(object, { lineWidth: 0, singleQuote: true, aliasDuplicateObjects: false });
}

const notes = `Culvert {{ .Chart.AppVersion }} is in namespace {{ .Release.Namespace }}. When its pods are ready,

  kubectl label namespace NAMESPACE culvert.dev/dataplane-mode=ambient

enrols the pods of a namespace; none is restarted, and removing the label takes them out again.

  kubectl -n {{ .Release.Namespace }} rollout status daemonset/culvert-agent
  kubectl -n {{ .Release.Namespace }} exec daemonset/culvert-agent -- culvert status
`;
