// @module-tag system
/** caches/no-secrets: whatever happens, no secret is in a result, an event, a line of the log, an error, an object or its metadata. */

import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { start } from '../support/children.js'
import { httpEndpoint } from '../support/endpoints.js'
import { type FaultServer, startFaultServer } from '../support/fault-server.js'
import { repository } from '../support/paths.js'
import { ACCESS_KEY_ID, SECRET_ACCESS_KEY } from '../support/s3.js'
import { test } from '../support/temp.js'
import { makeTree } from '../support/trees.js'

const SECRETS = {
  key: SECRET_ACCESS_KEY,
  session: 'session+token/of=the-test',
  agent: 'token-of-the-pods-agent',
  hmac: 'signature secret of the test',
}
/** Each as it is, and as URLs, JSON and base64 hold it. */
const FORMS = Object.values(SECRETS).flatMap((secret) => [
  secret,
  encodeURIComponent(secret),
  JSON.stringify(secret).slice(1, -1),
  Buffer.from(secret).toString('base64'),
])

describe('caches/no-secrets: no secret is reported', () => {
  let server: FaultServer
  beforeAll(async () => {
    server = await startFaultServer()
  })
  afterAll(() => server.stop())

  const FAULTS = [undefined, 'denied', 'garbage', 'redirect', 'slow-down', 'reset-mid-body', 'echo'] as const

  test.for(['static credentials', "the pod's agent"])(
    '%s: every call, whatever the store responds',
    async (kind, { memory }) => {
      const agentToken = join(memory, 'agent-token')
      writeFileSync(agentToken, SECRETS.agent)
      const answer = JSON.stringify({
        AccessKeyId: ACCESS_KEY_ID,
        SecretAccessKey: SECRETS.key,
        Token: SECRETS.session,
        Expiration: new Date(Date.now() + 3_600_000).toISOString(),
      })
      const agent = await httpEndpoint((_, response) => void response.end(answer))
      // One that refuses, and says with what it was asked.
      const rude = await httpEndpoint(
        (request, response) =>
          void response.writeHead(403).end(JSON.stringify({ ...request.headers, secret: SECRETS.key })),
      )
      const { accessKeyId, secretAccessKey, ...store } = server.store('secrets')
      const isStatic = kind === 'static credentials'
      const location = isStatic ? { ...store, accessKeyId, secretAccessKey, sessionToken: SECRETS.session } : store
      let said = ''
      for (const what of FAULTS) {
        const isRude = what === 'echo'
        server.fault = what === undefined || isRude ? undefined : { when: () => true, what }
        const url = isRude ? rude.url : agent.url
        const tree = makeTree(join(memory, `tree-${what}`))
        const child = start(
          process.execPath,
          [
            join(repository, '__test__/programs/caches-calls.js'),
            'everything',
            JSON.stringify(location),
            tree,
            join(memory, `into-${what}`),
          ],
          {
            env: {
              WARMSWAP_LOG: '1',
              RUST_LOG: 'trace',
              DEBUG: '*',
              TEST_HMAC_KEY: SECRETS.hmac,
              AWS_EC2_METADATA_DISABLED: 'true',
              AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
              AWS_CONFIG_FILE: '/nonexistent',
              ...(isStatic
                ? {}
                : { AWS_CONTAINER_CREDENTIALS_FULL_URI: url, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: agentToken }),
            },
          },
        )
        expect((await child.ended).code, child.stderr()).toBe(0)
        said += child.lines.join('\n') + child.stderr()
      }
      server.fault = undefined
      await agent.stop()
      await rude.stop()
      const stored = [...server.objects].map(([path, { bytes }]) => path + bytes.toString('latin1')).join('\n')
      // All that the store was sent beside bodies, but for the header that S3 wants the session token in.
      const sent = JSON.stringify(
        server.requests.map(({ path, headers: { 'x-amz-security-token': _, ...headers } }) => [path, headers]),
      )
      const left = readdirSync(memory, { recursive: true, withFileTypes: true }).filter(
        (entry) => entry.isFile() && entry.name !== 'agent-token',
      )
      const onDisk = left
        .map((entry) => entry.name + readFileSync(join(entry.parentPath, entry.name), 'latin1'))
        .join('\n')
      expect(said).toContain('"warmswap":"cache"')
      for (const [where, text] of Object.entries({ said, stored, sent, onDisk })) {
        for (const secret of FORMS) expect(text.includes(secret), `${where} holds ${secret}`).toBe(false)
      }
    },
  )
})
