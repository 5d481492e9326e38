/** The AWS variables of this process: first cleared, then those of a test, then the machine's own again. */

const HOME = process.env.HOME
const kept = Object.entries(process.env).filter(([name]) => name.startsWith('AWS_'))

/** Leaves only these variables. The shared configuration and IMDS are off unless a test turns them on. */
export function setAwsEnvironment(variables: Record<string, string> = {}): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  Object.assign(process.env, {
    AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
    AWS_CONFIG_FILE: '/nonexistent',
    AWS_EC2_METADATA_DISABLED: 'true',
    ...variables,
  })
}

export function restoreAwsEnvironment(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  Object.assign(process.env, Object.fromEntries(kept))
  if (HOME === undefined) delete process.env.HOME
  else process.env.HOME = HOME
}
