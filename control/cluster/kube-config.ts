/**
 * `KubeConfig` of @kubernetes/client-node without what it drags along: it finds and renews credentials, and for the sake of
 * two functions that we never call it loads the generated clients of every kind there is, 25 MB of heap and 90 MB resident.
 */
import { registerHooks } from 'node:module';

/** What is loaded in the place of that: names that can be imported, and nothing behind them. */
const nothing = (names: readonly string[]): string =>
  `data:text/javascript,${names.map(name => `export class ${name} {}`).join(';')}`;

/** By what is asked for: the generated clients, and a second HTTP client for them. */
const leftOut: Readonly<Record<string, string>> = {
  './gen/index.js': nothing(['createConfiguration', 'ServerConfiguration']),
  undici: nothing(['Agent', 'ProxyAgent']),
};

const hooks = registerHooks({
  resolve: (specifier, context, next) => {
    const url = leftOut[specifier];
    const isTheirs = context.parentURL?.endsWith('/@kubernetes/client-node/dist/config.js') === true;
    return isTheirs && url !== undefined
      ? { url, format: 'module', shortCircuit: true }
      : next(specifier, context);
  },
});
const loaded = await import('@kubernetes/client-node/dist/config.js');
hooks.deregister();

/** Reads kubeconfig files, and whom a pod may be; gives the credentials for each request. */
export class KubeConfig extends loaded.KubeConfig {}
