import t from 'tap';
import { type ControlOptions, controlConfig } from '../../cli/control-command.ts';

const options: ControlOptions = {
  namespace: 'culvert-system',
  address: '::',
  port: '15012',
  metricsPort: '15014',
  readyPort: '15021',
  adminPort: '15000',
  logLevel: 'info',
};

t.test('the defaults are what the chart needs', async t => {
  t.match(controlConfig({ ...options, identity: 'pod-1' }), {
    kubeconfig: null,
    identity: /^pod-1_[0-9a-f]{8}$/,
    port: 15_012,
    agents: ['culvert-system/culvert-agent'],
    audiences: ['culvert-ca', 'istio-ca'],
    dnsNames: [],
  });
});

t.test('every problem has a line', async t => {
  const wrong: ControlOptions = {
    namespace: 'Bad_NS',
    address: 'localhost',
    port: '0',
    metricsPort: '15014',
    readyPort: '15014',
    adminPort: 'x',
    agent: ['culvert-agent', 'a/b/c'],
    audience: [''],
    dnsName: ['*.example'],
    logLevel: 'debug,ads=loud',
  };
  t.throws(() => controlConfig(wrong), {
    code: 'BAD_USAGE',
    message: new RegExp(
      [
        '--log-level ads=loud',
        '--address localhost',
        '--namespace Bad_NS',
        '--agent culvert-agent',
        '--agent a/b/c',
        '--audience',
        '--port 0',
        '--admin-port x',
        '--dns-name \\*.example',
        'the four ports must differ',
      ].join('[^]*'),
    ),
  });
});
