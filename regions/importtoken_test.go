package regions

import (
	"bytes"
	"slices"
	"testing"
)

// What parses as an import token is one, whole: its parts are the token again.
func FuzzImportToken(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(make([]byte, importTokenLength))
	f.Add(append([]byte{importTokenVersion}, make([]byte, importTokenLength-1)...))
	f.Add(append([]byte{importTokenVersion}, make([]byte, importTokenLength)...))
	f.Fuzz(func(t *testing.T, token []byte) {
		id, _, head, mac, good := parseImportToken(token)
		if good != (len(token) == importTokenLength && token[0] == importTokenVersion) {
			t.Fatalf("%x parses: %t", token, good)
		}
		if good && (!bytes.Equal(slices.Concat(head, mac), token) || !bytes.Equal(head[1:17], id[:])) {
			t.Fatalf("%x came apart as %x %x", token, head, mac)
		}
	})
}
