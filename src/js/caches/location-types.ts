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

/**
 * A bucket of Google Cloud Storage. Without credentials here, the application default credentials are used: the file in
 * GOOGLE_APPLICATION_CREDENTIALS, that of gcloud, the metadata server of the machine or the pod.
 */
export interface GcsLocation {
  /** Kind of store. */
  scheme: 'gs'
  /** Name of the bucket. */
  bucket: string
  /** Path in the bucket under which all objects are stored. */
  prefix?: string | undefined
  /** Address of another server, with http or https. Default `STORAGE_EMULATOR_HOST`, or Google's. */
  endpoint?: string | undefined
  /** Path of a file with credentials: a service account, a workload identity federation, or a user. */
  credentialsFile?: string | undefined
  /** Access token. It is not renewed. */
  token?: string | undefined
  /** Whether requests are sent without credentials. Default true if `STORAGE_EMULATOR_HOST` is the endpoint. */
  anonymous?: boolean | 'true' | 'false' | undefined
}

/**
 * A container of Azure Blob Storage. Without credentials here, those of the environment are used: connection string, key,
 * shared access signature, service principal, workload identity, managed identity.
 */
export interface AzureLocation {
  /** Kind of store. */
  scheme: 'az'
  /** Name of the container. */
  container: string
  /** Path in the container under which all objects are stored. */
  prefix?: string | undefined
  /** Name of the storage account. Default: that of the connection string, or `AZURE_STORAGE_ACCOUNT`. */
  account?: string | undefined
  /** Address of the account at another server, with http or https. Default: that of the connection string, or Azure's. */
  endpoint?: string | undefined
  /** Key of the account. */
  accountKey?: string | undefined
  /** Shared access signature. */
  sasToken?: string | undefined
  /** Connection string of the account. Default `AZURE_STORAGE_CONNECTION_STRING`, unless an account is named. */
  connectionString?: string | undefined
  /** Whether requests are sent without credentials. Default false. */
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
export type StoreUrl = `s3://${string}` | `gs://${string}` | `az://${string}` | `file:///${string}` | `memory:${string}`

/**
 * Location of a store: 'file:///var/cache', 's3://bucket/prefix?region=…&endpoint=…', 'gs://bucket/prefix',
 * 'az://container/prefix?account=…', 'memory:' or an object with the same fields.
 */
export type StoreLocation = string | S3Location | GcsLocation | AzureLocation | FileLocation | MemoryLocation

/** Options of a URL. Credentials do not belong in a URL, because logs and process lists show it. */
type S3Parameter = Exclude<
  keyof S3Location,
  'scheme' | 'bucket' | 'prefix' | 'accessKeyId' | 'secretAccessKey' | 'sessionToken'
>
type GcsParameter = Exclude<keyof GcsLocation, 'scheme' | 'bucket' | 'prefix' | 'token'>
type AzureParameter = Exclude<
  keyof AzureLocation,
  'scheme' | 'container' | 'prefix' | 'accountKey' | 'sasToken' | 'connectionString'
>
/** Schemes of the URLs that name a bucket. */
type Scheme = 's3' | 'gs' | 'az'
type Parameter<Of extends Scheme> = Of extends 's3' ? S3Parameter : Of extends 'gs' ? GcsParameter : AzureParameter
/** What a URL with this scheme looks like. */
type Example<Of extends Scheme> = Of extends 's3'
  ? 's3://bucket/prefix?region=…'
  : Of extends 'gs'
    ? 'gs://bucket/prefix'
    : 'az://container/prefix?account=…'

type NameOf<Pair extends string> = Pair extends `${infer Name}=${string}` ? Name : Pair
type NamesOf<Query extends string> = Query extends `${infer Pair}&${infer Rest}`
  ? NameOf<Pair> | NamesOf<Rest>
  : NameOf<Query>
/** Unknown option names of a URL. Names that are known only at run time are not checked. */
type Unknown<Name extends string, Known extends string> = Name extends Known | ''
  ? never
  : IsWhole<Name> extends true
    ? Name
    : never
/** Whether a string is known completely at compile time: `Record` keeps only such names as properties. */
// biome-ignore lint/complexity/noBannedTypes: the empty object is what is compared with.
type IsWhole<Text extends string> = {} extends Record<Text, 1> ? false : true

/**
 * The URL itself if it is valid, otherwise the accepted URLs. A string that is known only at run time, such as
 * `process.env.CACHE`, is accepted: `openCache()` checks it.
 */
export type CheckedUrl<Url extends string> = string extends Url
  ? Url
  : Url extends `${infer Of extends Scheme}://${infer Rest}`
    ? Rest extends '' | `/${string}` | `?${string}`
      ? Example<Of>
      : Rest extends `${string}?${infer Query}`
        ? [Unknown<NamesOf<Query>, Parameter<Of>>] extends [never]
          ? Url
          : `${Of}://…?${Parameter<Of>}=…`
        : Url
    : Url extends StoreUrl | `file://${string}`
      ? Url
      : StoreUrl
