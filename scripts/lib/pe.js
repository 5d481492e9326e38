// Reads what the loader of Windows needs to know of a 64-bit PE file ("PE Format" in Microsoft's documentation).

const MACHINES = { 34404: 'x64', 43620: 'arm64' }
const OPTIONAL_MAGIC = 0x20b
const IS_DLL = 0x2000
/** Indexes of the data directories. */
const EXPORTS = 0
const IMPORTS = 1
const DELAYED = 13
const BY_ORDINAL = 1n << 63n

/**
 * Returns `cpu`, `isLibrary`, `minimum` (the oldest system, such as '6.0'), the names of the `exports`, and the `imports`,
 * each with its library and its name. Delayed imports are among them.
 */
export function readPe(bytes) {
  const start = bytes.length < 64 || bytes.toString('latin1', 0, 2) !== 'MZ' ? -1 : bytes.readUInt32LE(60)
  if (start < 0 || bytes.toString('latin1', start, start + 4) !== 'PE\0\0') throw new Error('not a PE file')
  const optional = start + 24
  if (bytes.readUInt16LE(optional) !== OPTIONAL_MAGIC) throw new Error('not a 64-bit PE file')
  const sections = readSections(bytes, optional + bytes.readUInt16LE(start + 20), bytes.readUInt16LE(start + 6))
  const file = { bytes, at: (address) => offsetOf(sections, address) }
  const directory = (index) =>
    index < bytes.readUInt32LE(optional + 108) ? bytes.readUInt32LE(optional + 112 + 8 * index) : 0
  return {
    cpu: MACHINES[bytes.readUInt16LE(start + 4)],
    isLibrary: (bytes.readUInt16LE(start + 22) & IS_DLL) !== 0,
    minimum: `${bytes.readUInt16LE(optional + 48)}.${bytes.readUInt16LE(optional + 50)}`,
    exports: exportsOf(file, directory(EXPORTS)),
    imports: [
      // Offsets in an entry: the name of the library, and the names that are looked up.
      ...importsOf(file, directory(IMPORTS), { size: 20, library: 12, names: 0 }),
      ...importsOf(file, directory(DELAYED), { size: 32, library: 4, names: 16 }),
    ],
  }
}

function readSections(bytes, table, count) {
  return Array.from({ length: count }, (_, index) => {
    const word = (field) => bytes.readUInt32LE(table + 40 * index + field)
    return { address: word(12), size: word(16), offset: word(20) }
  })
}

/** Where an address is in the file. */
function offsetOf(sections, address) {
  const section = sections.find((each) => address >= each.address && address < each.address + each.size)
  if (section === undefined) throw new Error(`no section has the address ${address}`)
  return address - section.address + section.offset
}

function exportsOf({ bytes, at }, address) {
  if (address === 0) return []
  const table = at(address)
  const count = bytes.readUInt32LE(table + 24)
  const names = count === 0 ? 0 : at(bytes.readUInt32LE(table + 32))
  return Array.from({ length: count }, (_, index) => text(bytes, at(bytes.readUInt32LE(names + 4 * index))))
}

function importsOf({ bytes, at }, address, fields) {
  const found = []
  if (address === 0) return found
  for (let entry = at(address); bytes.readUInt32LE(entry + fields.library) !== 0; entry += fields.size) {
    const library = text(bytes, at(bytes.readUInt32LE(entry + fields.library)))
    for (let name = at(bytes.readUInt32LE(entry + fields.names)); ; name += 8) {
      const value = bytes.readBigUInt64LE(name)
      if (value === 0n) break
      // An ordinal has no name; the two bytes before a name are a hint.
      found.push({ library, name: value & BY_ORDINAL ? `#${value & 0xffffn}` : text(bytes, at(Number(value)) + 2) })
    }
  }
  return found
}

const text = (bytes, at) => bytes.toString('latin1', at, bytes.indexOf(0, at))
