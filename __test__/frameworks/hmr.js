// In Chromium: an edit of a component is shown without a reload of the page, with warmswap and without.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { hosts, serve } from './hosts.js'

const react = (note) => `import { useEffect } from 'react'
export default function Page() {
  useEffect(() => void (window.isHydrated = true), [])
  return <p id="hmr">${note}</p>
}
`
/** What the edits change. */
const NOTE = 'note 0'

/** The application, the files of the page that are added to it, the path of the page and the component that is edited. */
export const pages = {
  'react-router-hmr': {
    app: 'react-router',
    files: {
      'app/routes/hmr.jsx': react(NOTE),
      'app/routes.js': `import { route } from '@react-router/dev/routes'\nexport default [route('hmr', 'routes/hmr.jsx')]\n`,
    },
    path: '/hmr',
    component: 'app/routes/hmr.jsx',
  },
  'sveltekit-hmr': {
    app: 'sveltekit',
    files: {
      'src/routes/hmr/+page.svelte': `<script>\nimport { onMount } from 'svelte'\nonMount(() => void (window.isHydrated = true))\n</script>\n<p id="hmr">${NOTE}</p>\n`,
    },
    path: '/hmr',
    component: 'src/routes/hmr/+page.svelte',
  },
  'nuxt-hmr': {
    app: 'nuxt',
    files: {
      'app/app.vue': `<script setup>\nonMounted(() => void (window.isHydrated = true))\n</script>\n<template>\n  <p id="hmr">${NOTE}</p>\n</template>\n`,
    },
    path: '/',
    component: 'app/app.vue',
  },
  'rwsdk-hmr': {
    packages: 'rwsdk',
    program: hosts.sveltekit.program,
    files: {
      'src/app/Counter.tsx': `'use client'\n${react(NOTE).replace('export default function Page', 'export function Counter')}`,
    },
    path: '/',
    component: 'src/app/Counter.tsx',
  },
  'vike-hmr': {
    isLong: true,
    app: 'vike',
    files: { 'pages/index/+Page.jsx': react(NOTE) },
    path: '/',
    component: 'pages/index/+Page.jsx',
  },
  'tanstack-start-hmr': {
    isLong: true,
    app: 'tanstack-start',
    files: {
      'src/routes/index.jsx': `import { createFileRoute } from '@tanstack/react-router'\nexport const Route = createFileRoute('/')({ component: Page })\n${react(NOTE).replace('export default ', '')}`,
    },
    path: '/',
    component: 'src/routes/index.jsx',
  },
}

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
)

/** Runs the pages of these names and records one result for each, with warmswap and without. */
export async function checkPages(names, { root, node, packages, prepare, installWarmswap, record, skip }) {
  if (names.length === 0) return
  if (executablePath === undefined && !process.env.CI) return skip(names.length * 2, 'no Chromium is installed')
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update']
  const browser = await chromium.launch({ executablePath, args })
  try {
    for (const name of names) {
      for (const isWith of [true, false]) {
        const what = `${name}: an edit is shown without a reload, ${isWith ? 'with' : 'without'} warmswap`
        const spec = { ...hosts[pages[name].app], ...pages[name] }
        const home = spec.app === undefined ? prepare(spec.packages, 1) : packages(spec.packages ?? 'hosts')
        installWarmswap(join(home, 'node_modules/warmswap'))
        const folder = spec.app === undefined ? home : copyApp(root, home, name, spec, isWith)
        for (const [file, text] of Object.entries(spec.files)) {
          mkdirSync(join(folder, file, '..'), { recursive: true })
          writeFileSync(join(folder, file), text)
        }
        const env = { ...spec.env, ...(isWith ? {} : { WITHOUT_WARMSWAP: '1' }) }
        const server = await serve(node, home, folder, { ...spec, env })
        const page = await browser.newPage()
        try {
          record(what, ...(await editIn(page, server, join(folder, spec.component))))
        } catch (error) {
          record(what, false, `${error.stack}\n${server.output.slice(-3000)}`)
        } finally {
          await page.close()
          await server.stop()
        }
      }
    }
  } finally {
    await browser.close()
  }
}

function copyApp(root, home, name, { folder: apps = 'hosts/apps', app, config, probe }, isWith) {
  const folder = join(home, 'pages', name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(join(home, 'pages'), { recursive: true })
  cpSync(join(root, '__test__/frameworks', apps, app), folder, { recursive: true })
  mkdirSync(join(folder, probe, '..'), { recursive: true })
  cpSync(join(root, '__test__/frameworks/hosts/probe.js'), join(folder, probe))
  const text = readFileSync(join(folder, config), 'utf8')
  if (!text.includes('warmswap()')) throw new Error(`${app}/${config} does not use warmswap()`)
  // The packages are above the application, and React Router's client is among them.
  const open = text.replace('plugins: [', 'server: { fs: { strict: false } }, plugins: [')
  writeFileSync(join(folder, config), isWith ? open : open.replace('warmswap()', 'undefined'))
  return folder
}

/**
 * Edits the component up to three times. The first page of a new dev server can be reloaded because the optimizer has
 * found the dependencies of the client; a plugin that breaks HMR has every edit reloaded.
 */
async function editIn(page, server, component) {
  await open(page, server.url)
  const seen = []
  for (let edit = 1; edit <= 3; edit += 1) {
    await page.waitForFunction('window.isHydrated === true', undefined, { timeout: 60_000 })
    await page.evaluate(`window.mark = ${edit}`)
    const text = readFileSync(component, 'utf8')
    writeFileSync(component, text.replace(/note \d/, `note ${edit}`))
    await page.waitForFunction(`document.querySelector('#hmr')?.textContent === 'note ${edit}'`, undefined, {
      timeout: 60_000,
    })
    const mark = await page.evaluate('window.mark')
    if (mark === edit) return [true]
    seen.push(`edit ${edit}: the page was reloaded`)
  }
  return [false, seen.join('\n')]
}

/** Opens the page when the server answers. */
async function open(page, url) {
  const deadline = Date.now() + 120_000
  for (;;) {
    const isThere = await page.goto(url, { timeout: 60_000 }).then(
      (response) => response?.ok() ?? false,
      () => false,
    )
    if (isThere) return
    if (Date.now() > deadline) throw new Error(`${url} does not answer`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}
