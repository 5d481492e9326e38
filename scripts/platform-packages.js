// Writes npm/<platform>/package.json for every target in package.json, so that the list has one source.
//   node scripts/platform-packages.js           writes the folders
//   node scripts/platform-packages.js --check   fails if a folder differs
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/process.js'

const main = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const platforms = { linux: 'linux', darwin: 'darwin', windows: 'win32' }
const cpus = { x86_64: 'x64', aarch64: 'arm64' }
const libcs = { gnu: 'glibc', musl: 'musl' }

function packageOf(target) {
  const [cpu, , system, abi] = target.split('-')
  const name = [platforms[system], cpus[cpu], abi].filter(Boolean).join('-')
  const binary = `${main.napi.binaryName}.${name}.node`
  return {
    name,
    manifest: {
      name: `${main.napi.packageName}-${name}`,
      version: main.version,
      description: `The native addon of warmswap for ${target}`,
      license: main.license,
      main: binary,
      files: [binary, binary.replace(/\.node$/, '.json')],
      engines: main.engines,
      os: [platforms[system]],
      cpu: [cpus[cpu]],
      ...(system === 'linux' ? { libc: [libcs[abi]] } : {}),
    },
  }
}

const check = process.argv.includes('--check')
for (const { name, manifest } of main.napi.targets.map(packageOf)) {
  const file = join(root, 'npm', name, 'package.json')
  const text = `${JSON.stringify(manifest, null, 2)}\n`
  if (!check) {
    mkdirSync(join(root, 'npm', name), { recursive: true })
    writeFileSync(file, text)
  } else if (!existsSync(file) || readFileSync(file, 'utf8') !== text) {
    console.error(`warmswap: ${file} differs: run 'node scripts/platform-packages.js'`)
    process.exitCode = 1
  }
}
