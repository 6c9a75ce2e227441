// Package suites writes docs/suites.md, the table of which key exchange two vendors' tokens would use, from their
// capabilities: SoftHSM2's as the token itself reports them, the others' from documents.
package suites
