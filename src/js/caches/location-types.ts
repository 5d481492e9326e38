/** The types of store locations: objects whose fields complete, and URLs whose typos are errors of the compiler. */

/** A bucket. Without credentials the chain of AWS is used: environment, profile, SSO, web identity, container, IMDS. */
export interface S3Location {
  scheme: 's3'
  bucket: string
  /** Path in the bucket under which all objects are. */
  prefix?: string | undefined
  /** Region to sign for. Default: `AWS_REGION`; `us-east-1` with an `endpoint`. */
  region?: string | undefined
  /** Address of a server that is not AWS, with http or https. */
  endpoint?: string | undefined
  /** Profile of the shared AWS configuration. */
  profile?: string | undefined
  accessKeyId?: string | undefined
  secretAccessKey?: string | undefined
  sessionToken?: string | undefined
  /** Role that is assumed with the credentials found. */
  roleArn?: string | undefined
  /** Whether the name of the bucket is in the path. Default: true with an `endpoint`. */
  pathStyle?: boolean | 'true' | 'false' | undefined
  serverSideEncryption?: 'AES256' | 'aws:kms' | undefined
  /** Key of `aws:kms`. */
  kmsKeyId?: string | undefined
  /** Whether requests are sent without a signature. Default: false. */
  anonymous?: boolean | 'true' | 'false' | undefined
}

/** An absolute folder. */
export interface FileLocation {
  scheme: 'file'
  path: string
}

/** Memory of this process. Stores of one name share their objects; without a name a store shares with nobody. */
export interface MemoryLocation {
  scheme: 'memory'
  name?: string | undefined
}

/** Where a store is, as a URL. */
export type StoreUrl = `s3://${string}` | `file:///${string}` | `memory:${string}`

/** Where a store is: 'file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'memory:' or an object with the same fields. */
export type StoreLocation = string | S3Location | FileLocation | MemoryLocation

/** Options of an S3 URL. Credentials do not belong in a URL, which logs and process lists show. */
type S3Parameter = Exclude<
  keyof S3Location,
  'scheme' | 'bucket' | 'prefix' | 'accessKeyId' | 'secretAccessKey' | 'sessionToken'
>

type NameOf<Pair extends string> = Pair extends `${infer Name}=${string}` ? Name : Pair
type NamesOf<Query extends string> = Query extends `${infer Pair}&${infer Rest}`
  ? NameOf<Pair> | NamesOf<Rest>
  : NameOf<Query>
/** Names that are not known. One with a part that is known only at run time is not judged. */
type Unknown<Name extends string> = Name extends S3Parameter | '' ? never : IsWhole<Name> extends true ? Name : never
/** Whether a text is known as a whole: `Record` keeps only such names as properties. */
// biome-ignore lint/complexity/noBannedTypes: the empty object is what is compared with.
type IsWhole<Text extends string> = {} extends Record<Text, 1> ? false : true

/**
 * The URL itself if it is one, else the URLs that are accepted. A string that is known only at run time, such as
 * `process.env.CACHE`, is accepted: `openCache()` checks it.
 */
export type CheckedUrl<Url extends string> = string extends Url
  ? Url
  : Url extends `s3://${infer Rest}`
    ? Rest extends '' | `/${string}` | `?${string}`
      ? 's3://bucket/prefix?region=…'
      : Rest extends `${string}?${infer Query}`
        ? [Unknown<NamesOf<Query>>] extends [never]
          ? Url
          : `s3://…?${S3Parameter}=…`
        : Url
    : Url extends StoreUrl | `file://${string}`
      ? Url
      : StoreUrl
