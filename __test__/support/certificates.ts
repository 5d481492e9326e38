/** Certificates of servers that only tests trust. */

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Creates a self-signed certificate in `folder`, for a subject alternative name such as `IP:127.0.0.1`. */
export function makeCertificate(folder: string, subject: string): { key: Buffer; cert: Buffer; file: string } {
  const [key, file] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
  const name = subject.slice(subject.indexOf(':') + 1)
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ${key} -out ${file} -days 2 -subj /CN=${name} -addext subjectAltName=${subject} -addext basicConstraints=critical,CA:FALSE`.split(
      ' ',
    ),
    { stdio: 'ignore' },
  )
  return { key: readFileSync(key), cert: readFileSync(file), file }
}
