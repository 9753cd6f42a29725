/** What `culvert run` makes of its options in a cluster. */
import t from 'tap';
import { agentConfig, type RunOptions } from '../../cli/run.ts';

const options: RunOptions = {
  node: 'n1',
  control: 'culvert-control.culvert-system.svc:15012',
  controlRoot: '/roots/root.pem',
  token: '/token',
  clusterId: 'east',
  meshState: 'whole',
  kubelet: 'kubelet',
  stateDir: '/run/culvert/agent',
  cniBinDir: '/host/opt/cni/bin',
  cniConfDir: '/host/etc/cni/net.d',
  cniNodeConfDir: '/etc/cni/net.d',
  bpffs: '/sys/fs/bpf',
  adminPort: '15000',
  metricsAddress: '127.0.0.1',
  metricsPort: '15020',
  readyPort: '15021',
  outboundPort: '15001',
  kernelPath: 'direct',
  plaintextPort: '15006',
  hbonePort: '15008',
  dnsPort: '15053',
  accessLog: '-',
  logLevel: 'info',
};

t.test('the plugin is told paths of the node, the agent has its own', async t => {
  t.match(agentConfig(options).source, {
    kind: 'cluster',
    cni: {
      socket: '/run/culvert/cni.sock',
      enrolledNamespaces: '/host/etc/cni/net.d/culvert-enrolled-namespaces',
      enrolledNamespacesOnNode: '/etc/cni/net.d/culvert-enrolled-namespaces',
      install: { binDir: '/host/opt/cni/bin', confDir: '/host/etc/cni/net.d' },
    },
  });
});

t.test("certificates are the control plane's, or another server's", async t => {
  t.match(agentConfig(options).source, { certificates: null });
  t.match(agentConfig({ ...options, ca: 'istio-csr.cert-manager.svc:443' }).source, {
    certificates: { address: 'istio-csr.cert-manager.svc:443', root: '/roots/root.pem' },
  });
  t.match(agentConfig({ ...options, ca: 'csr:443', caRoot: '/other.pem' }).source, {
    certificates: { root: '/other.pem' },
  });
});

t.test('every problem has its line', async t => {
  const wrong = { ...options, config: '/yaml', control: 'nowhere', ca: 'neither' };
  const { cniConfDir: _, ...half } = wrong;
  t.throws(() => agentConfig(half), {
    code: 'BAD_USAGE',
    message: /either --config.*\n.*--control nowhere.*\n.*--ca neither.*\n.*--cni-bin-dir and --cni-conf-dir/,
  });
});
