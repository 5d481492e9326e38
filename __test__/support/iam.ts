/** Users of moto with the policies of a page. From then on, the server checks signatures and policies. */

import { ACCESS_KEY_ID } from './s3.js'

const authorization = (service: string): string =>
  `AWS4-HMAC-SHA256 Credential=${ACCESS_KEY_ID}/20200101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0`

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
}

/** Makes the bucket and one user for each policy, then switches on authorization. */
export async function enforcePolicies(endpoint: string, bucket: string, policies: string[]): Promise<Credentials[]> {
  await send(`${endpoint}/${bucket}`, 'PUT', 's3')
  const users: Credentials[] = []
  for (const [index, policy] of policies.entries()) {
    const UserName = `user-${index}`
    await iam(endpoint, { Action: 'CreateUser', UserName })
    await iam(endpoint, { Action: 'PutUserPolicy', UserName, PolicyName: 'levels', PolicyDocument: policy })
    const key = await iam(endpoint, { Action: 'CreateAccessKey', UserName })
    const field = (name: string): string => new RegExp(`<${name}>(.*?)<`).exec(key)?.[1] as string
    users.push({ accessKeyId: field('AccessKeyId'), secretAccessKey: field('SecretAccessKey') })
  }
  await send(`${endpoint}/moto-api/reset-auth`, 'POST', 's3', '0')
  return users
}

async function iam(endpoint: string, parameters: Record<string, string>): Promise<string> {
  return await send(endpoint, 'POST', 'iam', new URLSearchParams({ Version: '2010-05-08', ...parameters }))
}

async function send(url: string, method: string, service: string, body?: string | URLSearchParams): Promise<string> {
  const headers = { authorization: authorization(service) }
  const response = await fetch(url, { method, headers, ...(body !== undefined && { body }) })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`)
  return text
}
