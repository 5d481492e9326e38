// node scripts/pack.js [FOLDER]   packs what users install: the root package and a package for each addon that was built
//
// The addons are taken from dist/ and from npm/<platform>/ (where the release workflow puts them); or, in
// `npm run test:platforms`, from the folder that WARMSWAP_RELEASE_ADDON names: dist/ has an addon of the dev profile
// there. The packed root manifest names exactly these platform packages, with exact versions, as optionalDependencies: Yarn 4 fails on a
// platform package that does not exist. The committed manifest has none, because npm would look for them in the registry.
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { attempt, root } from './lib/process.js'
import { linksOf } from './lib/repository.js'

const target = resolve(process.argv[2] ?? join(root, 'build/packages'))
const main = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** Packs a folder and returns the tarball's name. */
function pack(folder) {
  const { status, stdout } = attempt('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', target], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  if (status !== 0) process.exit(status ?? 1)
  const packed = JSON.parse(stdout)
  return (Array.isArray(packed) ? packed[0] : Object.values(packed)[0]).filename
}

/** The data that the loader checks before it loads the addon (src/js/native/addon-file.ts). */
function sealOf(addon, version) {
  const bytes = readFileSync(addon)
  return { version, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** The platform packages whose addon exists, each in a folder of its own below `staging`. */
function stagePlatforms(staging) {
  const staged = []
  for (const name of readdirSync(join(root, 'npm'))) {
    const manifest = JSON.parse(readFileSync(join(root, 'npm', name, 'package.json'), 'utf8'))
    const folders = [process.env.WARMSWAP_RELEASE_ADDON, join(root, 'npm', name), join(root, 'dist')]
    const addon = folders
      .filter((each) => each !== undefined)
      .map((each) => join(each, manifest.main))
      .find((path) => existsSync(path))
    if (addon === undefined) continue
    const folder = join(staging, name)
    cpSync(join(root, 'npm', name), folder, { recursive: true })
    cpSync(addon, join(folder, manifest.main))
    writeFileSync(
      join(folder, manifest.main.replace(/\.node$/, '.json')),
      `${JSON.stringify(sealOf(addon, manifest.version))}\n`,
    )
    cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
    const published = { ...manifest, ...linksOf(main, `npm/${name}`) }
    writeFileSync(join(folder, 'package.json'), `${JSON.stringify(published, null, 2)}\n`)
    staged.push({ folder, manifest: published })
  }
  return staged
}

const staging = mkdtempSync(join(tmpdir(), 'warmswap-pack-'))
try {
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  const platforms = stagePlatforms(staging)
  if (platforms.length === 0) {
    console.error('warmswap: no addon was built. Run `npm run build` first')
    process.exit(1)
  }
  const folder = join(staging, 'root')
  mkdirSync(folder)
  for (const each of main.files.filter((file) => !file.startsWith('!')))
    cpSync(join(root, each), join(folder, each), { recursive: true })
  const { devDependencies, scripts, overrides, ...published } = main
  const optionalDependencies = Object.fromEntries(platforms.map(({ manifest }) => [manifest.name, manifest.version]))
  writeFileSync(
    join(folder, 'package.json'),
    `${JSON.stringify({ ...published, ...linksOf(main), optionalDependencies }, null, 2)}\n`,
  )
  const packages = [...platforms.map((each) => each.folder), folder].map((each) => pack(each))
  console.log(JSON.stringify(packages.map((file) => join(target, file))))
} finally {
  rmSync(staging, { recursive: true, force: true })
}
