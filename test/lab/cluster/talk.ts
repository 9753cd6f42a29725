/**
 * Pods that talk, for tests: each serves HTTP on 8080 and echoes lines on 9090, and can be told to ask others.
 */
import type { KubernetesObject } from '../kubernetes.ts';
import { toolsTag } from './images.ts';

export const httpPort = 8080;
export const echoPort = 9090;

export interface TalkPod {
  readonly name: string;
  readonly namespace: string;
  /** Where the scheduler likes, unless said. */
  readonly node?: string;
  /** `default` unless said; serviceAccountObject makes others. */
  readonly serviceAccount?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** What it runs instead of the server. */
  readonly command?: readonly string[];
  /** False: is ready as soon as it runs. */
  readonly probed?: boolean;
}

/** A pod that is ready when the kubelet has had an answer from it, and that ends at once. */
export function talkPod(pod: TalkPod): KubernetesObject {
  const { name, namespace, node, serviceAccount = 'default', labels = {}, command, probed = true } = pod;
  const probe = { httpGet: { path: '/probe', port: httpPort }, periodSeconds: 1 };
  const serving = command === undefined && probed ? { readinessProbe: probe } : {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels: { app: name, ...labels } },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      serviceAccountName: serviceAccount,
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'talk',
          image: toolsTag,
          imagePullPolicy: 'Never',
          command: command ?? ['talk', 'serve', String(httpPort), String(echoPort)],
          ports: [
            { name: 'http', containerPort: httpPort },
            { name: 'echo', containerPort: echoPort },
          ],
          ...serving,
        },
      ],
    },
  };
}

/** A Service for the pods with this label `app`: HTTP on 80, echo on 9090. */
export function talkService(namespace: string, app: string): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: app, namespace },
    spec: {
      selector: { app },
      ports: [
        { name: 'http', port: 80, targetPort: 'http' },
        { name: 'echo', port: echoPort, targetPort: 'echo' },
      ],
    },
  };
}
