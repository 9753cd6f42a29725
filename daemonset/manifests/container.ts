/** What the containers of all components have in common: the image, and the directories that can be written to. */
import { ports, paths } from '../names.ts';
import { type Template, text, value } from '../template.ts';

export const image: Template = text`${value('image.repository')}:${value('image.tag')}`;

/** A variable of the container from a field of its pod. */
export function fromField(name: string, fieldPath: string): Template {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** Node keeps compiled code there: a container that is started again takes half the time and memory. */
export const cacheEnvironment: Template = { name: 'NODE_COMPILE_CACHE', value: paths.cache };
export const cacheMount: Template = { name: 'cache', mountPath: paths.cache };
export const cacheVolume: Template = { name: 'cache', emptyDir: { sizeLimit: '64Mi' } };

/**
 * Probes of a process with our readiness port. Its first start may take long (roots, certificates, pods that are there
 * already), so that it is only killed after that for not answering at all.
 * @param host where the port is bound to loopback
 */
export function probes(host: string | null): { readonly [name: string]: Template } {
  const get = (path: string): Template => ({
    path,
    port: ports.ready,
    ...(host === null ? {} : { host }),
  });
  return {
    startupProbe: { httpGet: get('/healthz/live'), periodSeconds: 1, failureThreshold: 60 },
    readinessProbe: { httpGet: get('/healthz/ready'), periodSeconds: 2, timeoutSeconds: 3 },
    livenessProbe: {
      httpGet: get('/healthz/live'),
      periodSeconds: 10,
      timeoutSeconds: 5,
      failureThreshold: 6,
    },
  };
}
