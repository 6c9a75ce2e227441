// Package openapi proves the OpenAPI document by a client that a generator of others makes from it.
package openapi
