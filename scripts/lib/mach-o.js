// Reads what a loader of macOS needs to know of a 64-bit Mach-O file (mach-o/loader.h, mach-o/nlist.h).

const MAGIC = 0xfeedfacf
const CPUS = { 16777223: 'x64', 16777228: 'arm64' }
const KINDS = { 6: 'dylib', 8: 'bundle' }
const LC_SYMTAB = 0x2
const LC_LOAD_DYLIB = 0xc
const LC_LOAD_WEAK_DYLIB = 0x80000018
const LC_REEXPORT_DYLIB = 0x8000001f
const LC_CODE_SIGNATURE = 0x1d
const LC_BUILD_VERSION = 0x32
const N_STAB = 0xe0
const N_TYPE = 0x0e
const N_PEXT = 0x10
const N_EXT = 0x01
const N_WEAK_REF = 0x40
const NLIST_BYTES = 16

/**
 * Returns `cpu`, `kind`, `platform` (1 is macOS), `minimum` (the oldest system, such as '11.0'), `isSigned`, the names of the
 * `libraries`, the names of the `exports`, and the `imports`, each with its name, its library and whether it may be missing.
 */
export function readMachO(bytes) {
  if (bytes.length < 32 || bytes.readUInt32LE(0) !== MAGIC) throw new Error('not a 64-bit Mach-O file')
  const file = { cpu: CPUS[bytes.readUInt32LE(4)], kind: KINDS[bytes.readUInt32LE(12)], libraries: [], isSigned: false }
  let table
  let at = 32
  for (let left = bytes.readUInt32LE(16); left > 0; left -= 1) {
    const word = (index) => bytes.readUInt32LE(at + 4 * index)
    const command = word(0)
    if (command === LC_SYMTAB) table = { symbols: word(2), count: word(3), strings: word(4) }
    if (command === LC_CODE_SIGNATURE) file.isSigned = true
    if ([LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB, LC_REEXPORT_DYLIB].includes(command))
      file.libraries.push(text(bytes, at + word(2)))
    if (command === LC_BUILD_VERSION) {
      file.platform = word(2)
      file.minimum = `${word(3) >>> 16}.${(word(3) >>> 8) & 0xff}`
    }
    at += word(1)
  }
  if (table === undefined) throw new Error('the file has no table of symbols')
  return { ...file, ...symbols(bytes, table, file.libraries) }
}

function symbols(bytes, table, libraries) {
  const [imports, exports] = [[], []]
  for (let index = 0; index < table.count; index += 1) {
    const at = table.symbols + NLIST_BYTES * index
    const type = bytes.readUInt8(at + 4)
    if ((type & N_STAB) !== 0 || (type & (N_EXT | N_PEXT)) !== N_EXT) continue
    const name = text(bytes, table.strings + bytes.readUInt32LE(at))
    if ((type & N_TYPE) !== 0) {
      exports.push(name)
      continue
    }
    const description = bytes.readUInt16LE(at + 6)
    imports.push({ name, library: libraries[(description >>> 8) - 1], isOptional: (description & N_WEAK_REF) !== 0 })
  }
  return { imports, exports }
}

const text = (bytes, at) => bytes.toString('utf8', at, bytes.indexOf(0, at))
