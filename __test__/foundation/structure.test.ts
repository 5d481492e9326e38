// The check that `npm run ready` and `npm test` run over src finds each kind of violation.
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { repository } from '../support/paths.js'
import { test } from '../support/temp.js'

const clock =
  'pub(crate) fn now() -> u64 {\n    0\n}\n\npub(crate) fn started(\n    _pid: u32,\n) -> Option<u64> {\n    None\n}\n'
const platform = {
  'src/core/sys/platform/mod.rs': '#[cfg(windows)]\nuse windows as system;\npub(super) use system::{clock};\n',
  'src/core/sys/platform/linux/clock.rs': clock,
  'src/core/sys/platform/macos/clock.rs': clock,
}

const cases: [name: string, files: Record<string, string>, problem: RegExp | undefined][] = [
  [
    'a circle in Rust through a re-export',
    {
      'src/core/locks/mod.rs': 'mod one;\nmod two;\npub use two::Two;\n',
      'src/core/locks/one.rs': 'use super::Two;\npub struct One(Two);\n',
      'src/core/locks/two.rs': 'pub struct Two;\nfn two() { crate::core::locks::one::One::new() }\n',
    },
    /^import circle: src\/core\/locks\/one\.rs → src\/core\/locks\/two\.rs$/,
  ],
  [
    'a circle in TypeScript',
    {
      'src/js/a.ts': "import { b } from './folder/b.js'\n",
      'src/js/folder/b.ts': "export { a } from '../a.js'\n",
    },
    /^import circle: src\/js\/a\.ts → src\/js\/folder\/b\.ts$/,
  ],
  [
    'a capability that imports another one',
    {
      'src/core/bundles/mod.rs': 'use crate::core::locks::Lock;\n',
      'src/core/locks/mod.rs': 'pub struct Lock;\n',
    },
    /^src\/core\/bundles\/mod\.rs imports src\/core\/locks\/mod\.rs/,
  ],
  [
    'system calls that import a capability',
    { 'src/core/sys/fs.rs': 'use crate::core::state::Cell;\n', 'src/core/state/mod.rs': 'pub struct Cell;\n' },
    /^src\/core\/sys\/fs\.rs imports/,
  ],
  [
    'a system type outside core/sys',
    { 'src/core/locks/mod.rs': '\nfn open() -> rustix::io::Result<()> {}\n' },
    /^src\/core\/locks\/mod\.rs:2 names rustix/,
  ],
  [
    'a question for the system outside core/sys',
    { 'src/core/locks/mod.rs': '#[cfg(all(feature = "addon", target_os = "linux"))]\nfn open() {}\n' },
    /^src\/core\/locks\/mod\.rs:1 names target_os/,
  ],
  ...[
    [
      'over several lines',
      'src/core/locks/mod.rs',
      '\n#[cfg(any(\n    feature = "testing",\n    windows,\n))]\nfn open() {}\n',
      'windows',
    ],
    ['in the root of the crate', 'src/lib.rs', '\n#[cfg(unix)]\nmod core;\n', 'unix'],
    ['by a constant', 'src/addon/mod.rs', '\nconst NAME: &str = std::env::consts::OS;\n', 'consts::OS'],
    ['by a macro', 'src/addon/mod.rs', '\nconst IS: bool = cfg!(target_os = "macos");\n', 'target_os'],
    ['by a crate with another name', 'src/core/locks/mod.rs', '\nuse rustix as other;\n', 'rustix'],
  ].map(([name, file = '', text = '', found]): (typeof cases)[number] => [
    `a question for the system ${name}`,
    { [file]: text },
    new RegExp(`^${file}:2 names ${found},`),
  ]),
  [
    'a function that one system does not have',
    {
      ...platform,
      'src/core/sys/platform/windows/clock.rs': 'pub(crate) fn now() -> u64 {\n    0\n}\n',
    },
    /: windows has no clock::started$/,
  ],
  [
    'a function that differs between systems',
    {
      ...platform,
      'src/core/sys/platform/windows/clock.rs':
        'pub(crate) fn now() -> u32 {\n    0\n}\n\npub(crate) fn started(pid: u32) -> Option<u64> {\n    None\n}\n',
    },
    /: clock::now differs between systems: \(\) -> u64 \| \(\) -> u32$/,
  ],
  ['a long file', { 'src/js/long.ts': 'export {}\n'.repeat(401) }, /^src\/js\/long\.ts has 401 lines/],
  [
    'no violation: comments, unit tests, a long file with a reason, and systems with the same functions',
    {
      ...platform,
      'src/core/sys/platform/windows/clock.rs': clock.replace('_pid', 'pid'),
      'src/core/sys/fs.rs': 'use rustix::fs::OFlags;\n',
      'src/core/locks/mod.rs':
        '// rustix\nuse crate::core::sys::fs;\n#[cfg(test)]\nmod tests {\n    use libc::c_int;\n}\n',
      'src/js/long.ts': 'export {}\n'.repeat(401),
      'CONTRIBUTING.md': '`src/js/long.ts`: a table\n',
    },
    undefined,
  ],
]

test.for(cases)('%s', ([, files, problem], { disk }) => {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(disk, dirname(name)), { recursive: true })
    writeFileSync(join(disk, name), text)
  }
  const { status, stderr } = spawnSync(process.execPath, [join(repository, 'scripts/check-structure.js'), disk], {
    encoding: 'utf8',
  })
  const [first, ...further] = stderr.trim().split('\n')
  if (problem === undefined) expect([status, stderr]).toEqual([0, ''])
  else expect([status, first, further.at(-1)]).toEqual([1, expect.stringMatching(problem), 'structure: 1 problems'])
})
