/**
 * The authority's file on disk: made once, replaced as a whole, and believed only while nobody else can touch it.
 *
 * Several agents may share one directory and start at the same moment. The file comes into being by a hard link, which
 * exactly one of them wins, complete; all then read the same root.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { CulvertError } from '../base/errors.ts';

const maxBytes = 1_048_576;

/** Text of the file, or null when there is none. Throws CulvertError when it must not be believed. */
export function readAuthorityFile(path: string): string | null {
  let fd: number;
  try {
    // Not blocking, or a pipe in its place would stop the process.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return null;
    throw failed('read', path, thrown);
  }
  try {
    // Of the open file, not of the path: what is checked is what is read.
    const stat = fstatSync(fd);
    const { mode, uid, size } = stat;
    if (!stat.isFile()) throw new Error('it is not a file');
    checkOwner(path, uid);
    if ((mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8);
      throw new CulvertError('AUTHORITY_PERMISSIONS', `${path} holds a private key and has mode 0${octal}`, {
        fix: `if no one else has read it: chmod 600 ${path}; otherwise remove it and let an agent make a new one`,
      });
    }
    if (size > maxBytes)
      throw new CulvertError('AUTHORITY_INVALID', `${path} has ${size} bytes, too many for keys`);
    return readFileSync(fd, 'utf8');
  } catch (thrown) {
    throw thrown instanceof CulvertError ? thrown : failed('read', path, thrown);
  } finally {
    closeSync(fd);
  }
}

/** Writes the file unless there is one already; false if another was first. Makes its directory, for us only. */
export function createAuthorityFile(path: string, text: string): boolean {
  const folder = dirname(path);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    checkFolder(folder);
    const temporary = writeTemporary(path, text);
    try {
      linkSync(temporary, path);
      return true;
    } catch (thrown) {
      if (codeOf(thrown) === 'EEXIST') return false;
      throw thrown;
    } finally {
      rmSync(temporary, { force: true });
    }
  } catch (thrown) {
    throw thrown instanceof CulvertError ? thrown : failed('create', path, thrown);
  }
}

/**
 * Replaces the text by what `edit` makes of it and of the time of its last change (ms since the epoch). Readers see the
 * old file or the new one, and two edits at once don't undo each other: the second fails with AUTHORITY_BUSY.
 */
export function editAuthorityFile<T>(
  path: string,
  edit: (text: string, changedAt: number) => { text: string; result: T },
): T {
  const lock = `${path}.lock`;
  try {
    closeSync(openSync(lock, 'wx', 0o600));
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') throw missing(path);
    if (codeOf(thrown) !== 'EEXIST') throw failed('lock', path, thrown);
    throw new CulvertError('AUTHORITY_BUSY', `${path} is being changed by another command`, {
      fix: `run it again; if no other command is running, remove ${lock}`,
    });
  }
  try {
    const text = readAuthorityFile(path);
    if (text === null) throw missing(path);
    const edited = edit(text, statSync(path).mtimeMs);
    const temporary = writeTemporary(path, edited.text);
    renameSync(temporary, path);
    syncFolder(dirname(path));
    return edited.result;
  } catch (thrown) {
    throw thrown instanceof CulvertError ? thrown : failed('change', path, thrown);
  } finally {
    rmSync(lock, { force: true });
  }
}

/** A complete copy beside the file, on the disk before it gets its name. */
function writeTemporary(path: string, text: string): string {
  const temporary = join(
    dirname(path),
    `.${basename(path)}.${process.pid}.${randomBytes(6).toString('hex')}`,
  );
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } catch (thrown) {
    rmSync(temporary, { force: true });
    throw thrown;
  } finally {
    closeSync(fd);
  }
  return temporary;
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Whoever may write to the directory may put another authority in its place. */
function checkFolder(folder: string): void {
  const { mode, uid } = statSync(folder);
  checkOwner(folder, uid);
  if ((mode & 0o022) === 0 || (mode & 0o1000) !== 0) return;
  throw new CulvertError(
    'AUTHORITY_PERMISSIONS',
    `others may write to ${folder}, where the authority's key belongs`,
    {
      fix: `chmod 700 ${folder}`,
    },
  );
}

function checkOwner(path: string, uid: number): void {
  const own = process.geteuid?.() ?? 0;
  if (uid === own || uid === 0) return;
  throw new CulvertError('AUTHORITY_OWNER', `${path} belongs to user ${uid}, and this is user ${own}`, {
    fix: `chown ${own} ${path}, if its content can be trusted`,
  });
}

/** For those who need the file and don't make it. */
export function missing(path: string): CulvertError {
  return new CulvertError('AUTHORITY_MISSING', `there is no certificate authority in ${path}`, {
    fix: 'name the file with --authority; the first agent that starts makes it',
  });
}

function failed(act: string, path: string, thrown: unknown): CulvertError {
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  return new CulvertError('AUTHORITY_FILE', `cannot ${act} the certificate authority ${path}: ${why}`, {
    fix: 'choose a place with --authority that this user may write to, on a file system with hard links',
    cause: thrown,
  });
}

function codeOf(thrown: unknown): string | null {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : null;
}
