// Sends a folder to S3 and back with the AWS SDK. lib-storage uploads the stream in parts; the body of GetObject is
// unpacked while it arrives.
import { GetObjectCommand } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { pack, unpack } from 'warmswap'

export async function save(client, { bucket, key, from }) {
  const upload = new Upload({ client, params: { Bucket: bucket, Key: key, Body: pack(from) } })
  await upload.done()
}

export async function restore(client, { bucket, key, into, deadlineMs = 15_000 }) {
  const { Body: body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }), {
    abortSignal: AbortSignal.timeout(deadlineMs),
  })
  return unpack(body, into, { mode: 'replace', deadlineMs })
}
