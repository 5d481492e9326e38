/** The types of store locations. Editors complete the fields of objects, and TypeScript reports typos in URLs. */

/**
 * An S3 bucket. Without credentials here, the AWS credential chain is used: environment, profile, SSO, web identity,
 * container, IMDS.
 */
export interface S3Location {
  /** Kind of store. */
  scheme: 's3'
  /** Name of the bucket. */
  bucket: string
  /** Path in the bucket under which all objects are stored. */
  prefix?: string | undefined
  /** Region that requests are signed for. Default `AWS_REGION`; with an `endpoint`, `us-east-1`. */
  region?: string | undefined
  /** Address of an S3-compatible server, with http or https. */
  endpoint?: string | undefined
  /** Name of the profile in the shared AWS configuration. */
  profile?: string | undefined
  /** Access key of static credentials. Pass it with `secretAccessKey`. */
  accessKeyId?: string | undefined
  /** Secret of `accessKeyId`. */
  secretAccessKey?: string | undefined
  /** Session token of temporary credentials. */
  sessionToken?: string | undefined
  /** ARN of a role to assume with the credentials. */
  roleArn?: string | undefined
  /** Whether the bucket name is part of the path. Default true with an `endpoint`. */
  pathStyle?: boolean | 'true' | 'false' | undefined
  /** Encryption that uploads request from the server. Default: none, and the bucket's own setting applies. */
  serverSideEncryption?: 'AES256' | 'aws:kms' | undefined
  /** Key for `aws:kms`. */
  kmsKeyId?: string | undefined
  /** Whether requests are sent without a signature. Default false. */
  anonymous?: boolean | 'true' | 'false' | undefined
}

/** Absolute path of a folder. */
export interface FileLocation {
  /** Kind of store. */
  scheme: 'file'
  /** Absolute path of the folder. It is created if it does not exist. */
  path: string
}

/**
 * Memory of this process. Stores with the same name share their objects. A store without a name shares with no other.
 */
export interface MemoryLocation {
  /** Kind of store. */
  scheme: 'memory'
  /** Name of the store. Default: none, and the store belongs to this cache alone. */
  name?: string | undefined
}

/** Location of a store as a URL. */
export type StoreUrl = `s3://${string}` | `file:///${string}` | `memory:${string}`

/**
 * Location of a store: 'file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'memory:' or an object with the
 * same fields.
 */
export type StoreLocation = string | S3Location | FileLocation | MemoryLocation

/** Options of an S3 URL. Credentials do not belong in a URL, because logs and process lists show it. */
type S3Parameter = Exclude<
  keyof S3Location,
  'scheme' | 'bucket' | 'prefix' | 'accessKeyId' | 'secretAccessKey' | 'sessionToken'
>

type NameOf<Pair extends string> = Pair extends `${infer Name}=${string}` ? Name : Pair
type NamesOf<Query extends string> = Query extends `${infer Pair}&${infer Rest}`
  ? NameOf<Pair> | NamesOf<Rest>
  : NameOf<Query>
/** Unknown option names of a URL. Names that are known only at run time are not checked. */
type Unknown<Name extends string> = Name extends S3Parameter | '' ? never : IsWhole<Name> extends true ? Name : never
/** Whether a string is known completely at compile time: `Record` keeps only such names as properties. */
// biome-ignore lint/complexity/noBannedTypes: the empty object is what is compared with.
type IsWhole<Text extends string> = {} extends Record<Text, 1> ? false : true

/**
 * The URL itself if it is valid, otherwise the accepted URLs. A string that is known only at run time, such as
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
