/**
 * The fields of a published manifest that are derived from the field `repository` of package.json, which a maintainer
 * fills in.
 */

/**
 * The web address of the repository, such as https://github.com/owner/name. Undefined if the field is empty or not an
 * address.
 */
export function webAddress(repository) {
  const given = typeof repository === 'string' ? repository : repository?.url
  if (!given) return undefined
  const shorthand = /^(?:github:)?([\w.-]+\/[\w.-]+)$/.exec(given)
  const address = shorthand
    ? `https://github.com/${shorthand[1]}`
    : given
        .replace(/^git\+/, '')
        .replace(/^(?:ssh:\/\/)?git@([^:/]+)[:/]/, 'https://$1/')
        .replace(/^git:/, 'https:')
  return URL.canParse(address) && /^https?:$/.test(new URL(address).protocol)
    ? address.replace(/\.git$/, '').replace(/\/$/, '')
    : undefined
}

/**
 * The fields repository, homepage and bugs. Empty if package.json names no repository. `directory` is that of a
 * platform package.
 */
export function linksOf(main, directory) {
  const address = webAddress(main.repository)
  if (address === undefined) return {}
  return {
    repository: { type: 'git', url: `git+${address}.git`, ...(directory === undefined ? {} : { directory }) },
    homepage: main.homepage ?? `${address}#readme`,
    bugs: main.bugs ?? { url: `${address}/issues` },
  }
}
