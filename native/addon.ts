/**
 * Loads the C++ addon: once per thread, any number of threads per process.
 *
 * `make build` compiles it to native/build/Release/culvert.node; CULVERT_ADDON names another file, which is how
 * the tests run on the build with AddressSanitizer.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { nativeError } from './errors.ts';

type Exports = Readonly<Record<string, unknown>>;

/** Path of the compiled addon that this process uses. */
export const addonPath: string =
  process.env['CULVERT_ADDON'] ?? fileURLToPath(new URL('./build/Release/culvert.node', import.meta.url));

/**
 * Loads the addon at `path`.
 *
 * @throws Error that says to run `make build`, when the file is missing or does not fit this Node or this machine
 */
export function loadAddon(path: string): Exports {
  try {
    const exports = createRequire(import.meta.url)(path) as Exports;
    (exports['setErrorFactory'] as (make: typeof nativeError) => void)(nativeError);
    return exports;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the native addon ${path} cannot be loaded (run \`make build\`): ${reason}`, { cause });
  }
}

const loaded = loadAddon(addonPath);

/** Returns the function `name` of the addon; one that is missing means that the build is older than the sources. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the declaration that asks knows the type
export function native<T>(name: string): T {
  const found = loaded[name];
  if (found === undefined)
    throw new Error(`the native addon has no ${name}: it is out of date, run \`make build\``);
  return found as T;
}
