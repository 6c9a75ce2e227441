// Package claims holds the documents to their word: each test that the threat model and ARCHITECTURE.md name as showing a
// statement exists in the package that they say. The tests are all there is.
package claims
