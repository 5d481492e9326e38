// @module-tag system
/** The recipes of docs/guide/bundles-cli.md whose tools have to be installed. */

import { dirname, join } from 'node:path'
import { describe } from 'vitest'
// @ts-expect-error: a script without types
import { ensureNpm } from '../../scripts/lib/setup.js'
import { repository } from '../support/paths.js'
import { expectRecipe, type Recipe } from '../support/recipes.js'
import { tools } from '../support/registry.js'
import { test } from '../support/temp.js'

const tsup = join(ensureNpm('install-tsup', join(repository, '__test__/install/tsup')) as string, 'node_modules/tsup')

const recipes: Recipe[] = [
  {
    tool: 'tsup',
    source: 'src/main.ts',
    built: 'main.js',
    command: [process.execPath, join(tsup, 'dist/cli-default.js')],
    packages: { typescript: join(dirname(tsup), 'typescript') },
  },
  {
    tool: 'webpack',
    source: 'src/main.js',
    built: 'main.cjs',
    command: [
      process.execPath,
      '--input-type=module',
      '-e',
      `import webpack from ${JSON.stringify(join(tools, 'webpack/lib/index.js'))}
import config from './webpack.config.mjs'
webpack(config, (error, stats) => { if (error || stats.hasErrors()) process.exitCode = 1 })`,
    ],
  },
]

describe.each(recipes)('$tool', (recipe) => {
  test('a build becomes a generation, and a failed one changes nothing', async ({ memory }) => {
    await expectRecipe(memory, recipe)
  })
})
