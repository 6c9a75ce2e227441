package identity

import "antipode/regions/secret"

// Secret is a secret access key, which no format, log or encoder shows.
type Secret = secret.Bytes
