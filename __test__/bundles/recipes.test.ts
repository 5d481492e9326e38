// @module-tag system
/** The recipes of docs/guide/bundles-cli.md whose tools are in node_modules. The others are in __test__/install. */

import { join } from 'node:path'
import { describe } from 'vitest'
import { repository } from '../support/paths.js'
import { expectRecipe, type Recipe } from '../support/recipes.js'
import { test } from '../support/temp.js'

const modules = join(repository, 'node_modules')

const recipes: Recipe[] = [
  {
    tool: 'tsc',
    file: 'package.json',
    source: 'src/main.ts',
    built: 'main.js',
    command: ['npm', 'run', 'build'],
    packages: { '.bin/tsc': join(modules, 'typescript/bin/tsc') },
    files: {
      'tsconfig.json':
        '{"compilerOptions":{"rootDir":"src","module":"nodenext","target":"es2022","lib":["es5"],"skipLibCheck":true,"types":[]},"include":["src"]}',
    },
  },
  {
    tool: 'tsdown',
    source: 'src/main.ts',
    built: 'main.mjs',
    command: [process.execPath, join(modules, 'tsdown/dist/run.mjs')],
  },
  {
    tool: 'rollup',
    source: 'src/main.js',
    built: 'main.js',
    command: [process.execPath, join(modules, 'rollup/dist/bin/rollup'), '-c', '--silent'],
  },
]

describe.each(recipes)('$tool', (recipe) => {
  test('a build becomes a generation, and a failed one changes nothing', async ({ memory }) => {
    await expectRecipe(memory, recipe)
  })
})
