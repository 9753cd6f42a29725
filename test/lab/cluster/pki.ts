/**
 * Who is who in the cluster: one authority, a certificate for each component, and the kubeconfig files that carry them.
 *
 * In Kubernetes a client certificate's common name is the user and its organisations are the user's groups. The names here
 * are those that the API server's built-in roles speak of.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { run } from '../run.ts';
import { apiPort, apiServiceAddress, clusterDomain } from './addresses.ts';

export interface PkiOptions {
  /** Addresses by which the API server is reached. */
  readonly apiAddresses: readonly string[];
  /** The one by which nodes do, and the one by which people and tests do. */
  readonly fromNodes: string;
  readonly fromOutside: string;
  readonly nodes: readonly { readonly name: string; readonly addresses: readonly string[] }[];
}

interface Certificate {
  readonly name: string;
  readonly authority?: string;
  readonly subject: string;
  readonly usage: 'serverAuth' | 'clientAuth';
  readonly alternativeNames?: readonly string[];
}

const days = '30';

/** Writes everything into `directory`: NAME.crt, NAME.key, NAME.kubeconfig. */
export async function writePki(directory: string, options: PkiOptions): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // Without a configuration of our own, openssl would add extensions that its distribution thinks of.
  writeFileSync(join(directory, 'openssl.cnf'), '[req]\ndistinguished_name = name\n[name]\n');
  await Promise.all(['ca', 'front-proxy-ca'].map(name => authority(directory, name)));
  await Promise.all(certificates(options).map(wanted => certificate(directory, wanted)));
  writeServiceAccountKey(directory);
  for (const user of [
    'controller-manager',
    'scheduler',
    'kube-proxy',
    ...options.nodes.map(({ name }) => name),
  ])
    writeKubeconfig(directory, user, options.fromNodes);
  writeKubeconfig(directory, 'admin', options.fromOutside);
}

function certificates({ apiAddresses, nodes }: PkiOptions): Certificate[] {
  const service = 'kubernetes.default.svc';
  const apiNames = ['kubernetes', 'kubernetes.default', service, `${service}.${clusterDomain}`, 'localhost'];
  const addresses = [...apiAddresses, apiServiceAddress, '127.0.0.1'];
  const client = (name: string, subject: string, authority = 'ca'): Certificate => ({
    name,
    subject,
    authority,
    usage: 'clientAuth',
  });
  return [
    {
      name: 'apiserver',
      subject: '/CN=kube-apiserver',
      usage: 'serverAuth',
      alternativeNames: [
        ...apiNames.map(name => `DNS:${name}`),
        ...addresses.map(address => `IP:${address}`),
      ],
    },
    client('apiserver-kubelet', '/O=system:masters/CN=apiserver-kubelet'),
    client('front-proxy', '/CN=front-proxy', 'front-proxy-ca'),
    client('admin', '/O=system:masters/CN=admin'),
    client('controller-manager', '/CN=system:kube-controller-manager'),
    client('scheduler', '/CN=system:kube-scheduler'),
    client('kube-proxy', '/CN=system:kube-proxy'),
    ...nodes.flatMap(({ name, addresses }): Certificate[] => [
      client(name, `/O=system:nodes/CN=system:node:${name}`),
      {
        name: `kubelet-${name}`,
        subject: `/CN=${name}`,
        usage: 'serverAuth',
        alternativeNames: [`DNS:${name}`, ...addresses.map(address => `IP:${address}`)],
      },
    ]),
  ];
}

function authority(directory: string, name: string): Promise<void> {
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
  return openssl(directory, name, `/CN=${name}`, extensions, []);
}

function certificate(directory: string, wanted: Certificate): Promise<void> {
  const issuer = wanted.authority ?? 'ca';
  const extensions = ['keyUsage=critical,digitalSignature', `extendedKeyUsage=${wanted.usage}`];
  if (wanted.alternativeNames !== undefined)
    extensions.push(`subjectAltName=${wanted.alternativeNames.join(',')}`);
  return openssl(directory, wanted.name, wanted.subject, extensions, [
    '-CA',
    join(directory, `${issuer}.crt`),
    '-CAkey',
    join(directory, `${issuer}.key`),
  ]);
}

async function openssl(
  directory: string,
  name: string,
  subject: string,
  extensions: readonly string[],
  issuer: readonly string[],
): Promise<void> {
  const what = ['-subj', subject, '-days', days, ...extensions.flatMap(extension => ['-addext', extension])];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'];
  const files = ['-keyout', join(directory, `${name}.key`), '-out', join(directory, `${name}.crt`)];
  const config = ['-config', join(directory, 'openssl.cnf')];
  await run('openssl', ['req', '-x509', ...config, ...key, ...files, ...what, ...issuer]);
}

/** With it the API server signs the tokens of service accounts; nobody needs a certificate for it. */
function writeServiceAccountKey(directory: string): void {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const options = { mode: 0o600 };
  writeFileSync(join(directory, 'sa.key'), privateKey.export({ type: 'sec1', format: 'pem' }), options);
  writeFileSync(join(directory, 'sa.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
}

function writeKubeconfig(directory: string, name: string, address: string): void {
  const base64 = (file: string): string => readFileSync(join(directory, file)).toString('base64');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'lab',
        cluster: { server: `https://${address}:${apiPort}`, 'certificate-authority-data': base64('ca.crt') },
      },
    ],
    users: [
      {
        name,
        user: {
          'client-certificate-data': base64(`${name}.crt`),
          'client-key-data': base64(`${name}.key`),
        },
      },
    ],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: name } }],
    'current-context': 'lab',
  };
  writeFileSync(join(directory, `${name}.kubeconfig`), stringify(config), { mode: 0o600 });
}
