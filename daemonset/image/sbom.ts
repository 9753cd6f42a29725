/**
 * The software bill of materials of an image, as CycloneDX JSON: every npm package from the lock file and every Debian
 * package of which the image has files.
 */
import type { RuntimePackage } from './application.ts';
import type { SystemPackage } from './system.ts';

export interface Contents {
  readonly version: string;
  readonly packages: readonly RuntimePackage[];
  readonly system: readonly SystemPackage[];
  /** `ID` of /etc/os-release, the namespace of Debian package URLs. */
  readonly distribution: string;
}

/** The document, version 1.6 of the format. Without serial number and time, so that equal contents give equal bytes. */
export function billOfMaterials(contents: Contents): string {
  const components = [
    ...contents.packages.map(npmComponent),
    ...contents.system.map(found => debComponent(found, contents.distribution)),
  ];
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'container',
        'bom-ref': 'culvert',
        name: 'culvert',
        version: contents.version,
        licenses: [{ license: { id: 'Apache-2.0' } }],
      },
    },
    components,
    dependencies: [{ ref: 'culvert', dependsOn: components.map(component => component['bom-ref']) }],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function npmComponent({ path, name, version, license, integrity }: RuntimePackage): Component {
  const slash = name.indexOf('/');
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return {
    type: 'library',
    // The same package may be there twice, below others.
    'bom-ref': `${purl}#${path}`,
    ...(slash > 0 ? { group: name.slice(0, slash) } : {}),
    name: name.slice(slash + 1),
    version,
    ...(license === null ? {} : { licenses: [{ expression: license.replace(/^\((.*)\)$/, '$1') }] }),
    ...(integrity === null ? {} : { hashes: [hash(integrity)] }),
    purl,
  };
}

function debComponent({ name, version, architecture }: SystemPackage, distribution: string): Component {
  const purl = `pkg:deb/${distribution}/${name.replaceAll('+', '%2B')}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { type: 'library', 'bom-ref': purl, name, version, purl };
}

/** npm's `sha512-<base64>` as the format wants it. */
function hash(integrity: string): { alg: string; content: string } {
  const [algorithm = '', value = ''] = integrity.split('-', 2);
  return { alg: algorithm.replace('sha', 'SHA-'), content: Buffer.from(value, 'base64').toString('hex') };
}

interface Component {
  readonly type: 'library';
  readonly 'bom-ref': string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly licenses?: readonly { readonly expression: string }[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly purl: string;
}
