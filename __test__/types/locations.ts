/** Typos in the location of a cache are errors of the compiler. Nothing of this runs. */

import {
  cacheLocationFromEnv,
  openCache,
  type Prewarmed,
  type PrewarmJob,
  type S3Location,
  type StateChange,
  type StateScope,
  type StoreLocation,
} from '../../index.js'

declare const bucket: string
declare const location: StoreLocation
declare const query: string

export const accepted = [
  openCache(undefined),
  openCache('memory:'),
  openCache('memory:name'),
  openCache('file:///var/cache'),
  openCache('s3://bucket'),
  openCache('s3://bucket/some/prefix'),
  openCache('s3://bucket?region=eu-central-1'),
  openCache('s3://bucket/prefix?region=eu-central-1&endpoint=https://minio.example&pathStyle=true&anonymous=true'),
  // What is known only at run time is checked there.
  openCache(bucket),
  openCache(process.env.CACHE),
  openCache(`file://${bucket}`),
  openCache(`s3://${bucket}/prefix?region=${bucket}`),
  openCache(`s3://bucket/prefix?${query}`),
  openCache(location),
  openCache(cacheLocationFromEnv(process.env, 'CACHE').store),
  openCache({ scheme: 's3', bucket, region: 'eu-central-1', pathStyle: true, sessionToken: undefined }),
  openCache('gs://bucket/some/prefix'),
  openCache('gs://bucket?credentialsFile=/var/key.json&anonymous=false'),
  openCache({ scheme: 'gs', bucket, token: 'ya29.token' }),
  openCache('az://container/some/prefix?account=name'),
  openCache({ scheme: 'az', container: bucket, connectionString: 'AccountName=name' }),
  openCache({ scheme: 'file', path: '/var/cache' }),
  openCache({ scheme: 'memory' }),
]

export const refused = [
  // @ts-expect-error: no scheme
  openCache('/var/cache'),
  // @ts-expect-error: a scheme that is not known
  openCache('gcs://bucket'),
  // @ts-expect-error: one slash
  openCache('s3:/bucket'),
  // @ts-expect-error: no bucket
  openCache('s3://'),
  // @ts-expect-error: no bucket
  openCache('s3:///prefix'),
  // @ts-expect-error: a misspelt option
  openCache('s3://bucket/prefix?regoin=eu-central-1'),
  // @ts-expect-error: a misspelt option after a known one
  openCache('s3://bucket/prefix?region=eu-central-1&endPoint=https://minio.example'),
  // @ts-expect-error: a secret in a URL
  openCache('s3://bucket?accessKeyId=AKIA'),
  // @ts-expect-error: a misspelt option of a URL that is only partly known
  openCache(`s3://${bucket}/prefix?regoin=eu`),
  // @ts-expect-error: a misspelt field
  openCache({ scheme: 's3', bucket, regoin: 'eu-central-1' }),
  // @ts-expect-error: no bucket
  openCache({ scheme: 's3' }),
  // @ts-expect-error: no bucket
  openCache('gs:///prefix'),
  // @ts-expect-error: an option of another scheme
  openCache('gs://bucket/prefix?account=name'),
  // @ts-expect-error: a secret in a URL
  openCache('az://container/prefix?accountKey=a2V5'),
  // @ts-expect-error: the field of another scheme
  openCache({ scheme: 'az', bucket }),
  // @ts-expect-error: a field of another scheme
  openCache({ scheme: 'file', path: '/var/cache', region: 'eu-central-1' }),
  // @ts-expect-error: a scheme that is not known
  openCache({ scheme: 'gcs', bucket }),
  // @ts-expect-error: a value that is not known
  openCache({ scheme: 's3', bucket, serverSideEncryption: 'aes' }),
]

/** Types that users name are exported. */
export const job: PrewarmJob<{ port: number }> = { isReady: () => undefined, run: () => ({ port: 1 }) }
export const portOf = ({ value, role }: Prewarmed<{ port: number }>): string => `${value.port} ${role}`
export const scope: StateScope = 'test-file'
export const keyOf = ({ key, type }: StateChange): string => `${key} ${type}`
export const place: S3Location = { scheme: 's3', bucket: 'b' }
